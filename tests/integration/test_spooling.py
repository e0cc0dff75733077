"""The store with a spool: what the database cannot take is acknowledged from disk, and stored once when it can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Rejected, Unavailable
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.storage import replay, writer
from ares_otel.storage.rows.restore import restore_request
from ares_otel.storage.spool.errors import SpoolFull
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import Spool
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import SAMPLES, logs_request, span, trace_request
from tests.support.poison import POISON, refuse_poison
from tests.support.spooling import Place, batch


async def test_what_the_database_cannot_take_is_acknowledged_and_stored_once_when_it_can(place: Place) -> None:
    async with place.store() as store:
        await place.refuse()
        answers = [await store.consume(batch(TRACES, trace_request(spans=3))) for _ in range(5)]
        assert answers == [Accepted(spooled=3)] * 5
        assert await place.count() == 0
        await place.take()
        await place.empty(store)
        assert await place.count() == 15
        assert await store.consume(batch(TRACES, trace_request(spans=2))) == Accepted(2)
    assert place.replayed == [Accepted(3)] * 5


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
async def test_every_signal_goes_through_the_spool(place: Place, signal: Signal) -> None:
    tables = {TRACES: ["service_spans"], LOGS: ["service_logs"], METRICS: ["metric_samples", "metric_distributions"]}
    request = SAMPLES[signal]()
    async with place.store() as store:
        for table in tables[signal]:
            await place.refuse(table)
        assert (await store.consume(batch(signal, request))).spooled == signal.count(request)
        for table in tables[signal]:
            await place.take(table)
        await place.empty(store)
    assert await place.count(signal) == signal.count(request)


async def test_one_signal_in_trouble_leaves_the_others_alone(place: Place) -> None:
    async with place.store() as store:
        await place.refuse()
        assert (await store.consume(batch(TRACES, trace_request(spans=3)))).spooled == 3
        assert (await store.consume(batch(LOGS, logs_request(records=3)))).stored == 3
        await place.take()


async def test_a_retry_of_a_request_that_waits_is_answered_as_the_first_time(place: Place) -> None:
    request = trace_request(spans=[span(), span(trace_id=b"short")])
    async with place.store() as store:
        await place.refuse()
        first = await store.consume(batch(TRACES, request))
        again = await store.consume(batch(TRACES, request))
        assert (first.spooled, first.rejected) == (1, 1)
        assert (again.deduplicated, again.rejected, again.reason) == (1, 1, first.reason)
        await place.take()
        await place.empty(store)
        later = await store.consume(batch(TRACES, request))
        assert (later.deduplicated, later.rejected, later.reason) == (1, 1, first.reason)
    assert await place.count() == 1


async def test_a_request_that_another_process_stored_meanwhile_is_not_stored_again(place: Place) -> None:
    request = trace_request(spans=4)
    await place.refuse()
    async with place.store() as store:
        assert (await store.consume(batch(TRACES, request))).spooled == 4
    await place.take()
    other = Store(place.url)
    await other.start()
    assert (await other.consume(batch(TRACES, request))).stored == 4
    await other.stop()
    async with place.store() as store:
        await place.empty(store)
    assert place.replayed == [Accepted(deduplicated=4)]
    assert await place.count() == 4


async def _consumed(store: Store, request: Any) -> Any:
    try:
        return await store.consume(batch(TRACES, request))
    except Unavailable:
        return None


async def test_what_waits_when_the_process_ends_is_stored_by_the_next_one(place: Place) -> None:
    await place.refuse()
    async with place.store() as store:
        for _ in range(3):
            await store.consume(batch(TRACES, trace_request(spans=2)))
    await place.take()
    async with place.store() as store:
        await place.empty(store)
    assert await place.count() == 6


async def test_what_the_database_refuses_after_the_answer_is_kept_and_counted_apart(place: Place) -> None:
    await refuse_poison(place.sql)
    async with place.store() as store:
        await place.refuse()
        request = trace_request(spans=[span(), span(name=POISON), span(), span(trace_id=b"short")])
        answer = await store.consume(batch(TRACES, request))
        assert (answer.spooled, answer.rejected) == (3, 1)
        await place.take()
        await place.empty(store)
        again = await store.consume(batch(TRACES, request))
        assert (again.deduplicated, again.rejected, again.reason) == (3, 1, answer.reason)
    assert place.replayed == [Accepted(2, rejected=1)]
    assert await place.count() == 2
    (row,) = await place.sql.fetch("SELECT items, told, sqlstate FROM ingest_rejected")
    assert tuple(row) == (1, False, "23514")
    (receipt,) = await place.sql.fetch("SELECT accepted, rejected, rejected_later FROM ingest_receipts")
    assert tuple(receipt) == (3, 1, 1)


async def test_a_full_spool_refuses_and_keeps_what_it_has(place: Place) -> None:
    async with place.store(limit_bytes=20_000) as store:
        await place.refuse()
        results = await asyncio.gather(
            *(store.consume(batch(TRACES, trace_request(spans=3))) for _ in range(100)), return_exceptions=True
        )
        taken = [result for result in results if isinstance(result, Accepted)]
        assert taken
        assert {type(result) for result in results if isinstance(result, Exception)} == {SpoolFull}
        await place.take()
        await place.empty(store)
        assert await place.count() == 3 * len(taken)
        assert (await store.consume(batch(TRACES, trace_request(spans=3)))).stored == 3


async def test_without_a_spool_requests_are_refused_until_the_database_takes_them(place: Place) -> None:
    store = Store(place.url)
    await store.start()
    await place.refuse()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await store.consume(batch(TRACES, trace_request(spans=3)))
    await place.take()
    request = trace_request(spans=3)
    answer = await eventually(lambda: _consumed(store, request), every=0.02)
    await store.stop()
    assert answer.stored == await place.count() == 3


def trouble(name: str, code: str = "P0001") -> str:
    """SQL that makes a span of that name fail with an error that says nothing about how long it will last."""
    return f"""
        CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.operation_name = '{name}' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER grumble BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION grumble();
    """


@pytest.mark.parametrize("code", ["P0001", "ZZ999"], ids=["a trigger's code", "a code of its own"])
async def test_a_request_that_fails_again_and_again_is_set_aside_and_the_others_go_on(place: Place, code: str) -> None:
    await place.sql.execute(trouble("odd", code))
    requests = [trace_request(spans=[span(name="odd" if number == 1 else "even"), span()]) for number in range(4)]
    async with place.store() as store:
        answers = [await store.consume(batch(TRACES, request)) for request in requests]
        assert [answer.stored for answer in answers] == [2, 0, 2, 2]
        assert answers[1].spooled == 2
        await place.empty(store)
    assert place.replayed == [Accepted(rejected=2)]
    assert await place.count() == 6
    (row,) = await place.sql.fetch("SELECT items, told, sqlstate FROM ingest_rejected")
    assert tuple(row) == (2, False, code)
    assert await place.sql.fetchval("SELECT sum(accepted - rejected_later)::int FROM ingest_receipts") == 6


async def test_a_request_whose_search_for_poison_never_ends_is_set_aside_and_the_others_go_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*arguments: Any, **options: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(writer, "store_alone", endless)
    monkeypatch.setattr(writer, "SEARCH_PATIENCE", 0.05)
    await refuse_poison(place.sql)
    async with place.store() as store:
        bad = await store.consume(batch(TRACES, trace_request(spans=[span(name=POISON), span()])))
        assert bad == Accepted(spooled=2)
        assert not store.breakers[TRACES].open
        assert await store.consume(batch(TRACES, trace_request(spans=2))) == Accepted(2)
        await place.empty(store)
    assert place.replayed == [Accepted(rejected=2)]
    assert await place.sql.fetchval("SELECT sum(accepted - rejected_later)::int FROM ingest_receipts") == 2


@pytest.mark.parametrize("payload", [b"\xff\xff no protobuf", b"\x0a\x02\x12\x7f"], ids=["no protobuf", "cut short"])
async def test_a_payload_that_cannot_be_read_any_more_is_set_aside(place: Place, payload: bytes) -> None:
    with pytest.raises(Rejected):
        Batch(TRACES, payload, received_ns=0, receiver="t", transport="t").message()
    record = SpoolRecord(b"k" * 16, TRACES, 0, time.time_ns(), "otlp", "grpc", "otlp", 5, 1, "one is bad", payload)
    async with place.store() as store:
        assert store.spool is not None
        await store.spool.append(record)
        store.breakers[TRACES].wake.set()
        await place.empty(store)
    assert place.replayed == [Accepted(rejected=4)]
    row = await place.sql.fetchrow("SELECT items, payload, told FROM ingest_rejected")
    assert tuple(row) == (4, payload, False)


@pytest.mark.parametrize("days", [-30, 30], ids=["for longer than any partition", "since the clock was wrong"])
async def test_a_request_that_waited_with_a_receive_time_without_a_partition_is_stored_all_the_same(
    place: Place, days: int
) -> None:
    then = time.time_ns() + days * 86_400 * 10**9
    request = trace_request(spans=[span(start_time_unix_nano=then, end_time_unix_nano=then + 5)])
    record = SpoolRecord(b"k" * 16, TRACES, 0, then, "otlp", "grpc", "otlp", 1, 0, "", request.SerializeToString())
    async with place.store() as store:
        assert store.spool is not None
        await store.spool.append(record)
        store.breakers[TRACES].wake.set()
        await place.empty(store)
        restored = await restore_request(place.sql, TRACES)
    assert place.replayed == [Accepted(1)]
    assert items_of(restored) == items_of(request)


async def test_the_spool_tells_the_database_that_it_is_there(place: Place) -> None:
    async with place.store() as store:
        assert store.spool is not None
        row = await place.sql.fetchrow("SELECT spool_id, oldest_at FROM ingest_spools")
        assert tuple(row) == (store.spool.id, None)
        await place.refuse()
        await store.consume(batch(TRACES, trace_request(spans=3)))
    oldest: Callable[[], Any] = lambda: place.sql.fetchval("SELECT oldest_at FROM ingest_spools")  # noqa: E731
    assert await oldest() is not None
    await place.take()
    async with place.store() as store:
        await place.empty(store)
        await eventually(lambda: nothing_on_disk(store), every=0.01)
    assert await oldest() is None


async def nothing_on_disk(store: Store) -> bool:
    assert store.spool is not None
    return store.spool.kept_ns is None


async def test_draining_says_what_became_of_everything(place: Place) -> None:
    await refuse_poison(place.sql)
    await place.refuse()
    twice = trace_request(spans=2)
    async with place.store() as store:
        await store.consume(batch(TRACES, twice))
        await store.consume(batch(TRACES, trace_request(spans=[span(), span(name=POISON)])))
    await place.take()
    plain = Store(place.url)
    await plain.start()
    await plain.consume(batch(TRACES, twice))
    await plain.stop()
    spool = Spool(place.directory, limit_bytes=10**6)
    await asyncio.to_thread(spool.open)
    store = Store(place.url, spool=spool)
    await store.start(replaying=False)
    counts = await store.replayer.drain()
    await store.stop()
    await asyncio.to_thread(spool.close)
    assert counts == replay.ReplayCounts(stored=1, deduplicated=2, rejected=1, failed=0)
