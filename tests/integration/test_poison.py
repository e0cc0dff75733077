"""What the database refuses is set aside, item by item; its neighbours are stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric

from ares_otel.exporters.postgres.observer import TelemetryObserver
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage import poison, writer
from ares_otel.storage.definitions import DefinitionStore
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import DEFINITIONS
from ares_otel.storage.rows.pieces import piece
from ares_otel.storage.store import Store
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import log_record, logs_request, metrics_request, number_point, span, trace_request
from tests.support.poison import POISON, refuse_poison

pytestmark = pytest.mark.every_server


def batch(signal: Signal, request: Any) -> Batch:
    return Batch(signal, request.SerializeToString(), received_ns=time.time_ns(), receiver="t", transport="t")


@pytest.fixture
async def store(database_url: str, sql: asyncpg.Connection) -> AsyncIterator[Store]:
    await refuse_poison(sql)
    store = Store(database_url)
    await store.start()
    yield store
    await store.stop()


async def rejected(sql: asyncpg.Connection) -> list[asyncpg.Record]:
    return list(await sql.fetch("SELECT * FROM ingest_rejected ORDER BY id"))


async def test_only_the_refused_rows_of_a_request_are_rejected(store: Store, sql: asyncpg.Connection) -> None:
    spans = [span() for _ in range(100)]
    for number in (0, 41, 42, 99):
        spans[number].name = POISON
    request = trace_request(service="shop", spans=spans)
    answer = await store.consume(batch(TRACES, request))
    assert (answer.stored, answer.rejected) == (96, 4)
    assert "23514" in answer.reason
    assert "no_poison" in answer.reason
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 96
    rows = await rejected(sql)
    assert [(row["signal"], row["service_name"], row["items"], row["sqlstate"], row["told"]) for row in rows] == [
        ("traces", "shop", 1, "23514", True)
    ] * 4
    payload = TRACES.request()
    payload.ParseFromString(rows[1]["payload"])
    assert items_of(payload) == items_of(piece(TRACES, request, 41, 42))


async def test_a_refused_log_record_is_set_aside(store: Store, sql: asyncpg.Connection) -> None:
    records = [log_record(), log_record(), log_record()]
    records[1].body.string_value = POISON
    answer = await store.consume(batch(LOGS, logs_request(records=records)))
    assert (answer.stored, answer.rejected) == (2, 1)
    assert await sql.fetchval("SELECT count(*) FROM service_logs") == 2
    assert [row["signal"] for row in await rejected(sql)] == ["logs"]


async def test_a_series_that_the_database_refuses_takes_only_its_own_points_along(
    store: Store, sql: asyncpg.Connection
) -> None:
    good = Metric(name="good", gauge=Gauge(data_points=[number_point(1.0), number_point(2.0)]))
    bad = Metric(name=POISON, gauge=Gauge(data_points=[number_point(3.0)]))
    answer = await store.consume(batch(METRICS, metrics_request(metrics=[good, bad, good])))
    assert (answer.stored, answer.rejected) == (4, 1)
    assert await sql.fetchval("SELECT count(*) FROM metric_samples") == 4
    assert await sql.fetchval("SELECT count(*) FROM metric_series") == 1
    assert [row["items"] for row in await rejected(sql)] == [1]


async def test_a_poisonous_request_hurts_none_that_is_committed_with_it(store: Store, sql: asyncpg.Connection) -> None:
    requests = [trace_request(spans=400) for _ in range(20)]
    requests[7].resource_spans[0].scope_spans[0].spans[123].name = POISON
    answers = await asyncio.gather(*(store.consume(batch(TRACES, request)) for request in requests))
    assert [(answer.stored, answer.rejected) for answer in answers] == [
        (399, 1) if number == 7 else (400, 0) for number in range(20)
    ]
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 7999
    assert len(await rejected(sql)) == 1


async def test_invalid_and_refused_items_are_counted_together(store: Store, sql: asyncpg.Connection) -> None:
    spans = [span(), span(trace_id=b"short"), span(name=POISON), span()]
    answer = await store.consume(batch(TRACES, trace_request(spans=spans)))
    assert (answer.stored, answer.rejected) == (2, 2)
    assert "span.trace_id" in answer.reason
    assert "23514" in answer.reason


async def test_a_request_with_nothing_but_poison_is_answered_and_remembered(
    store: Store, sql: asyncpg.Connection
) -> None:
    request = trace_request(spans=[span(name=POISON) for _ in range(3)])
    first = await store.consume(batch(TRACES, request))
    again = await store.consume(batch(TRACES, request))
    assert (first.stored, first.rejected) == (0, 3)
    assert (again.stored, again.deduplicated, again.rejected) == (0, 0, 3)
    assert len(await rejected(sql)) == 3


async def test_a_request_full_of_poison_is_not_searched_for_ever(
    store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poison, "MOST_REFUSED", 5)
    spans = [span(name=POISON) for _ in range(64)] + [span() for _ in range(64)]
    answer = await store.consume(batch(TRACES, trace_request(spans=spans)))
    rows = await rejected(sql)
    assert answer.stored == await sql.fetchval("SELECT count(*) FROM service_spans")
    assert answer.rejected == sum(row["items"] for row in rows) >= 64
    assert answer.stored + answer.rejected == 128
    assert len(rows) < 20


async def test_what_was_set_aside_is_a_request_that_can_be_sent_again(store: Store, sql: asyncpg.Connection) -> None:
    await store.consume(batch(TRACES, trace_request(spans=[span(), span(name=POISON)])))
    await sql.execute("ALTER TABLE service_spans DROP CONSTRAINT no_poison")
    (row,) = await rejected(sql)
    again = TRACES.request()
    again.ParseFromString(row["payload"])
    assert await store.consume(batch(TRACES, again)) == Accepted(1)
    assert await sql.fetchval("SELECT count(*) FROM service_spans WHERE operation_name = $1", POISON) == 1


async def test_refused_items_are_counted(database_url: str, sql: asyncpg.Connection) -> None:
    await refuse_poison(sql)
    telemetry = Telemetry()
    store = Store(database_url, observer=TelemetryObserver(telemetry))
    await store.start()
    await store.consume(batch(TRACES, trace_request(spans=[span(), span(name=POISON), span(name=POISON)])))
    await store.stop()
    name = "ares_otel_ingest_rejected_items_total"
    assert telemetry.registry.get_sample_value(name, {"signal": "traces"}) == 2


async def test_what_a_trigger_refuses_is_the_senders_to_repeat_and_leaves_its_neighbours_alone(
    store: Store, sql: asyncpg.Connection
) -> None:
    """An error of somebody's own code says nothing about whether it will last."""
    await sql.execute(
        """
        CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.operation_name = 'odd' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER grumble BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION grumble();
        """
    )
    requests = [trace_request(spans=[span(name="odd" if number == 3 else "even")]) for number in range(8)]
    answers = await asyncio.gather(
        *(store.consume(batch(TRACES, request)) for request in requests), return_exceptions=True
    )
    assert [number for number, answer in enumerate(answers) if isinstance(answer, Exception)] == [3]
    assert "P0001" in str(answers[3])
    assert not store.breakers[TRACES].open
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 7


async def test_what_a_trigger_refuses_as_a_check_is_poison_and_not_a_missing_partition(
    store: Store, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        """
        CREATE FUNCTION check_it() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.operation_name = 'odd' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END IF;
        RETURN NEW; END $$;
        CREATE TRIGGER check_it BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION check_it();
        """
    )
    answer = await store.consume(batch(TRACES, trace_request(spans=[span(), span(name="odd"), span()])))
    assert (answer.stored, answer.rejected) == (2, 1)
    assert not store.breakers[TRACES].open


async def test_a_row_that_is_there_twice_for_a_unique_index_of_the_owner_is_poison(
    store: Store, sql: asyncpg.Connection
) -> None:
    await sql.execute("CREATE UNIQUE INDEX ON service_spans (start_time, span_id)")
    first, second = span(), span()
    assert await store.consume(batch(TRACES, trace_request(spans=[first]))) == Accepted(1)
    answer = await store.consume(batch(TRACES, trace_request(spans=[first, second])))
    assert (answer.stored, answer.rejected) == (1, 1)
    assert "23505" in answer.reason
    assert not store.breakers[TRACES].open


async def test_nobody_waits_for_the_search_in_the_requests_of_others(
    store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def held(*arguments: Any, **options: Any) -> Any:
        await released.wait()
        return await poison.store_alone(*arguments, **options)

    monkeypatch.setattr(writer, "store_alone", held)
    bad = [
        asyncio.create_task(store.consume(batch(TRACES, trace_request(spans=[span(name=POISON), span()]))))
        for _ in range(2 * writer.CONNECTIONS)
    ]
    for _ in range(3):
        good = [store.consume(batch(TRACES, trace_request(spans=2))) for _ in range(10)]
        assert await asyncio.gather(*good) == [Accepted(2)] * 10
    assert not any(task.done() for task in bad)
    released.set()
    assert [(answer.stored, answer.rejected) for answer in await asyncio.gather(*bad)] == [(1, 1)] * len(bad)
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 60 + len(bad)


async def test_a_search_comes_to_its_end_however_slow_it_is(
    store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poison, "SEARCH_SECONDS", 0.0)
    answer = await store.consume(batch(TRACES, trace_request(spans=[span(name=POISON), span(), span(), span()])))
    assert (answer.stored, answer.rejected) == (0, 4)
    assert [row["items"] for row in await rejected(sql)] == [4]


async def test_definitions_that_are_fresh_are_not_locked_by_a_search(
    store: Store, sql: asyncpg.Connection, database_url: str
) -> None:
    """Others would wait for its end, which may be a minute away, and take the database for down."""
    request = batch(METRICS, metrics_request())
    await store.consume(request)
    encoded = encode_batch(request, store.windows)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await DefinitionStore().store_inside(other, encoded)
            await sql.execute("SET lock_timeout = '100ms'")
            for table in DEFINITIONS:
                assert await sql.fetch(f"SELECT FROM {table} FOR UPDATE")
    finally:
        await other.close()
