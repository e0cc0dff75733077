"""Names of tags that stand for what Zipkin has no field for, and of attributes that stand for its endpoints.

Sources: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation" and "OpenTelemetry Transformation to
non-OTLP Formats"; where they are silent, the Collector's pkg/translator/zipkin.
"""

from __future__ import annotations

SERVICE_NAME = "service.name"
SERVICE_NAME_SOURCE = "otlp.service.name.source"
"""Which resource attribute the Collector took the service name from, where there was no `service.name`."""
NO_SERVICE_NAME = "OTLPResourceNoServiceName"
"""What the Collector calls a service whose resource has no name."""

SCOPE = "otel.scope."
SCOPE_NAME = ("otel.scope.name", "otel.library.name")
SCOPE_VERSION = ("otel.scope.version", "otel.library.version")

STATUS_CODE = "otel.status_code"
STATUS_DESCRIPTION = "otel.status_description"
ERROR = "error"
SPAN_KIND = "span.kind"
TRACE_STATE = "w3c.tracestate"
LINK = "otlp.link."
DROPPED_ATTRIBUTES = "otel.dropped_attributes_count"
DROPPED_EVENTS = "otel.dropped_events_count"
DROPPED_LINKS = "otel.dropped_links_count"

START_ABSENT = "otel.zipkin.absentField.startTime"
"""Attribute of a span that came without a timestamp."""
DEBUG = "zipkin.debug"
SHARED = "zipkin.shared"

PEER_SERVICE = "peer.service"
PEER_ADDRESS = "network.peer.address"
PEER_PORT = "network.peer.port"
PEER_IPV6 = "zipkin.remote.ipv6"
"""The second address of an endpoint that has one of each kind."""
LOCAL_ADDRESS = "network.local.address"
LOCAL_PORT = "network.local.port"
LOCAL_IPV6 = "zipkin.local.ipv6"

_RESOURCE_FAMILIES = (
    "aws.ecs.",
    "aws.eks.",
    "aws.log.",
    "cloud.",
    "container.",
    "deployment.",
    "device.",
    "host.cpu.",
    "host.image.",
    "k8s.",
    "os.",
    "process.executable.",
    "process.runtime.",
    "telemetry.distro.",
    "telemetry.sdk.",
    "webengine.",
)
_RESOURCE_NAMES = frozenset(
    {
        "faas.id",
        "faas.instance",
        "faas.max_memory",
        "faas.name",
        "faas.version",
        "host.arch",
        "host.id",
        "host.ip",
        "host.mac",
        "host.name",
        "host.type",
        "process.command",
        "process.command_args",
        "process.command_line",
        "process.owner",
        "process.parent_pid",
        "process.pid",
        "service.instance.id",
        "service.namespace",
        "service.version",
    }
)


def is_of_resource(key: str) -> bool:
    """Whether the semantic conventions put an attribute of this name on the resource. Zipkin has one bag of tags for
    resource, scope and span."""
    return key in _RESOURCE_NAMES or key.startswith(_RESOURCE_FAMILIES)
