"""Which services there are, what they do, and who calls what: from roll-ups, never from spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from ares_otel.query.reader import reading
from ares_otel.query.rollups import MAX_ROWS, from_minute
from ares_otel.query.rows import EdgeRow, NodeRow, OperationSeen, ServiceSummary, rows_of, was_cut
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.rollups import MAX_NAME

_STATEMENTS = load_statements("service_map.sql")
_SERVICE = "service"


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """Nodes and edges of some hours, most calls first."""

    nodes: list[NodeRow]
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


async def find_services(pool: asyncpg.Pool) -> tuple[list[ServiceSummary], bool]:
    """The services that sent spans, by name, at most `MAX_ROWS`; and whether there are more.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["services"], limit=MAX_ROWS + 1)
    return rows_of(ServiceSummary, records[:MAX_ROWS]), was_cut(records, MAX_ROWS)


async def find_operations(pool: asyncpg.Pool, service: str) -> tuple[list[OperationSeen], bool]:
    """The operations of a service, by name and kind, at most `MAX_ROWS`; and whether there are more.

    The name is taken as it is stored: what is beyond 255 characters does not count.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["operations"], service=service[:MAX_NAME], limit=MAX_ROWS + 1)
    return rows_of(OperationSeen, records[:MAX_ROWS]), was_cut(records, MAX_ROWS)


async def service_map(
    pool: asyncpg.Pool,
    hours: float = 1.0,
    *,
    service: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ServiceMap:
    """Who calls what in a time: whole minutes, and whole hours of what is older than two days.

    Args:
        hours: before `end`, or before now; when `start` is not given.
        service: only edges from it and to it, and what is at their ends.
        start: the minute that this is in is the first one.
        end: only minutes that begin before.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        bounds = (await reader.fetch(_STATEMENTS["map_bounds"], hours=hours, start=start, end=end))[0]
        since, until = bounds["since"], bounds["until"]
        found = await reader.fetch(
            _STATEMENTS["edges"], **from_minute(since), until=until, service=service, limit=MAX_ROWS + 1
        )
        edges = rows_of(EdgeRow, found[:MAX_ROWS])
        names = None if service is None else sorted({service[:255]} | _services(edges))
        services = await reader.fetch(
            _STATEMENTS["nodes"], **from_minute(since), until=until, services=names, limit=MAX_ROWS + 1
        )
    nodes = _nodes(edges, rows_of(NodeRow, services[:MAX_ROWS]))
    cut = was_cut(found, MAX_ROWS) or was_cut(services, MAX_ROWS)
    return ServiceMap(nodes, edges, cut, since, bounds["complete"])


async def dependencies(pool: asyncpg.Pool, start: datetime, end: datetime) -> list[Dependency]:
    """The calls between services in a time range, most calls first, at most `MAX_ROWS`.

    Services only, as Jaeger has them: whatever a viewer shows there can be searched for.

    Args:
        start: the minute that this is in is the first one.
        end: only minutes that begin before.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    first = from_minute(start.astimezone(UTC).replace(second=0, microsecond=0))
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["dependencies"], **first, end=end, limit=MAX_ROWS)
    return [Dependency(record["parent_service"], record["child_service"], record["calls"]) for record in records]


def _services(edges: Iterable[EdgeRow]) -> set[str]:
    return {edge.parent_service for edge in edges} | {
        edge.child_service for edge in edges if edge.child_type == _SERVICE
    }


def _nodes(edges: Sequence[EdgeRow], services: Iterable[NodeRow]) -> list[NodeRow]:
    """The services, those that were only seen to call, and what is no service: counted by the calls to it."""
    nodes = {(node.type, node.name): node for node in services}
    for name in _services(edges):
        nodes.setdefault((_SERVICE, name), NodeRow(name, _SERVICE, 0, 0, None))
    called: dict[tuple[str, str], list[EdgeRow]] = defaultdict(list)
    for edge in edges:
        if edge.child_type != _SERVICE:
            called[edge.child_type, edge.child_service].append(edge)
    for (kind, name), to in called.items():
        calls = sum(edge.calls for edge in to)
        duration = sum(edge.calls * edge.avg_duration_ms for edge in to) / calls if calls else None
        nodes[kind, name] = NodeRow(name, kind, calls, sum(edge.errors for edge in to), duration)
    return sorted(nodes.values(), key=lambda node: (-node.calls, node.type, node.name))
