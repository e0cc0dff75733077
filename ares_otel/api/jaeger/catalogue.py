"""What there is to search for, for Jaeger's doors: services, operations, dependencies."""

from __future__ import annotations

import asyncpg

from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Refused
from ares_otel.query.service_map import Dependency, dependencies, find_operations, find_services

KINDS = ("internal", "server", "client", "producer", "consumer")
"""Kinds of spans as Jaeger writes them. A span without one is internal, as OTLP says of `SPAN_KIND_UNSPECIFIED`."""


async def service_names(pool: asyncpg.Pool) -> list[str]:
    """Services that sent spans, by name. Raises DatabaseUnavailable, QueryTooSlow."""
    rows, _ = await find_services(pool)
    return [row.service_name for row in rows]


async def operations(pool: asyncpg.Pool, service: str, kind: str) -> list[tuple[str, str]]:
    """Name and kind of a service's operations, by name.

    Args:
        kind: only operations of this kind; empty for all.

    Raises:
        Refused: there is no such kind, or no service is given.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    if not service:
        raise Refused("service is required; the list of services has the names.")
    wanted = kind.lower()
    if wanted and wanted not in KINDS:
        raise Refused(f"span_kind must be one of {', '.join(KINDS)}, or empty for all.")
    rows, _ = await find_operations(pool, service)
    # An unspecified kind is none to Jaeger's clients.
    found = {(row.operation_name, row.kind if row.kind in KINDS else ""): None for row in rows}
    return [each for each in found if not wanted or each[1] == wanted]


async def calls_between(pool: asyncpg.Pool, start: Instant | None, end: Instant | None) -> list[Dependency]:
    """Calls from service to service within a range of time.

    Raises:
        Refused: a bound is missing, or the range ends before it begins.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    if start is None or end is None:
        missing = "start_time" if start is None else "end_time"
        raise Refused(f"{missing} is required; dependencies are counted within a range of time.")
    if start > end:
        raise Refused("start_time is later than end_time; exchange them.")
    return await dependencies(pool, start.time, end.time)
