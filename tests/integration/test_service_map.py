"""Services, their operations, and who calls whom: from spans that come in any order."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.query.service_map import dependencies
from ares_otel.query.spm import Kind, span_metrics
from ares_otel.storage.rollups import aging, edges
from ares_otel.storage.rollups.edge_search import FIND
from ares_otel.storage.rollups.transaction import transaction
from ares_otel.storage.store import Store
from tests.support.api import Api, running_api
from tests.support.rollups import run_once
from tests.support.service_map import BEGIN, CLIENT, CONSUMER, MINUTE, SERVER, made, send


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as api:
        yield api


async def again(sql: asyncpg.Connection) -> None:
    """A minute that was looked at a moment ago may be looked at again."""
    await sql.execute("UPDATE service_edge_minutes SET computed_at = computed_at - interval '5 minutes'")


async def found(sql: asyncpg.Connection) -> set[tuple[str, str, int, int]]:
    rows = await sql.fetch(
        "SELECT parent_service, child_service, calls, errors FROM service_edges WHERE child_type = 'service'"
    )
    return {tuple(row) for row in rows}


async def test_calls_between_services_are_edges_and_calls_within_one_are_not(
    store: Store, sql: asyncpg.Connection
) -> None:
    root = made(SERVER)
    call = made(CLIENT, root)
    inner = made(Span.SPAN_KIND_INTERNAL, root)
    own = made(SERVER, root)
    served = made(SERVER, call, status=Status(code=Status.STATUS_CODE_ERROR))
    consumed = made(CONSUMER, call)
    orphan = made(SERVER, made(CLIENT))
    await send(store, "shop", root, call, inner, own)
    await send(store, "orders", served, orphan)
    await send(store, "mail", consumed)
    await run_once(store.connect)
    assert await found(sql) == {("shop", "orders", 1, 1), ("shop", "mail", 1, 0)}
    (row,) = await sql.fetch("SELECT * FROM v_service_map WHERE child_service = 'orders'")
    assert (row["parent_service"], row["calls"], row["avg_duration_ms"]) == ("shop", 1, 2.0)


async def test_children_before_parents_and_parents_a_minute_later_count_once(
    store: Store, sql: asyncpg.Connection
) -> None:
    call = made(CLIENT, at=BEGIN + MINUTE - 1_000_000)
    served = made(SERVER, call, at=BEGIN + MINUTE + 1_000_000)
    await send(store, "orders", served)
    await run_once(store.connect)
    assert await found(sql) == set()
    await send(store, "shop", call)
    await run_once(store.connect)
    assert await found(sql) == set()  # it was looked at a moment ago
    await again(sql)
    await run_once(store.connect)
    assert await found(sql) == {("shop", "orders", 1, 0)}
    await again(sql)
    await send(store, "orders", made(SERVER, call, at=BEGIN + MINUTE + 2_000_000))
    await run_once(store.connect)
    assert await found(sql) == {("shop", "orders", 2, 0)}


async def test_a_parent_whose_twin_came_twice_makes_no_second_call(store: Store, sql: asyncpg.Connection) -> None:
    call = made(CLIENT)
    await send(store, "shop", call)
    await send(store, "shop", call, made(CLIENT))
    await send(store, "orders", made(SERVER, call))
    await run_once(store.connect)
    assert await found(sql) == {("shop", "orders", 1, 0)}


async def test_of_very_many_calls_a_part_tells_about_all(store: Store, sql: asyncpg.Connection) -> None:
    calls = [made(CLIENT, at=BEGIN + number * MINUTE // 800) for number in range(800)]
    await send(store, "shop", *calls)
    await send(store, "orders", *(made(SERVER, call, at=call.start_time_unix_nano) for call in calls))
    await run_once(store.connect)
    assert await found(sql) == {("shop", "orders", 800, 0)}
    minute = datetime.fromtimestamp(BEGIN / 1e9, UTC)
    async with transaction(sql):
        await edges.find_edges(sql, minute, minute, most=200)
        assert await found(sql) == {("shop", "orders", 800, 0)}
        await sql.execute("DELETE FROM service_edges")
        arguments = (["orders"], 4, timedelta(hours=1), 9, ["shop"], 4, minute + timedelta(minutes=2))
        plan = str(await sql.fetch("EXPLAIN (ANALYZE) " + FIND, minute, *arguments))
    assert "CTE Scan on child c" in plan
    assert "rows=200" in plan  # of 800


@pytest.mark.every_server
async def test_the_map_of_hours_and_of_old_minutes(store: Store, sql: asyncpg.Connection, api: Api) -> None:
    call = made(CLIENT)
    await send(store, "shop", call)
    await send(store, "orders", made(SERVER, call), made(SERVER, call))
    await run_once(store.connect)
    answer = (await api.get("service-map")).json()
    edge = answer["edges"][0]
    assert {name: edge[name] for name in ("parent_service", "child_service", "calls", "errors", "avg_duration_ms")} == {
        "parent_service": "shop",
        "child_service": "orders",
        "calls": 2,
        "errors": 0,
        "avg_duration_ms": 2.0,
    }
    assert answer["since"] < answer["until"]
    await sql.execute("UPDATE service_edges SET minute = minute - interval '3 days'")
    assert (await api.get("service-map", hours=2)).json()["edges"] == []
    for _ in range(2):
        await aging.merge_hours(sql)
    assert await sql.fetchval("SELECT array_agg(minutes) FROM service_edges") == [60]
    assert [edge["calls"] for edge in (await api.get("service-map", hours=100)).json()["edges"]] == [2]


@pytest.mark.every_server
async def test_services_and_operations_are_listed_before_and_after_they_are_merged(
    store: Store, sql: asyncpg.Connection, api: Api
) -> None:
    assert (await api.get("services")).json() == {"services": [], "truncated": False}
    await send(
        store, "b/with slash", made(SERVER, name="GET /"), made(CLIENT, name="GET /"), made(SERVER, name="x" * 300)
    )
    lists = []
    for _ in range(2):
        await send(store, "a", made(SERVER, at=BEGIN - MINUTE, name="first"))
        services = (await api.get("services")).json()["services"]
        operations = (await api.get("services/b%2Fwith%20slash/operations")).json()
        lists.append((services, operations))
        await run_once(store.connect)
    assert lists[0] == lists[1]
    services, operations = lists[0]
    at = datetime.fromtimestamp(BEGIN / 1e9, UTC)
    assert [(row["service_name"], row["operations"]) for row in services] == [("a", 1), ("b/with slash", 2)]
    assert services[0]["last_seen"] == f"{at - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}.000000Z"
    assert operations["service_name"] == "b/with slash"
    assert [(row["operation_name"], row["kind"]) for row in operations["operations"]] == [
        ("GET /", "client"),
        ("GET /", "server"),
        ("x" * 255, "server"),
    ]
    assert (await api.get("services/nobody/operations")).json()["operations"] == []


@pytest.mark.every_server
async def test_edges_say_what_a_join_of_all_spans_says(store: Store, sql: asyncpg.Connection) -> None:
    source = random.Random(1)
    services = ["a", "b", "c", "d"]
    sent: list[tuple[str, Span]] = []
    for _ in range(40):
        at = BEGIN + source.randrange(3 * MINUTE)
        trace = [(source.choice(services), made(SERVER, at=at))]
        for _ in range(source.randrange(8)):
            parent = source.choice(trace)[1]
            kind = source.choice([SERVER, CLIENT, CONSUMER])
            trace.append((source.choice(services), made(kind, parent, at=parent.start_time_unix_nano + 10**7)))
        sent += trace
    source.shuffle(sent)
    for service, one in sent:
        await send(store, service, one)
        if source.random() < 0.02:
            await run_once(store.connect)
            await again(sql)
    await run_once(store.connect)
    exact = await sql.fetch(
        """
        SELECT p.service_name, c.service_name, count(*) FROM service_spans c
        JOIN service_spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id
        WHERE c.kind IN ('server', 'consumer') AND p.service_name <> c.service_name GROUP BY 1, 2
        """
    )
    counted = await sql.fetch(
        "SELECT parent_service, child_service, sum(calls)::bigint FROM service_edges "
        "WHERE child_type = 'service' GROUP BY 1, 2"
    )
    assert {tuple(row) for row in counted} == {tuple(row) for row in exact}


async def test_the_parts_of_the_statement_are_joined_by_hashes_whatever_the_planner_expects(
    store: Store, sql: asyncpg.Connection
) -> None:
    """Without statistics it expects a row or two everywhere, and compares thousands with thousands."""
    minute = datetime.fromtimestamp(BEGIN / 1e9, UTC)
    arguments = (["orders"], 1, timedelta(hours=1), 9, ["shop"], 1, minute + timedelta(minutes=2))
    async with sql.transaction():
        await sql.execute(edges._PLAN)
        plan = [row[0] for row in await sql.fetch("EXPLAIN " + FIND, minute, *arguments)]
    assert not [line for line in plan if "Merge Join" in line]
    loops = [number for number, line in enumerate(plan) if "Nested Loop" in line]
    # What is left: links of a span, spans of a trace, and elements of arrays.
    assert len(loops) == 4
    assert await sql.fetchval("SHOW enable_hashjoin") == "on"


async def test_none_of_the_common_pages_reads_spans_or_log_records(
    store: Store, sql: asyncpg.Connection, api: Api
) -> None:
    call = made(CLIENT, at=time.time_ns())
    await send(store, "shop", call)
    await send(store, "orders", made(SERVER, call, at=time.time_ns()))
    await sql.execute("INSERT INTO service_registry (name, instance_id) VALUES ('orders', '1')")
    for _ in range(2):
        async with sql.transaction():
            await sql.execute("LOCK TABLE service_spans, service_logs")
            for path in ("performance", "health", "services", "services/orders/operations", "service-map"):
                answer = await asyncio.wait_for(api.get(path), 5)
                assert answer.status_code == 200
                assert path == "service-map" or any(isinstance(part, list) and part for part in answer.json().values())
            now = datetime.now(UTC)
            kinds: list[Kind] = ["latencies", "calls", "errors"]
            for kind in kinds:
                await asyncio.wait_for(span_metrics(api.pool, kind, ["orders"], end=now), 5)
            await asyncio.wait_for(dependencies(api.pool, now - timedelta(days=7), now), 5)
        await run_once(store.connect)
