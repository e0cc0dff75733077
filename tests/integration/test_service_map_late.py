"""Spans that come late, out of order or twice: each call is in the map once, and as what it is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import permutations

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.model.signal import TRACES
from ares_otel.storage.rollups import edges
from ares_otel.storage.store import Store
from tests.support.otlp_samples import trace_request
from tests.support.rollups import run_once
from tests.support.service_map import (
    BEGIN,
    CLIENT,
    CONSUMER,
    MINUTE,
    PRODUCER,
    SERVER,
    edges_of,
    link,
    look,
    made,
    send,
)
from tests.support.spooling import batch

QUEUE = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
PEER = {"server.address": "orders.internal"}


async def test_a_long_call_that_comes_when_it_ends_is_found_for_its_children_of_other_minutes(
    store: Store, sql: asyncpg.Connection
) -> None:
    long = made(CLIENT, end_time_unix_nano=BEGIN + 10 * MINUTE)
    for minute in (0, 3, 7):
        await send(store, "orders", made(SERVER, long, at=BEGIN + minute * MINUTE + 5))
    assert await look(store, sql) == set()
    assert await sql.fetchval("SELECT sum(waiting) FROM service_edge_minutes") == 3
    await send(store, "shop", long)
    assert await look(store, sql) == {("shop", "orders", "call", 3)}
    assert await sql.fetchval("SELECT sum(waiting) FROM service_edge_minutes") == 0
    assert await sql.fetchval("SELECT count(*) FROM service_edge_arrivals") == 0
    assert await sql.fetchval("SELECT count(*) FROM service_edge_minutes WHERE changed_at IS NOT NULL") == 0


async def test_a_minute_nobody_waits_for_is_not_looked_at_for_a_late_span_of_another_one(
    store: Store, sql: asyncpg.Connection
) -> None:
    await send(store, "orders", made(SERVER, made(CLIENT), at=BEGIN + MINUTE))
    await look(store, sql)
    when = "SELECT computed_at FROM service_edge_minutes ORDER BY minute DESC LIMIT 1"
    before = await sql.fetchval(when)
    await send(store, "shop", made(CLIENT))
    await run_once(store.connect)
    await sql.execute("UPDATE service_edge_minutes SET computed_at = computed_at - interval '5 minutes'")
    await run_once(store.connect)
    assert await sql.fetchval(when) == before - timedelta(minutes=5)


async def test_any_order_of_a_chain_over_several_minutes_gives_the_same_map(
    store: Store, sql: asyncpg.Connection
) -> None:
    expected = set()
    waves: list[list[tuple[str, Span]]] = [[], [], [], []]
    for number, order in enumerate(permutations(range(4))):
        front, shop, orders, mail = (f"{name}-{number}" for name in ("front", "shop", "orders", "mail"))
        root = made(SERVER, end_time_unix_nano=BEGIN + 3 * MINUTE)
        call = made(CLIENT, root, at=BEGIN + MINUTE, attributes=PEER)
        served = made(SERVER, call, at=BEGIN + 2 * MINUTE)
        consumed = made(CONSUMER, served, at=BEGIN + 3 * MINUTE)
        sends = [(front, root), (shop, call), (orders, served), (mail, consumed)]
        for wave, place in zip(waves, order, strict=True):
            wave.append(sends[place])
        expected |= {(shop, orders, "call", 1), (orders, mail, "messaging", 1)}
    for wave in waves:
        await asyncio.gather(*(send(store, *one) for one in wave))
        await look(store, sql, rounds=1)
    assert await look(store, sql, rounds=2) == expected


async def test_a_call_is_external_until_somebody_answers_it_and_never_both(
    store: Store, sql: asyncpg.Connection
) -> None:
    calls = {minutes: made(CLIENT, attributes=PEER) for minutes in (0, 1, 8)}
    messages = {minutes: made(PRODUCER, attributes=QUEUE) for minutes in calls}
    await send(store, "shop", *calls.values(), *messages.values())
    assert await look(store, sql) == {
        ("shop", "orders.internal", "external", 3),
        ("shop", "kafka/orders", "messaging", 3),
    }
    for number, minutes in enumerate(calls):
        later = BEGIN + minutes * MINUTE
        await send(store, "orders", made(SERVER, calls[minutes], at=later))
        await send(store, "mail", made(CONSUMER, at=later, links=[link(messages[minutes])], attributes=QUEUE))
        found = await look(store, sql)
        assert {edge for edge in found if edge[1] in ("orders", "mail")} == {
            ("shop", "orders", "call", number + 1),
            ("shop", "mail", "messaging", number + 1),
        }
        assert sum(calls for *_, calls in found) == 6
    await sql.execute("UPDATE service_edge_minutes SET changed_at = now()")
    assert await look(store, sql) == {("shop", "orders", "call", 3), ("shop", "mail", "messaging", 3)}


async def test_a_consumer_whose_producer_comes_later_counts_once_and_through_its_queue(
    store: Store, sql: asyncpg.Connection
) -> None:
    message = made(PRODUCER, attributes=QUEUE)
    await send(store, "mail", made(CONSUMER, at=BEGIN + 5 * MINUTE, links=[link(message)], attributes=QUEUE))
    assert await look(store, sql) == set()
    await send(store, "shop", message)
    assert await look(store, sql, rounds=3) == {("shop", "mail", "messaging", 1)}
    assert await sql.fetchval("SELECT destination FROM service_edges") == "kafka/orders"


async def test_a_retry_adds_nothing_and_a_copy_in_another_request_is_the_same_call(
    store: Store, sql: asyncpg.Connection
) -> None:
    call = made(CLIENT, attributes=PEER)
    served = made(SERVER, call)
    request = batch(TRACES, trace_request("orders", [served]))
    for _ in range(2):
        await store.consume(request)
    await send(store, "orders", served, made(SERVER))
    await send(store, "shop", call)
    await send(store, "shop", call, made(CLIENT))
    assert await look(store, sql) == {("shop", "orders", "call", 1)}


async def test_a_job_that_dies_in_the_middle_loses_nothing_and_counts_nothing_twice(
    store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = made(CLIENT, end_time_unix_nano=BEGIN + 10 * MINUTE)
    await send(store, "orders", made(SERVER, long, at=BEGIN + 5 * MINUTE))
    await look(store, sql)
    await send(store, "shop", long)
    await send(store, "orders", made(SERVER, long, at=BEGIN + 5 * MINUTE + 1))

    # Between the edges of the minute and the look for who waits: the connection ends as with kill -9.
    async def die(connection: asyncpg.Connection, *arguments: object, **options: object) -> int:
        await find(connection, *arguments, **options)  # type: ignore[arg-type]
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        await sql.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await gone.wait()
        raise ConnectionResetError

    find = edges.find_edges
    monkeypatch.setattr(edges, "find_edges", die)
    await sql.execute("UPDATE service_edge_minutes SET computed_at = computed_at - interval '5 minutes'")
    with pytest.raises(ConnectionResetError):
        await run_once(store.connect)
    assert await edges_of(sql) == set()
    assert await sql.fetchval("SELECT count(*) FROM service_edge_arrivals") == 1
    monkeypatch.setattr(edges, "find_edges", find)
    assert await look(store, sql) == {("shop", "orders", "call", 2)}
