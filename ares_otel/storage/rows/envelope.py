"""Resources and scopes: what stands around the items of a request, stored once under a hash of its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.context import Encoding
from ares_otel.storage.rows.encoded import RESOURCES, SCOPES, ServiceSeen
from ares_otel.storage.rows.identity import canonical_attributes, hasher
from ares_otel.storage.rows.values import InvalidItem, clean_text, json_object, json_text, raw_pairs

UNKNOWN_SERVICE = "unknown_service"
"""Name of a service that does not say its name (semantic conventions, "Service", service.name)."""
MAX_LABEL = 255
"""Characters kept of a service's name and of what describes it; the whole stays in the resource's attributes."""


class Envelope(NamedTuple):
    """The resource and scope that a run of items shares."""

    resource_id: bytes
    scope_id: bytes
    service_name: str

    @property
    def fields(self) -> bytes:
        """The fields resource_id, scope_id, service_name."""
        return (
            copy_format.uuid(self.resource_id) + copy_format.uuid(self.scope_id) + copy_format.text(self.service_name)
        )


def walk(
    encoding: Encoding, containers: Sequence[Any], scopes: str, items: str, count: Callable[[Sequence[Any]], int] = len
) -> Iterator[tuple[Envelope, Sequence[Any]]]:
    """The runs of items of a request, each with its resource and scope, which are defined on the way.

    Envelopes without items are left out. Items whose resource or scope cannot be stored are counted as rejected.

    Args:
        containers: the ResourceSpans, ResourceLogs or ResourceMetrics.
        scopes: the field of a container with its scopes; `items`: the field of a scope with its items.
        count: how many items such a field holds.
    """
    for container in containers:
        resource: tuple[bytes, str] | None = None
        for scope in getattr(container, scopes):
            found = getattr(scope, items)
            number = count(found)
            if not number:
                continue
            try:
                resource = resource or define_resource(encoding, container)
                envelope = Envelope(resource[0], define_scope(encoding, scope), resource[1])
            except InvalidItem as error:
                encoding.reject(error.reason, number)
            else:
                yield envelope, found


def define_resource(encoding: Encoding, container: Any) -> tuple[bytes, str]:
    """Defines the resource of a ResourceSpans, ResourceLogs or ResourceMetrics.

    Returns its id and the service's name.

    Raises:
        InvalidItem: an attribute is nested too deep; no item of the container can be stored.
    """
    present = container.HasField("resource")
    resource: Resource = container.resource
    replaced = encoding.replaced
    fields, exact = json_object(resource.attributes)
    entities = _entity_refs(resource)
    parts = (
        encoding.tenant_id,
        container.schema_url,
        canonical_attributes(resource.attributes) if present else None,
        resource.dropped_attributes_count,
        entities,
    )
    resource_id = hasher("resource", parts).digest()
    name = _label(fields, "service.name", encoding) or UNKNOWN_SERVICE
    text, clean = json_text(fields, "attributes", replaced)
    encoding.define(
        RESOURCES,
        resource_id,
        (
            name,
            text.decode() if present else None,
            None if exact and clean else raw_pairs(resource.attributes),
            resource.dropped_attributes_count or None,
            clean_text(container.schema_url, "schema_url", replaced),
            entities,
        ),
    )
    encoding.out.services.add(
        ServiceSeen(
            name,
            _label(fields, "service.namespace", encoding),
            _label(fields, "service.version", encoding),
            _label(fields, "service.instance.id", encoding),
            _label(fields, "telemetry.sdk.language", encoding),
        )
    )
    return resource_id, name


def _entity_refs(resource: Resource) -> bytes | None:
    """A Resource message with only the entity_refs; None for none, and where the installed proto has no such field."""
    refs = getattr(resource, "entity_refs", None)
    return Resource(entity_refs=refs).SerializeToString() if refs else None


def _label(fields: dict[str, Any], key: str, encoding: Encoding) -> str:
    """An attribute as text of at most 255 characters; empty when it is not given."""
    value = fields.get(key)
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return clean_text(text[:MAX_LABEL], "service_name" if key == "service.name" else key, encoding.replaced)


def define_scope(encoding: Encoding, container: Any) -> bytes:
    """Defines the scope of a ScopeSpans, ScopeLogs or ScopeMetrics and returns its id.

    Raises:
        InvalidItem: an attribute is nested too deep; no item of the container can be stored.
    """
    present = container.HasField("scope")
    scope: InstrumentationScope = container.scope
    replaced = encoding.replaced
    fields, exact = json_object(scope.attributes)
    parts = (
        encoding.tenant_id,
        container.schema_url,
        scope.name if present else None,
        scope.version,
        canonical_attributes(scope.attributes),
        scope.dropped_attributes_count,
    )
    scope_id = hasher("scope", parts).digest()
    text, clean = json_text(fields, "attributes", replaced)
    encoding.define(
        SCOPES,
        scope_id,
        (
            clean_text(scope.name, "scope_name", replaced) if present else None,
            clean_text(scope.version, "scope_version", replaced),
            text.decode(),
            None if exact and clean else raw_pairs(scope.attributes),
            scope.dropped_attributes_count or None,
            clean_text(container.schema_url, "schema_url", replaced),
        ),
    )
    return scope_id
