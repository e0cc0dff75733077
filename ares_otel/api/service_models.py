"""The shapes of the answers about services, their operations and their calls, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

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


class Edge(BaseModel):
    """Calls from one service to another."""

    parent_service: Annotated[str, Field(description="The service that calls")]
    child_service: Annotated[str, Field(description="The service that is called")]
    calls: int
    errors: Annotated[int, Field(description="Of them with status error")]
    avg_duration_ms: Annotated[float, Field(description="Mean duration of the called spans")]


class ServiceMap(BaseModel):
    """Who calls whom, most calls first."""

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
    "edges": [
        {
            "parent_service": "storefront",
            "child_service": "orders",
            "calls": 4711,
            "errors": 12,
            "avg_duration_ms": 24.3,
        }
    ],
    "since": "2026-01-31T11:00:00.000000Z",
    "until": "2026-01-31T11:59:00.000000Z",
    "truncated": False,
}
"""Answers; a test validates them against the models."""
