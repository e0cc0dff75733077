"""The shapes of the answers about services, their operations and their calls, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ares_otel.api.models import Time, Truncated


class SeenService(BaseModel):
    """A service that sent spans."""

    service_name: str
    operations: Annotated[int, Field(description="Different span names")]
    first_seen: Annotated[Time, Field(description="The earliest minute that has spans of it")]
    last_seen: Annotated[Time, Field(description="The latest minute that has spans of it")]


class ServiceList(BaseModel):
    """Services, by name."""

    services: list[SeenService]
    truncated: Truncated


class SeenOperation(BaseModel):
    """An operation of a service."""

    operation_name: Annotated[str, Field(description="Span name, its first 255 characters")]
    kind: str
    first_seen: Annotated[Time, Field(description="The earliest minute that has spans of it")]
    last_seen: Annotated[Time, Field(description="The latest minute that has spans of it")]


class OperationList(BaseModel):
    """Operations of a service, by name and kind."""

    service_name: str
    operations: list[SeenOperation]
    truncated: Truncated


NodeType = Literal["service", "database", "messaging", "external"]


class Node(BaseModel):
    """A service, or what services call."""

    name: str
    type: Annotated[
        NodeType,
        Field(
            description="`messaging` is a queue or topic, `external` anything else, of whose other end no spans came"
        ),
    ]
    calls: Annotated[int, Field(description="Server and consumer spans of a service; calls to anything else")]
    errors: Annotated[int, Field(description="Of them with status error")]
    avg_duration_ms: Annotated[float | None, Field(description="Mean duration of them; null where there are none")]


class Edge(BaseModel):
    """Calls from a service to another one, or to what sends no spans."""

    parent_service: Annotated[str, Field(description="The service that calls")]
    child_service: Annotated[str, Field(description="The name of what is called")]
    child_type: Annotated[NodeType, Field(description="The type of the node of this name")]
    connection_type: Annotated[
        Literal["call", "messaging", "database", "external"],
        Field(description="How: `call` and `messaging` between services, else the same as `child_type`"),
    ]
    calls: int
    errors: Annotated[int, Field(description="Of them with status error")]
    avg_duration_ms: Annotated[
        float, Field(description="Mean duration of the called spans; of the calling ones where no service answered")
    ]
    destinations: Annotated[
        list[str], Field(description="For messages between services: the systems and destinations they went through")
    ]


class ServiceMap(BaseModel):
    """Who calls what, most calls first."""

    nodes: list[Node]
    edges: list[Edge]
    since: Annotated[Time, Field(description="Beginning of the first minute that counts")]
    until: Annotated[
        Time | None, Field(description="End of the last minute that counts; null when none was looked at yet")
    ]
    truncated: Truncated


SERVICES: dict[str, Any] = {
    "services": [
        {
            "service_name": "orders",
            "operations": 12,
            "first_seen": "2026-01-05T08:14:00.000000Z",
            "last_seen": "2026-01-31T12:00:00.000000Z",
        }
    ],
    "truncated": False,
}
OPERATIONS: dict[str, Any] = {
    "service_name": "orders",
    "operations": [
        {
            "operation_name": "POST /orders",
            "kind": "server",
            "first_seen": "2026-01-05T08:14:00.000000Z",
            "last_seen": "2026-01-31T12:00:00.000000Z",
        }
    ],
    "truncated": False,
}
MAP: dict[str, Any] = {
    "nodes": [
        {"name": "orders", "type": "service", "calls": 4711, "errors": 12, "avg_duration_ms": 24.3},
        {"name": "postgresql/shop", "type": "database", "calls": 9422, "errors": 0, "avg_duration_ms": 1.7},
        {"name": "mail", "type": "service", "calls": 4699, "errors": 0, "avg_duration_ms": 80.5},
        {"name": "storefront", "type": "service", "calls": 0, "errors": 0, "avg_duration_ms": None},
    ],
    "edges": [
        {
            "parent_service": "orders",
            "child_service": "postgresql/shop",
            "child_type": "database",
            "connection_type": "database",
            "calls": 9422,
            "errors": 0,
            "avg_duration_ms": 1.7,
            "destinations": [],
        },
        {
            "parent_service": "storefront",
            "child_service": "orders",
            "child_type": "service",
            "connection_type": "call",
            "calls": 4711,
            "errors": 12,
            "avg_duration_ms": 24.3,
            "destinations": [],
        },
        {
            "parent_service": "orders",
            "child_service": "mail",
            "child_type": "service",
            "connection_type": "messaging",
            "calls": 4699,
            "errors": 0,
            "avg_duration_ms": 80.5,
            "destinations": ["kafka/orders"],
        },
    ],
    "since": "2026-01-31T11:00:00.000000Z",
    "until": "2026-01-31T11:59:00.000000Z",
    "truncated": False,
}
"""Answers; a test validates them against the models."""
