"""The replay of the spool when something goes wrong in it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import TRACES, Signal
from ares_otel.storage.receipts import received_at
from ares_otel.storage.spool.record import SpoolRecord
from tests.support.eventually import eventually
from tests.support.otlp_samples import trace_request
from tests.support.spooling import Place, batch


async def test_receipts_are_kept_as_long_as_a_segment_lies_there_in_which_another_request_waits(place: Place) -> None:
    """Ares killed now replays both: what is done is noted nowhere but in the receipts."""
    old, young = time.time_ns() - 50 * 3_600 * 10**9, time.time_ns()
    async with place.store() as store:  # nobody wakes its replay
        assert store.spool is not None
        for key, received_ns in ((b"a" * 16, old), (b"b" * 16, young)):
            payload = trace_request(spans=1).SerializeToString()
            record = SpoolRecord(key, TRACES, 0, received_ns, "otlp", "grpc", "otlp", 1, 0, "", payload)
            await store.spool.append(record)
        entries = await store.spool.read(TRACES, max_records=1, max_bytes=1)
        assert await store.replay(entries[0].record) == Accepted(1)
        store.spool.done(entries)
        assert store.spool.oldest_ns == young
    assert await place.sql.fetchval("SELECT oldest_at FROM ingest_spools") == received_at(old)


async def test_a_failure_of_ares_itself_in_the_middle_of_a_replay_leaves_everything_to_the_next_try(
    place: Place,
) -> None:
    async with place.store() as store:
        await place.refuse()
        for _ in range(3):
            await store.consume(batch(TRACES, trace_request(spans=2)))
        told = store.replayer._on_replayed
        failures = [RuntimeError("first"), RuntimeError("second")]

        def stumbling(record: SpoolRecord, answer: Accepted) -> None:
            if failures:
                raise failures.pop()
            told(record, answer)

        store.replayer._on_replayed = stumbling
        await place.take()
        await place.empty(store)
        assert await store.consume(batch(TRACES, trace_request(spans=2))) == Accepted(2)
    assert await place.count() == 8
    assert sum(answer.stored + answer.deduplicated for answer in place.replayed) == 6


async def test_replay_tries_one_request_alone_after_a_failure_of_many(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a server that is too slow for many at once."""
    seen: list[int] = []
    async with place.store() as store:
        assert store.spool is not None
        await place.refuse()
        for _ in range(12):
            await store.consume(batch(TRACES, trace_request(spans=1)))
        read = store.spool.read

        async def reading(signal: Signal, *, max_records: int, max_bytes: int) -> Any:
            entries = await read(signal, max_records=max_records, max_bytes=max_bytes)
            seen.append(len(entries))
            return entries

        monkeypatch.setattr(store.spool, "read", reading)

        async def failed_alone() -> bool:
            return seen[-1:] == [1]

        await eventually(failed_alone, every=0.01)
        await place.take()
        await place.empty(store)
    assert seen[-4:] == [1, 2, 4, 5]
