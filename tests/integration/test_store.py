"""The store: OTLP batches in, rows out, partitions at hand, senders registered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ares_otel.control.heartbeats import Heartbeats
from ares_otel.exporters.postgres.observer import TelemetryObserver
from ares_otel.model.batch import DERIVED, Accepted, Batch
from ares_otel.model.errors import Rejected, Retryable, TooLarge
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage import encoders
from ares_otel.storage.encoders import INLINE_BYTES
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import EncodedBatch, ServiceSeen
from ares_otel.storage.rows.implementation import NATIVE, PYTHON, active, choose
from ares_otel.storage.store import Store
from tests.support.otlp_samples import logs_request, metrics_request, span, trace_request

pytestmark = pytest.mark.every_server


def batch(signal: Signal, payload: bytes) -> Batch:
    return Batch(signal, payload, received_ns=time.time_ns(), receiver="t", transport="t")


async def consumed(store: Store, wanted: Batch) -> Accepted:
    """The answer, once the database takes data."""
    while True:
        try:
            return await store.consume(wanted)
        except Retryable:
            await asyncio.sleep(0.01)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        yield pool


async def test_every_signal_goes_into_its_tables(store: Store, pool: asyncpg.Pool) -> None:
    await store.consume(batch(TRACES, trace_request(spans=4).SerializeToString()))
    await store.consume(batch(LOGS, logs_request(records=5).SerializeToString()))
    metrics = batch(METRICS, metrics_request().SerializeToString())
    await store.consume(metrics)
    assert await pool.fetchval("SELECT count(*) FROM service_spans") == 4
    assert await pool.fetchval("SELECT count(*) FROM service_logs") == 5
    assert await pool.fetchval("SELECT count(*) FROM service_metrics") == metrics.items


async def test_a_big_request_is_stored_whole(store: Store, pool: asyncpg.Pool) -> None:
    accepted = await store.consume(batch(TRACES, trace_request(spans=5000).SerializeToString()))
    assert accepted == Accepted(5000)
    assert await pool.fetchval("SELECT count(*) FROM service_spans") == 5000


async def test_an_invalid_item_is_counted_with_its_reason_and_its_neighbours_are_stored(
    store: Store, pool: asyncpg.Pool
) -> None:
    request = trace_request(spans=[span(), span(trace_id=b"short"), span(span_id=bytes(8)), span()])
    accepted = await store.consume(batch(TRACES, request.SerializeToString()))
    assert (accepted.stored, accepted.rejected) == (2, 2)
    assert "trace_id" in accepted.reason
    assert "span_id" in accepted.reason
    assert await pool.fetchval("SELECT count(*) FROM service_spans") == 2


async def test_a_request_of_nothing_but_invalid_items_is_answered_without_a_transaction(store: Store) -> None:
    accepted = await store.consume(batch(TRACES, trace_request(spans=[span(trace_id=b"")]).SerializeToString()))
    assert (accepted.stored, accepted.rejected) == (0, 1)


async def test_a_body_that_is_no_message_is_rejected(store: Store) -> None:
    with pytest.raises(Rejected):
        await store.consume(batch(TRACES, b"\xff\xff\xff"))


async def test_a_span_from_another_age_is_filed_under_its_receive_time(store: Store, pool: asyncpg.Pool) -> None:
    request = trace_request(spans=[span(start_time_unix_nano=2**63, end_time_unix_nano=2**63 + 1_000_000)])
    await store.consume(batch(TRACES, request.SerializeToString()))
    row = await pool.fetchrow("SELECT * FROM service_spans WHERE start_time > now() - interval '1 minute'")
    assert row["original_time_unix_nano"] == 2**63
    assert row["duration_ms"] == 1.0


async def test_before_it_has_started_everything_is_retryable(database_url: str) -> None:
    store = Store(database_url)
    with pytest.raises(Retryable):
        await store.consume(batch(TRACES, trace_request().SerializeToString()))
    await store.stop()
    await store.stop()


async def test_the_store_makes_its_partitions_when_it_starts(empty_database_url: str) -> None:
    from ares_otel.storage.migrate import migrate

    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection)
    store = Store(empty_database_url)
    await store.start()
    await store.consume(batch(TRACES, trace_request(spans=1).SerializeToString()))
    assert await connection.fetchval("SELECT count(*) FROM service_spans") == 1
    await store.stop()
    await connection.close()


async def test_retention_by_hand_does_not_lose_late_rows(store: Store, pool: asyncpg.Pool) -> None:
    """A partition that somebody drops makes its rows retryable, and the retry files them under the receive time."""
    day = await pool.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC' - interval '2 days', 'YYYYMMDD')")
    await pool.execute(f"DROP TABLE service_spans_{day}")
    start = time.time_ns() - 2 * 86_400 * 10**9
    late = trace_request(spans=[span(start_time_unix_nano=start, end_time_unix_nano=start)]).SerializeToString()
    async with asyncio.timeout(30):
        while True:
            try:
                await store.consume(batch(TRACES, late))
                break
            except Retryable:
                await asyncio.sleep(0)
    assert await pool.fetchval("SELECT count(*) FROM service_spans") == 1


class TestHeartbeats:
    async def test_a_service_that_sends_is_in_the_registry(self, store: Store, pool: asyncpg.Pool) -> None:
        heartbeats = Heartbeats(pool)
        await heartbeats.start()
        store.on_stored = lambda encoded: heartbeats.seen(encoded.services)
        await store.consume(batch(TRACES, trace_request(service="orders", spans=1).SerializeToString()))
        await heartbeats.stop()
        row = await pool.fetchrow("SELECT * FROM service_registry WHERE name = 'orders'")
        assert row is not None
        assert row["status"] == "online"
        assert await pool.fetchval("SELECT seconds_since_heartbeat < 60 FROM v_system_health") is True

    async def test_what_a_connector_made_is_no_sign_of_life(self, store: Store) -> None:
        seen: list[str] = []
        store.on_stored = lambda encoded: seen.extend(one.name for one in encoded.services)
        sent = batch(METRICS, metrics_request(service="orders").SerializeToString())
        made = Batch(
            METRICS, sent.payload, key=bytes(16), received_ns=time.time_ns(), receiver="link", transport=DERIVED
        )
        await store.consume(made)
        assert seen == []
        await store.consume(sent)
        assert seen == ["orders"]

    async def test_a_heartbeat_moves_the_time_keeps_the_version_and_adds_metadata(self, pool: asyncpg.Pool) -> None:
        for seen in (ServiceSeen("a", "", "1.0", "i", "go"), ServiceSeen("a", "shop", "", "i", "")):
            heartbeats = Heartbeats(pool)
            await heartbeats.start()
            heartbeats.seen([seen])
            await heartbeats.stop()
        row = await pool.fetchrow("SELECT * FROM service_registry")
        assert row["version"] == "1.0"
        assert row["metadata"] == '{"service.namespace": "shop", "telemetry.sdk.language": "go"}'
        assert row["last_heartbeat"] > row["registered_at"]

    async def test_a_service_that_keeps_sending_is_written_once_in_a_while(self, pool: asyncpg.Pool) -> None:
        heartbeats = Heartbeats(pool)
        await heartbeats.start()
        for _ in range(1000):
            heartbeats.seen([ServiceSeen("busy", "", "", "", "")])
        await heartbeats.stop()
        first = await pool.fetchval("SELECT last_heartbeat FROM service_registry")
        await heartbeats.start()
        heartbeats.seen([ServiceSeen("busy", "", "", "", "")])
        await heartbeats.stop()
        assert await pool.fetchval("SELECT last_heartbeat FROM service_registry") == first

    async def test_ten_thousand_services_are_one_statement(self, pool: asyncpg.Pool) -> None:
        heartbeats = Heartbeats(pool)
        await heartbeats.start()
        heartbeats.seen(ServiceSeen(f"service-{number}", "", "", "", "") for number in range(10_000))
        await heartbeats.stop()
        row = await pool.fetchrow("SELECT count(*) AS rows, count(DISTINCT xmin::text) AS writes FROM service_registry")
        assert (row["rows"], row["writes"]) == (10_000, 1)


class TestRequestsThatExpand:
    """A small body can become large rows: it is refused for good, quickly, and hurts nobody else."""

    async def test_a_long_description_over_many_series(self, store: Store) -> None:
        request = metrics_request()
        metric = request.resource_metrics[0].scope_metrics[0].metrics.add(name="wide", description="x" * 600_000)
        for number in range(2000):
            metric.gauge.data_points.add(as_int=number).attributes.add(key="n").value.int_value = number
        with pytest.raises(TooLarge, match="MiB as rows"):
            await store.consume(batch(METRICS, request.SerializeToString()))

    async def test_a_long_service_name_over_many_records(self, store: Store) -> None:
        request = logs_request(service="\N{GRINNING FACE}" * 255, records=1)
        record = request.resource_logs[0].scope_logs[0].log_records
        record.extend([record[0]] * 110_000)
        with pytest.raises(TooLarge):
            await store.consume(batch(LOGS, request.SerializeToString()))

    async def test_many_series_are_stored_in_parts(self, store: Store, pool: asyncpg.Pool) -> None:
        request = metrics_request()
        metric = request.resource_metrics[0].scope_metrics[0].metrics.add(name="many", description="x" * 10_000)
        for number in range(3000):
            metric.gauge.data_points.add(as_int=number).attributes.add(key="n").value.int_value = number
        await store.consume(batch(METRICS, request.SerializeToString()))
        assert await pool.fetchval("SELECT count(*) FROM metric_series WHERE metric_name = 'many'") == 3000


async def test_a_lock_on_one_table_leaves_the_other_signals_alone(store: Store, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as holder:
        async with holder.transaction():
            await holder.execute("LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE")
            spans = [
                asyncio.create_task(store.consume(batch(TRACES, trace_request(spans=1).SerializeToString())))
                for _ in range(12)
            ]
            await asyncio.sleep(0)
            await store.consume(batch(LOGS, logs_request(records=1).SerializeToString()))
            assert not any(task.done() for task in spans)
        await asyncio.gather(*spans)


async def test_what_could_not_be_stored_is_let_go_of_at_once(
    store: Store, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the garbage collector comes: requests of megabytes that fail would pile up until then."""
    made: list[weakref.ref[EncodedBatch]] = []

    def encode(*arguments: Any) -> EncodedBatch:
        encoded = encode_batch(*arguments)
        made.append(weakref.ref(encoded))
        return encoded

    monkeypatch.setattr(encoders, "encode_batch", encode)
    await pool.execute("ALTER TABLE service_spans RENAME TO service_spans_elsewhere")
    gc.disable()
    try:
        for _ in range(3):
            with contextlib.suppress(Retryable):
                await store.consume(batch(TRACES, trace_request(spans=3).SerializeToString()))
            store.breakers[TRACES].close()
        await asyncio.sleep(0)
        assert [ref() for ref in made] == [None] * 3
    finally:
        gc.enable()


async def test_after_a_read_only_spell_the_store_goes_on_by_itself(
    store: Store, pool: asyncpg.Pool, database_url: str
) -> None:
    """As after a failover that leaves the old primary reachable: the connection has to be given up."""
    name = await pool.fetchval("SELECT current_database()")
    await pool.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(Retryable, match="25006"):
        await store.consume(batch(TRACES, trace_request(spans=1).SerializeToString()))
    assert "25006" in store.breakers[TRACES].reason
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await connection.close()
    await consumed(store, batch(TRACES, trace_request(spans=1).SerializeToString()))
    assert not store.breakers[TRACES].open


async def test_a_partition_that_was_detached_by_hand_goes_back(store: Store, pool: asyncpg.Pool) -> None:
    day = await pool.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")
    await store.consume(batch(LOGS, logs_request(records=1).SerializeToString()))
    await pool.execute(f"ALTER TABLE service_logs DETACH PARTITION service_logs_{day}")
    body = logs_request(records=1).SerializeToString()
    async with asyncio.timeout(30):
        while True:
            try:
                await store.consume(batch(LOGS, body))
                break
            except Retryable:
                await asyncio.sleep(0.01)
    assert await pool.fetchval("SELECT count(*) FROM service_logs") == 2


async def test_points_of_a_series_that_was_forgotten_meanwhile_are_stored_with_its_definition(
    store: Store, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at midnight, and after a failover: between the encoding and the writing."""

    def encode(*arguments: Any) -> EncodedBatch:
        encoded = encode_batch(*arguments)
        if encoded.relies_on is not None:
            store.writer.known.forget()
        return encoded

    request = metrics_request()
    await store.consume(batch(METRICS, request.SerializeToString()))
    await pool.execute("TRUNCATE metric_series")
    monkeypatch.setattr(encoders, "encode_batch", encode)
    metric = request.resource_metrics[0].scope_metrics[0].metrics.add(name="one.more")
    metric.gauge.data_points.add(as_int=1)
    wanted = batch(METRICS, request.SerializeToString())
    assert (await store.consume(wanted)).stored == wanted.items
    orphans = (
        "SELECT count(*) FROM metric_samples p LEFT JOIN metric_series s USING (tenant_id, series_id) WHERE s IS NULL"
    )
    assert await pool.fetchval(orphans) == 0


async def test_characters_that_cannot_be_stored_are_counted(database_url: str) -> None:
    telemetry = Telemetry()
    store = Store(database_url, observer=TelemetryObserver(telemetry))
    await store.start()
    await store.consume(batch(TRACES, trace_request(spans=[span(name="a\0b")]).SerializeToString()))
    await store.stop()
    labels = {"field": "operation_name"}
    assert telemetry.registry.get_sample_value("ares_otel_replaced_characters_total", labels) == 1
    left = telemetry.registry.get_sample_value("ares_otel_encoder_fallbacks_total", {"reason": "nul"})
    assert left == (1 if active().name == NATIVE else None)


def watched_threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Gets an entry for each request that is encoded: whether the event loop did it."""
    threads: list[bool] = []

    def encode(*arguments: Any) -> EncodedBatch:
        threads.append(threading.current_thread() is threading.main_thread())
        return encode_batch(*arguments)

    monkeypatch.setattr(encoders, "encode_batch", encode)
    return threads


@pytest.mark.parametrize(("records", "inline"), [(3, True), (8_000, False)])
async def test_a_small_body_with_thousands_of_items_does_not_hold_up_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch, records: int, inline: bool
) -> None:
    threads = watched_threads(monkeypatch)
    monkeypatch.setattr(encoders, "active", lambda: choose(PYTHON))
    request: Any = LOGS.request()
    request.resource_logs.add().scope_logs.add().log_records.extend(LogRecord() for _ in range(records))
    payload = request.SerializeToString()
    assert len(payload) <= INLINE_BYTES
    assert (await store.consume(batch(LOGS, payload))).stored == records
    assert threads == [inline]


@pytest.mark.skipif(active().name != NATIVE, reason="needs the native encoder")
async def test_a_body_of_many_empty_scopes_does_not_hold_up_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = watched_threads(monkeypatch)
    request = trace_request(spans=1)
    for _ in range(20_000):
        request.resource_spans[0].scope_spans.add()
    assert (await store.consume(batch(TRACES, request.SerializeToString()))).stored == 1
    assert threads == [False]
