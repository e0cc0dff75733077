"""The subscribers that come with Ares, and what Ares itself publishes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from ares_otel.control.config_announcer import ConfigAnnouncer
from ares_otel.eventbus import SwitchingBus, create_event_bus
from ares_otel.eventbus.live import LiveEvents
from ares_otel.eventbus.subscribers import AnalyticsSubscriber, TradeAuditSubscriber
from ares_otel.eventbus.subscribers.analytics import MAX_LABELS, MAX_TOPICS
from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.storage.store import Store
from tests.support.bus import Buses, Listener, buses, until
from tests.support.redis import needs_redis, redis_server


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as made:
        yield made


@pytest.fixture
async def bus() -> AsyncIterator[SwitchingBus]:
    made = await create_event_bus(source="test")
    yield made
    await made.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[Buses]:
    if request.param == "memory":
        async with buses(None) as made:
            yield made
        return
    with redis_server() as server:
        async with buses(server) as made:
            yield made


async def _rows(pool: asyncpg.Pool) -> list[asyncpg.Record]:
    return list(await pool.fetch("SELECT *, data::text AS text FROM event_audit ORDER BY published_at, event_id"))


async def _audited(pool: asyncpg.Pool, number: int) -> None:
    deadline = time.monotonic() + 20
    while await pool.fetchval("SELECT count(*) FROM event_audit") < number:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_trade_events_are_kept_each_once_and_nothing_else_is(adapter: Buses, pool: asyncpg.Pool) -> None:
    bus = await adapter.make(source="a\0b")
    others = [await adapter.make() for _ in range(2)] if adapter.server else []
    audits = [TradeAuditSubscriber(one, pool) for one in (bus, *others)]
    for audit in audits:
        await audit.start()
    events = [await bus.publish("trade.executed", {"n": number, "text": "\0ä"}) for number in range(200)]
    await bus.publish("trade.a.b", None, id="mine")
    await bus.publish("trade.a.b", None, id="mine")
    await bus.publish("order.new", 1)
    await _audited(pool, 201)
    await bus.close()
    rows = await _rows(pool)
    assert [row["event_id"] for row in rows] == [*(event.id for event in events), "mine"]
    assert rows[3]["text"] == '{"n": 3, "text": "\N{REPLACEMENT CHARACTER}ä"}'
    assert rows[3]["source"] == "a\N{REPLACEMENT CHARACTER}b"
    assert rows[3]["published_at"] == events[3].published_at
    assert rows[-1]["text"] == "null"
    assert sum(audit.stored for audit in audits) == 201


async def test_trade_events_wait_while_the_database_is_away(adapter: Buses, pool: asyncpg.Pool) -> None:
    bus = await adapter.make()
    audit = TradeAuditSubscriber(bus, pool)
    await audit.start()
    await pool.execute("ALTER TABLE event_audit RENAME TO away")
    for number in range(20):
        await bus.publish("trade.executed", number)
    await asyncio.sleep(0.3)
    await pool.execute("ALTER TABLE away RENAME TO event_audit")
    await _audited(pool, 20)
    assert [row["text"] for row in await _rows(pool)] == [str(number) for number in range(20)]


async def test_topics_are_counted_and_labels_are_bounded(bus: SwitchingBus) -> None:
    told: list[str] = []
    analytics = AnalyticsSubscriber(bus, tell=told.append)
    await analytics.start()
    assert not bus.wanted_by_anyone("spans.error")
    number = MAX_TOPICS + 50
    for index in range(number):
        await bus.publish(f"t.{index}", None)
        await bus.publish("t.0", None)
    await until(lambda: len(told) == 2 * number)
    assert len(set(told)) == MAX_LABELS + 1
    topics = analytics.topics()
    assert (topics[0].topic, topics[0].published) == ("t.0", number + 1)
    assert (topics[1].topic, topics[1].published) == ("other", 50)
    assert len(topics) == MAX_TOPICS + 1
    await analytics.stop()
    await analytics.stop()


async def test_changes_of_settings_are_announced_once_whoever_makes_them(
    adapter: Buses, pool: asyncpg.Pool, database_url: str
) -> None:
    processes = [await adapter.make() for _ in range(2 if adapter.server else 1)]
    listeners = [Listener() for _ in processes]
    announcers = []
    for bus, listener in zip(processes, listeners, strict=True):
        await bus.subscribe("config.**", listener)
        announcers.append(ConfigAnnouncer(bus, lambda: asyncpg.connect(database_url)))
        await announcers[-1].start()
    await pool.execute(
        "INSERT INTO service_config (service_name, config_key, config_value, updated_by) VALUES ('s', 'k', '1', 'me')"
    )
    await pool.execute("UPDATE service_config SET config_value = '2' WHERE service_name = 's'")
    await pool.execute("DELETE FROM service_config WHERE service_name = 's'")
    for listener in listeners:
        await until(lambda listener=listener: len(listener.events) >= 3)  # type: ignore[misc]
    await asyncio.sleep(0.2)
    for announcer in announcers:
        await announcer.stop()
    for listener in listeners:
        assert [(d["service_name"], d["config_key"], d["version"], d["deleted"]) for d in listener.data] == [
            ("s", "k", 1, False),
            ("s", "k", 2, False),
            ("s", "k", 3, True),
        ]
        assert "2" not in {str(value) for d in listener.data for key, value in d.items() if key != "version"}


def _traces(*statuses: int) -> Batch:
    request: Any = TRACES.request()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = "shop"
    scope = resource.scope_spans.add()
    now = time.time_ns()
    for number, status in enumerate(statuses, 1):
        span = scope.spans.add(
            trace_id=bytes([1] * 16),
            span_id=bytes([number] * 8),
            name=f"op-{number}",
            kind=2,
            start_time_unix_nano=now,
            end_time_unix_nano=now + 1_500_000,
        )
        span.status.code = status
        span.attributes.add(key="long").value.string_value = "x" * 5000
    return Batch(TRACES, request.SerializeToString(), received_ns=now, receiver="otlp", transport="grpc")


def _logs(number: int) -> Batch:
    request: Any = LOGS.request()
    scope = request.resource_logs.add().scope_logs.add()
    for index in range(number):
        record = scope.log_records.add(severity_number=17, time_unix_nano=time.time_ns())
        record.body.string_value = f"message {index}"
    return Batch(LOGS, request.SerializeToString(), received_ns=time.time_ns(), receiver="otlp", transport="grpc")


async def test_what_is_stored_is_shown_to_those_who_listen_and_costs_nothing_otherwise(
    bus: SwitchingBus, database_url: str
) -> None:
    store = Store(database_url)
    await store.start()

    def attach(function: Any) -> None:
        store.on_committed = function

    live = LiveEvents(bus, attach)
    await live.start()
    try:
        await store.consume(_traces(0, 2))
        assert store.on_committed is None
        tail, errors, everything = Listener(), Listener(), Listener()
        await bus.subscribe("tail.*", tail)
        await bus.subscribe("spans.error", errors)
        await bus.subscribe("**", everything)
        await until(lambda: store.on_committed is not None)
        await store.consume(_traces(0, 1, 2))
        await store.consume(_logs(2))
        await until(lambda: len(tail.events) == 2 and errors.events)
        spans = next(event.data["spans"] for event in tail.events if event.topic == "tail.spans")
        logs = next(event.data["logs"] for event in tail.events if event.topic == "tail.logs")
        assert [(s["service_name"], s["operation_name"], s["status"], s["kind"], s["duration_ms"]) for s in spans] == [
            ("shop", "op-1", "unset", "server", 1.5),
            ("shop", "op-2", "ok", "server", 1.5),
            ("shop", "op-3", "error", "server", 1.5),
        ]
        assert len(spans[0]["attributes"]["long"]) == 200
        assert [(record["message"], record["log_level"]) for record in logs] == [
            ("message 0", "ERROR"),
            ("message 1", "ERROR"),
        ]
        assert [event.data["operation_name"] for event in errors.events] == ["op-3"]
        assert {event.topic for event in everything.events} == {"spans.error"}
    finally:
        await live.stop()
        await store.stop()
    assert store.on_committed is None


async def test_too_much_to_show_is_left_out_and_counted(bus: SwitchingBus) -> None:
    dropped: list[int] = []
    live = LiveEvents(bus, lambda function: None, dropped=dropped.append)
    listener = Listener()
    await bus.subscribe("tail.logs", listener)
    await live.start()
    await asyncio.sleep(0)
    for _ in range(10):
        live.committed(_logs(1000))
    await until(lambda: sum(dropped) + sum(len(event.data["logs"]) for event in listener.events) == 10_000)
    assert sum(dropped) > 5000
    assert all(len(event.data["logs"]) <= 100 for event in listener.events)
    await live.stop()
