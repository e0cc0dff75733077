"""A retry is answered as the first time, and stores nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import InFlight, Retryable
from ares_otel.model.signal import LOGS, SIGNALS, TRACES, Signal
from ares_otel.storage.receipts import Claim, State, lock_of
from ares_otel.storage.store import Store
from tests.support.otlp_samples import SAMPLES, logs_request, span, trace_request
from tests.support.poison import POISON, refuse_poison
from tests.support.spooling import STORED

pytestmark = pytest.mark.every_server


def batch(signal: Signal, payload: bytes) -> Batch:
    return Batch(signal, payload, received_ns=time.time_ns(), receiver="t", transport="t")


@asynccontextmanager
async def running_store(url: str) -> AsyncIterator[Store]:
    store = Store(url)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
async def test_a_retry_is_answered_as_the_first_time_and_stores_nothing(
    store: Store, sql: asyncpg.Connection, signal: Signal
) -> None:
    payload = SAMPLES[signal]().SerializeToString()
    first = await store.consume(batch(signal, payload))
    again = await store.consume(batch(signal, payload))
    items = batch(signal, payload).items
    assert first == Accepted(items)
    assert again == Accepted(deduplicated=items)
    assert await sql.fetchval(STORED[signal]) == items


async def test_a_retry_hears_the_same_partial_success(store: Store, sql: asyncpg.Connection) -> None:
    payload = trace_request(spans=[span(), span(trace_id=b"short"), span()]).SerializeToString()
    first = await store.consume(batch(TRACES, payload))
    again = await store.consume(batch(TRACES, payload))
    assert (first.stored, first.rejected) == (2, 1)
    assert (again.deduplicated, again.rejected, again.reason) == (2, 1, first.reason)
    assert await sql.fetchval(STORED[TRACES]) == 2


async def test_a_retry_hears_what_the_database_refused_the_first_time_also_when_it_would_take_it_now(
    store: Store, sql: asyncpg.Connection
) -> None:
    await refuse_poison(sql)
    payload = trace_request(spans=[span(), span(name=POISON)]).SerializeToString()
    first = await store.consume(batch(TRACES, payload))
    await sql.execute("ALTER TABLE service_spans DROP CONSTRAINT no_poison")
    again = await store.consume(batch(TRACES, payload))
    assert (first.stored, first.rejected) == (1, 1)
    assert (again.deduplicated, again.rejected, again.reason) == (1, 1, first.reason)
    assert await sql.fetchval(STORED[TRACES]) == 1


async def test_two_identical_records_inside_one_request_stay_two(store: Store, sql: asyncpg.Connection) -> None:
    request = logs_request(records=1)
    records = request.resource_logs[0].scope_logs[0].log_records
    records.append(records[0])
    assert (await store.consume(batch(LOGS, request.SerializeToString()))).stored == 2
    assert await sql.fetchval(STORED[LOGS]) == 2


async def test_a_twin_that_comes_while_the_first_is_under_way_gets_its_answer(
    store: Store, sql: asyncpg.Connection
) -> None:
    payload = trace_request(spans=3).SerializeToString()
    answers = await asyncio.gather(*(store.consume(batch(TRACES, payload)) for _ in range(10)))
    assert sorted(answer.stored for answer in answers) == [0] * 9 + [3]
    assert sum(answer.deduplicated for answer in answers) == 27
    assert await sql.fetchval(STORED[TRACES]) == 3


async def test_a_retry_that_another_process_takes_stores_nothing(
    database_url: str, store: Store, sql: asyncpg.Connection
) -> None:
    async with running_store(database_url) as other:
        payload = trace_request(spans=3).SerializeToString()
        assert (await store.consume(batch(TRACES, payload))).stored == 3
        assert (await other.consume(batch(TRACES, payload))).deduplicated == 3
        assert await sql.fetchval(STORED[TRACES]) == 3


async def test_a_twin_under_way_in_another_process_makes_only_its_own_request_retryable(
    store: Store, sql: asyncpg.Connection
) -> None:
    twin = batch(TRACES, trace_request(spans=3).SerializeToString())
    await sql.execute("SELECT pg_advisory_lock($1)", lock_of(twin.key))  # as a process does that is storing it
    first = asyncio.create_task(store.consume(twin))
    second = asyncio.create_task(store.consume(batch(TRACES, trace_request(spans=4).SerializeToString())))
    with pytest.raises(InFlight):
        await first
    assert (await second).stored == 4
    await sql.execute("SELECT pg_advisory_unlock($1)", lock_of(twin.key))
    assert (await store.consume(twin)).stored == 3
    assert await sql.fetchval(STORED[TRACES]) == 7


async def test_many_processes_with_the_same_requests_store_each_once(
    database_url: str, sql: asyncpg.Connection
) -> None:
    payloads = [trace_request(spans=2).SerializeToString() for _ in range(30)]
    answers: list[Accepted] = []

    async def send(store: Store, payload: bytes) -> None:
        while True:
            try:
                answers.append(await store.consume(batch(TRACES, payload)))
            except Retryable:
                await asyncio.sleep(0.01)
            else:
                return

    async with running_store(database_url) as one, running_store(database_url) as two, running_store(database_url) as x:
        await asyncio.gather(*(send(store, payload) for payload in payloads for store in (one, two, x)))
    assert await sql.fetchval(STORED[TRACES]) == 60
    assert sum(answer.stored for answer in answers) == 60
    assert sum(answer.deduplicated for answer in answers) == 120


async def test_what_senders_were_told_is_what_the_tables_hold(store: Store, sql: asyncpg.Connection) -> None:
    for signal in SIGNALS.values():
        for _ in range(3):
            await store.consume(batch(signal, SAMPLES[signal]().SerializeToString()))
        told = await sql.fetchval(
            "SELECT sum(accepted - rejected_later)::bigint FROM ingest_receipts WHERE signal = $1", signal.name
        )
        assert told == await sql.fetchval(STORED[signal])


async def test_a_receipt_carries_the_receive_time_of_its_rows(store: Store, sql: asyncpg.Connection) -> None:
    await store.consume(batch(TRACES, trace_request(spans=3).SerializeToString()))
    assert await sql.fetchval("SELECT count(*) FROM service_spans JOIN ingest_receipts USING (received_at)") == 3


async def test_a_retry_that_a_processor_makes_smaller_than_the_first_time_is_counted_with_what_it_has_now(
    store: Store,
) -> None:
    """Its key follows from the request's, whatever is left of it after a change of the configuration."""
    parent = batch(TRACES, trace_request(spans=4).SerializeToString())
    before, after = trace_request(spans=4), trace_request(spans=3)
    assert await store.consume(parent.child(before, component="filter")) == Accepted(4)
    assert await store.consume(parent.child(after, component="filter")) == Accepted(deduplicated=3)


def test_own_work_whose_answer_was_lost_tells_what_is_stored_and_what_was_refused_later() -> None:
    claim = Claim(State.KNOWN, 5, 1, "one is bad", rejected_later=2)
    assert claim.answer(6, own_work=True) == Accepted(3, rejected=3, reason="one is bad")
    assert claim.answer(6, own_work=False) == Accepted(deduplicated=5, rejected=1, reason="one is bad")
