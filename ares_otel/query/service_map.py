"""Which services there are, what they do, and who calls whom: from roll-ups, never from spans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ares_otel.query.reader import reading
from ares_otel.query.rollups import MAX_ROWS
from ares_otel.query.rows import EdgeRow, OperationSeen, ServiceSummary, rows_of, was_cut
from ares_otel.query.statements import load_statements

_STATEMENTS = load_statements("service_map.sql")


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """Edges of some hours, most calls first."""

    edges: list[EdgeRow]
    truncated: bool
    """Whether there were more than an answer may hold."""
    since: datetime
    until: datetime | None
    """Calls from here on are not in it yet; None when no minute has been looked at."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """Calls from one service to another, as Jaeger's doors tell them."""

    parent: str
    child: str
    call_count: int
    source: str = ""


async def dependencies(pool: asyncpg.Pool, start: datetime, end: datetime) -> list[Dependency]:
    """The calls of a time range, by parent and child. Raises DatabaseUnavailable, QueryTooSlow."""
    raise NotImplementedError


async def find_services(pool: asyncpg.Pool) -> tuple[list[ServiceSummary], bool]:
    """The services that sent spans, by name, at most `MAX_ROWS`; and whether there are more.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["services"], limit=MAX_ROWS + 1)
    return rows_of(ServiceSummary, records[:MAX_ROWS]), was_cut(records, MAX_ROWS)


async def find_operations(pool: asyncpg.Pool, service: str) -> tuple[list[OperationSeen], bool]:
    """The operations of a service, by name and kind, at most `MAX_ROWS`; and whether there are more.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["operations"], service=service, limit=MAX_ROWS + 1)
    return rows_of(OperationSeen, records[:MAX_ROWS]), was_cut(records, MAX_ROWS)


async def service_map(pool: asyncpg.Pool, hours: float) -> ServiceMap:
    """The calls between services of the last hours. Raises DatabaseUnavailable, QueryTooSlow."""
    async with reading(pool) as reader:
        bounds = (await reader.fetch(_STATEMENTS["edges_until"], hours=hours))[0]
        records = await reader.fetch(_STATEMENTS["edges"], since=bounds["since"], limit=MAX_ROWS + 1)
    edges = rows_of(EdgeRow, records[:MAX_ROWS])
    return ServiceMap(edges, was_cut(records, MAX_ROWS), bounds["since"], bounds["until"])
