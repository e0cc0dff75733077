"""Increments of the roll-ups share the fate of the rows that they count."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg
import pytest

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Unavailable
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.storage.observer import SilentObserver
from ares_otel.storage.rows.encoded import SPANS
from ares_otel.storage.store import Store
from tests.support.otlp_samples import log_record, logs_request, span, trace_request
from tests.support.poison import POISON, refuse_poison
from tests.support.spooling import Place, batch


async def counted_spans(sql: asyncpg.Connection) -> dict[str, int]:
    rows = await sql.fetch("SELECT operation_name, sum(calls)::int AS calls FROM span_rollup_increments GROUP BY 1")
    return {row["operation_name"]: row["calls"] for row in rows}


async def test_a_retry_adds_nothing_to_the_roll_ups(store: Store, sql: asyncpg.Connection) -> None:
    request = batch(TRACES, trace_request(spans=[span(name="a"), span(name="b"), span(name="a")]))
    await store.consume(request)
    assert (await store.consume(request)).deduplicated == 3
    assert await counted_spans(sql) == {"a": 2, "b": 1}


async def test_what_the_database_refuses_is_not_counted_and_its_neighbours_are(
    store: Store, sql: asyncpg.Connection
) -> None:
    await refuse_poison(sql)
    spans = [span(name="good") for _ in range(50)]
    spans.insert(17, span(name=POISON))
    spans.insert(31, span(name="good", span_id=b"short"))
    answers = await asyncio.gather(
        store.consume(batch(TRACES, trace_request(spans=spans))),
        store.consume(batch(TRACES, trace_request(spans=[span(name="other")]))),
    )
    assert [(answer.stored, answer.rejected) for answer in answers] == [(50, 2), (1, 0)]
    assert await counted_spans(sql) == {"good": 50, "other": 1}


async def test_refused_log_records_are_not_counted(store: Store, sql: asyncpg.Connection) -> None:
    await refuse_poison(sql)
    records = [log_record(severity_number=17), log_record(severity_number=17)]
    records[1].body.string_value = POISON
    await store.consume(batch(LOGS, logs_request(records=records)))
    assert await sql.fetchval("SELECT sum(error) FROM log_rollup_increments") == 1


async def test_a_transaction_that_is_rolled_back_adds_nothing(store: Store, sql: asyncpg.Connection) -> None:
    await sql.execute(
        """
        CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT ON span_rollup_increments FOR EACH ROW EXECUTE FUNCTION no_room();
        """
    )
    request = batch(TRACES, trace_request(spans=[span(name="a")]))
    with pytest.raises(Unavailable):
        await store.consume(request)
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 0
    await sql.execute("DROP TRIGGER no_room ON span_rollup_increments")
    for breaker in store.breakers.values():
        breaker.worked()
    assert await store.consume(request) == Accepted(1)
    assert await counted_spans(sql) == {"a": 1}


async def test_a_request_from_the_spool_is_counted_once(place: Place) -> None:
    async with place.store() as store:
        await place.refuse(SPANS)
        request = batch(TRACES, trace_request(spans=[span(name="a"), span(name="a")]))
        assert (await store.consume(request)).spooled == 2
        assert await counted_spans(place.sql) == {}
        await place.take(SPANS)
        await place.empty(store)
        assert (await store.consume(request)).deduplicated == 2
    assert await counted_spans(place.sql) == {"a": 2}


async def test_the_observer_counts_telemetry_rows_and_not_increments(database_url: str) -> None:
    seen: list[Mapping[str, int]] = []

    class Observer(SilentObserver):
        def committed(self, rows: Mapping[str, int], seconds: float) -> None:
            seen.append(rows)

    store = Store(database_url, observer=Observer())
    await store.start()
    await store.consume(batch(TRACES, trace_request(spans=3)))
    await store.stop()
    assert seen == [{SPANS: 3}]
