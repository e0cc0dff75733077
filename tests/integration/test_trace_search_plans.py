"""Trace searches use the indexes of sealed partitions, and touch no older partition than they need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.query.ranges import Range
from ares_otel.query.reader import reading
from ares_otel.query.search.expression import LEVELS, Attribute, Call, Field, Nested, Scalar
from ares_otel.query.search.find import _Search, find_traces
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.search.statements import LIVE, traces_statement
from ares_otel.query.search.validate import planned
from tests.support.partitions import Keeper, day, name_of
from tests.support.stored_rows import now

ROWS = 12_000
_SPANS = """
INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms, duration_ns,
                           status, attributes, events, links)
SELECT gen_random_uuid(), decode(lpad(to_hex(g), 16, '0'), 'hex'), 'service ' || g % 20, 'GET /orders/' || g % 50,
       'server', $1::timestamptz - g * interval '100 ms', g % 1000 / 1e3, g % 1000 * 1000,
       CASE WHEN g % 500 = 0 THEN 'error' ELSE 'ok' END, jsonb_build_object('order.id', g, 'customer', 'c' || g % 4000),
       CASE WHEN g % 10 = 0 THEN jsonb_build_array(jsonb_build_object(
           'name', 'exception', 'time_unix_nano', 1, 'attributes', jsonb_build_object('exception.type', 'E' || g % 2000)
       )) ELSE '[]' END,
       CASE WHEN g % 10 = 1 THEN jsonb_build_array(jsonb_build_object(
           'trace_id', lpad(to_hex(g), 32, '0'), 'span_id', lpad(to_hex(g), 16, '0'), 'attributes', '{}'::jsonb
       )) ELSE '[]' END
FROM generate_series(1, $2::integer) g
"""
_KEY, _EVENT = Attribute("exception.type", "event"), "events_gin"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Spans of yesterday and of now."""
    at = max(now(), day(0) + timedelta(minutes=25))
    settings = {"plan_cache_mode": "force_custom_plan"}
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2, server_settings=settings) as pool:
        for end in (at - timedelta(days=1), at):
            await pool.execute(_SPANS, end, ROWS)
        yield pool


async def _plan(pool: asyncpg.Pool, query: TraceQuery, range_: Range) -> str:
    async with reading(pool) as reader:
        predicate = planned(query)
        search = _Search(reader, predicate, query)
        await search.prepare()
        statement = traces_statement(LIVE, predicate, query, search._answers, range_, [], 2000)
    text, arguments = statement.bind({})
    return "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {text}", *arguments))


SEALED: dict[str, tuple[TraceQuery, tuple[str, ...]]] = {
    "a tag of any service, wherever it is, to the text or loose": (
        TraceQuery(attributes=(Wanted("order.id", "77", loose=True),), levels=LEVELS),
        ("attributes_gin", "events_gin", "links_gin"),
    ),
    "a service and a tag": (
        TraceQuery(service="service 7", attributes=(Wanted("order.id", 77),), levels=LEVELS),
        ("attributes_gin",),
    ),
    "a service": (TraceQuery(service="service 7"), ("_idx",)),
    "long spans of a service": (TraceQuery(service="service 7", min_ns=999_000), ("duration_idx",)),
    "a filter for an attribute": (
        TraceQuery(filter=Call("eq", (Attribute("customer"), Scalar("c77")))),
        ("attributes_gin",),
    ),
    "a filter for several values": (
        TraceQuery(filter=Call("or", (Call("eq", (Attribute("order.id", "span"), Scalar("77"))),) * 2)),
        ("attributes_gin",),
    ),
    "a filter for an attribute of an event": (
        TraceQuery(filter=Call("eq", (_KEY, Scalar("E10")))),
        (_EVENT,),
    ),
    "a filter for one event": (
        TraceQuery(
            filter=Call(
                "some",
                (
                    Nested("event"),
                    Call(
                        "and",
                        (Call("ne", (Field("name", "event"), Scalar("x"))), Call("eq", (_KEY, Scalar("E10")))),
                    ),
                ),
            )
        ),
        (_EVENT,),
    ),
    "a filter for a link": (
        TraceQuery(filter=Call("eq", (Field("trace_id", "link"), Scalar("b")))),
        ("links_gin",),
    ),
    "a filter for a trace id": (
        TraceQuery(filter=Call("eq", (Field("trace_id", "span"), Scalar("b")))),
        ("trace_id_idx",),
    ),
}


async def test_sealed_partitions_are_searched_by_their_indexes(pool: asyncpg.Pool, database_url: str) -> None:
    await Keeper(database_url).seal(grace_hours=0)
    await pool.execute("ANALYZE service_spans")
    for name, (query, indexes) in SEALED.items():
        plan = await _plan(pool, query, Range(day(1), day(0)))
        for index in indexes:
            assert index in plan, (name, plan)
        assert "Seq Scan" not in plan, (name, plan)


async def test_a_search_that_has_enough_touches_no_older_partition(pool: asyncpg.Pool) -> None:
    queries: dict[str, Any] = {
        "everything": TraceQuery(limit=5),
        "a service": TraceQuery(service="service 7", limit=5),
        "a name by its pattern": TraceQuery(filter=Call("regex", (Field("name", "span"), Scalar("/7$"))), limit=5),
    }
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {name_of('service_spans', 1)} IN ACCESS EXCLUSIVE MODE")
        for name, query in queries.items():
            found = await find_traces(pool, query)
            assert (len(found), found.complete) == (5, True), name
