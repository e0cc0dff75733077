"""Resources and scopes: their identity, and who is seen."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ares_otel.storage.definitions import COLUMNS
from ares_otel.storage.rows.encoded import RESOURCES, SCOPES, SPANS, ServiceSeen
from tests.support.copy_rows import rows_of
from tests.support.otlp_samples import pairs, span, trace_request
from tests.support.rows_encoding import encoded

pytestmark = pytest.mark.usefixtures("encoder")


def named(attributes: dict[str, Any]) -> str:
    """The service name of a resource with these attributes."""
    request = trace_request(spans=[span()])
    request.resource_spans[0].resource.CopyFrom(Resource(attributes=pairs(attributes)))
    (row,) = rows_of(encoded(request), SPANS)
    return str(row["service_name"])


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"service.name": "shop"}, "shop"),
        ({}, "unknown_service"),
        ({"service.name": ""}, "unknown_service"),
        ({"service.name": None}, "unknown_service"),
        ({"service.name": 7}, "7"),
        ({"service.name": True}, "true"),
        ({"service.name": ["a", 1]}, '["a",1]'),
        ({"service.name": "x" * 300}, "x" * 255),
        ({"service.name": "a\0b"}, "a\ufffdb"),
    ],
)
def test_the_service_name_is_text_of_at_most_255_characters(attributes: dict[str, Any], name: str) -> None:
    assert named(attributes) == name


def test_the_whole_service_name_stays_in_the_resource() -> None:
    request = trace_request("x" * 300, spans=1)
    ((_, values),) = encoded(request).definitions[RESOURCES].items()
    assert "x" * 300 in str(dict(zip([name for name, _ in COLUMNS[RESOURCES]], values, strict=True))["attributes"])


def ids(resource: Resource | None, scope: InstrumentationScope | None, schema_url: str = "", tenant_id: int = 0) -> Any:
    request = trace_request(spans=1)
    container = request.resource_spans[0]
    container.schema_url = schema_url
    container.ClearField("resource")
    container.scope_spans[0].ClearField("scope")
    if resource is not None:
        container.resource.CopyFrom(resource)
    if scope is not None:
        container.scope_spans[0].scope.CopyFrom(scope)
    (row,) = rows_of(encoded(request, tenant_id=tenant_id), SPANS)
    return row["resource_id"], row["scope_id"]


def test_the_same_resource_has_the_same_id_whatever_the_order_of_its_attributes() -> None:
    one = ids(Resource(attributes=pairs({"a": 1, "b": "x"})), None)
    assert one == ids(Resource(attributes=pairs({"b": "x", "a": 1})), None)


def test_resources_that_differ_in_anything_have_different_ids() -> None:
    resources = [
        ids(None, None),
        ids(Resource(), None),
        ids(Resource(), None, schema_url="x"),
        ids(Resource(), None, tenant_id=1),
        ids(Resource(dropped_attributes_count=1), None),
        ids(Resource(attributes=pairs({"a": 1})), None),
        ids(Resource(attributes=pairs({"a": "1"})), None),
        ids(Resource(attributes=pairs({"a": 1.0})), None),
    ]
    assert len({resource for resource, _ in resources}) == len(resources)


def test_scopes_that_differ_in_anything_have_different_ids() -> None:
    scopes = [
        ids(None, None),
        ids(None, InstrumentationScope()),
        ids(None, InstrumentationScope(name="a")),
        ids(None, InstrumentationScope(version="a")),
        ids(None, InstrumentationScope(attributes=pairs({"a": 1}))),
        ids(None, InstrumentationScope(dropped_attributes_count=1)),
        ids(None, None, tenant_id=1),
    ]
    assert len({scope for _, scope in scopes}) == len(scopes)


def test_an_absent_resource_and_scope_are_told_from_empty_ones() -> None:
    request = trace_request(spans=1)
    request.resource_spans[0].ClearField("resource")
    request.resource_spans[0].scope_spans[0].ClearField("scope")
    result = encoded(request)
    (resource,) = result.definitions[RESOURCES].values()
    (scope,) = result.definitions[SCOPES].values()
    assert resource[1] is None
    assert scope[0] is None


def test_every_sender_is_seen_once_with_what_its_resource_says() -> None:
    request = trace_request("shop", spans=1, service_namespace="eu")
    request.MergeFrom(trace_request("shop", spans=2, service_namespace="eu"))
    assert encoded(request).services == {ServiceSeen("shop", "eu", "1.4.2", "9f1c", "python")}
