"""The service map as REST, SQL and Jaeger's doors tell it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ares_otel.query.service_map import Dependency, dependencies
from ares_otel.storage.rollups import aging
from ares_otel.storage.store import Store
from tests.support.api import Api, running_api
from tests.support.service_map import BEGIN, CLIENT, CONSUMER, MINUTE, PRODUCER, SERVER, look, made, send

AT = datetime.fromtimestamp(BEGIN / 1e9, UTC)
ONE = timedelta(minutes=1)
KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
SQL = {"db.system.name": "postgresql", "db.namespace": "shop"}
ERROR = Status(code=Status.STATUS_CODE_ERROR)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as api:
        yield api


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        yield pool


async def fill(store: Store, sql: asyncpg.Connection) -> None:
    """shop calls orders in two minutes; orders asks a database and tells mail."""
    for minute in (0, 5):
        at = BEGIN + minute * MINUTE
        call = made(CLIENT, at=at)
        served = made(SERVER, call, at=at)
        query = made(CLIENT, served, at=at, attributes=SQL, end_time_unix_nano=at + 8_000_000, status=ERROR)
        message = made(PRODUCER, served, at=at, attributes=KAFKA)
        await send(store, "shop", call)
        await send(store, "orders", served, query, message)
        await send(store, "mail", made(CONSUMER, message, at=at, attributes=KAFKA))
    await look(store, sql, rounds=1)


@pytest.mark.every_server
async def test_the_map_has_nodes_of_each_type_and_says_how_they_are_connected(
    store: Store, sql: asyncpg.Connection, api: Api
) -> None:
    await fill(store, sql)
    answer = (await api.get("service-map")).json()
    assert {tuple(node.values()) for node in answer["nodes"]} == {
        ("orders", "service", 2, 0, 2.0),
        ("postgresql/shop", "database", 2, 2, 8.0),
        ("mail", "service", 2, 0, 2.0),
        ("shop", "service", 0, 0, None),
    }
    assert [tuple(edge.values())[:7] for edge in answer["edges"]] == [
        ("orders", "mail", "service", "messaging", 2, 0, 2.0),
        ("orders", "postgresql/shop", "database", "database", 2, 2, 8.0),
        ("shop", "orders", "service", "call", 2, 0, 2.0),
    ]
    assert [edge["destinations"] for edge in answer["edges"]] == [["kafka/orders"], [], []]
    rows = await sql.fetch(
        "SELECT parent_service, child_service, calls, errors, avg_duration_ms, tenant_id, connection_type, child_type, "
        "destinations FROM v_service_map ORDER BY child_service"
    )
    assert [tuple(row) for row in rows] == [
        ("orders", "mail", 2, 0, 2.0, 0, "messaging", "service", ["kafka/orders"]),
        ("shop", "orders", 2, 0, 2.0, 0, "call", "service", []),
        ("orders", "postgresql/shop", 2, 2, 8.0, 0, "database", "database", []),
    ]


async def test_the_map_of_a_service_and_of_a_time(store: Store, sql: asyncpg.Connection, api: Api) -> None:
    await fill(store, sql)

    async def names(**query: object) -> tuple[list[str], list[int]]:
        answer = (await api.get("service-map", **query)).json()
        return sorted(node["name"] for node in answer["nodes"]), [edge["calls"] for edge in answer["edges"]]

    assert await names(service="shop") == (["orders", "shop"], [2])
    assert await names(service="postgresql/shop") == (["orders", "postgresql/shop"], [2])
    assert await names(service="nobody") == ([], [])
    everybody = ["mail", "orders", "postgresql/shop", "shop"]
    # Whole minutes: the one that holds `from`, and those that begin before `to`.
    assert await names(**{"from": (AT + 30 * ONE / 60).isoformat(), "to": (AT + ONE).isoformat()}) == (
        everybody,
        [1, 1, 1],
    )
    assert await names(**{"from": (AT + ONE).isoformat(), "to": (AT + 5 * ONE).isoformat()}) == ([], [])
    assert await names(to=(AT + 5 * ONE).isoformat()) == (everybody, [1, 1, 1])
    assert await names(**{"from": (AT + 2 * ONE).isoformat()}) == (everybody, [1, 1, 1])
    for wrong, field in (
        ({"hours": 1, "to": AT.isoformat()}, "hours"),
        ({"from": (AT + ONE).isoformat(), "to": AT.isoformat()}, "from"),
        ({"to": "0001-01-01T00:00:00Z"}, "to"),
        ({"service": ""}, "service"),
    ):
        answer = await api.get("service-map", **wrong)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_dependencies_are_those_between_services_in_the_minutes_of_the_range(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await fill(store, sql)
    both = [Dependency("orders", "mail", 2), Dependency("shop", "orders", 2)]
    assert await dependencies(pool, AT, AT + 6 * ONE) == both
    once = [Dependency("orders", "mail", 1), Dependency("shop", "orders", 1)]
    microsecond = timedelta(microseconds=1)
    assert await dependencies(pool, AT + ONE - microsecond, AT + 5 * ONE) == once
    assert await dependencies(pool, AT + ONE, AT + 5 * ONE + microsecond) == once
    assert await dependencies(pool, AT + ONE, AT + 5 * ONE) == []
    assert await dependencies(pool, AT + 6 * ONE, AT) == []
    hour = (AT - timedelta(days=3)).replace(minute=0)
    for table in ("service_edges", "service_nodes"):
        await sql.execute(f"UPDATE {table} SET minute = $1::timestamptz + (minute - $2)", hour, AT)
    await aging.merge_hours(sql)
    assert await sql.fetchval("SELECT array_agg(DISTINCT minutes) FROM service_nodes") == [60]
    # An hour counts as a whole where the range touches it.
    assert await dependencies(pool, hour + 59 * ONE, hour + 61 * ONE) == both
    assert await dependencies(pool, hour - ONE, hour) == []
    assert await dependencies(pool, hour + 60 * ONE, hour + 90 * ONE) == []
