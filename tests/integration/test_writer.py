"""The group-commit writer against a real server: what an answer means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import pytest

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Overloaded, Retryable, Unavailable
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.storage import transaction
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import PARTITIONED, SERIES, EncodedBatch, Window, Windows
from ares_otel.storage.writer import MissingDefinitions, MissingPartition, Writer
from tests.support.otlp_samples import log_record, logs_request, metrics_request, trace_request

pytestmark = pytest.mark.every_server


class Counting:
    """A StorageObserver that keeps what it is told."""

    def __init__(self) -> None:
        self.commits: list[Mapping[str, int]] = []
        self.failures: list[str] = []

    def fell_back(self, reason: str) -> None: ...
    def queued(self, batches: int, size: int) -> None: ...

    def committed(self, rows: Mapping[str, int], seconds: float) -> None:
        self.commits.append(rows)

    def failed(self, sqlstate: str) -> None:
        self.failures.append(sqlstate)

    def refused(self, signal: str, items: int) -> None: ...

    def replaced(self, characters: Mapping[str, int]) -> None: ...

    def partitions_failed(self) -> None: ...


class Bench:
    """A writer on a fresh database, with a second connection to look at what is really there."""

    def __init__(self, url: str, eye: asyncpg.Connection, windows: Windows) -> None:
        self.url = url
        self.eye = eye
        self.windows = windows
        self.observer = Counting()
        self.writers: list[Writer] = []

    def writer(self, **options: Any) -> Writer:
        writer = Writer(
            lambda: asyncpg.connect(self.url),
            observer=self.observer,
            **options,
        )
        self.writers.append(writer)
        return writer

    def batch(self, spans: int = 3, windows: Windows | None = None, service: str = "shop") -> EncodedBatch:
        request = trace_request(service=service, spans=spans)
        return encode_batch(
            Batch(TRACES, request.SerializeToString(), received_ns=time.time_ns(), receiver="t", transport="t"),
            windows or self.windows,
        )

    async def count(self) -> int:
        return int(await self.eye.fetchval("SELECT count(*) FROM service_spans"))


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    eye = await asyncpg.connect(database_url)
    made = Bench(database_url, eye, await read_windows(eye))
    yield made
    for writer in made.writers:
        await writer.stop()
    await eye.close()


async def test_when_write_returns_others_see_the_rows_and_their_definitions(bench: Bench) -> None:
    await bench.writer().write(bench.batch(5))
    assert await bench.count() == 5
    joined = await bench.eye.fetchval(
        "SELECT count(*) FROM v_spans WHERE resource_attributes->>'service.name' = 'shop'"
    )
    assert joined == 5


async def test_batches_that_come_together_are_committed_together(bench: Bench) -> None:
    writer = bench.writer(connections=1)
    await asyncio.gather(*(writer.write(bench.batch()) for _ in range(50)))
    assert await bench.count() == 150
    assert len(bench.observer.commits) <= 2


async def test_a_group_ends_at_the_byte_limit(bench: Bench) -> None:
    batches = [bench.batch(20) for _ in range(10)]
    writer = bench.writer(connections=1, group_bytes=2 * batches[0].size + 100)
    await asyncio.gather(*(writer.write(batch) for batch in batches))
    assert await bench.count() == 200
    assert len(bench.observer.commits) >= 5


async def test_a_row_without_a_partition_is_retryable_and_nothing_is_stored(bench: Bench) -> None:
    endless = dict.fromkeys(PARTITIONED, Window(0, 2**63))
    request = trace_request(spans=1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano, span.end_time_unix_nano = 10**18, 10**18 + 5
    batch = encode_batch(
        Batch(TRACES, request.SerializeToString(), received_ns=time.time_ns(), receiver="t", transport="t"), endless
    )
    with pytest.raises(MissingPartition):
        await bench.writer().write(batch)
    assert await bench.count() == 0


async def test_a_lost_connection_is_retryable_and_the_next_write_opens_a_new_one(bench: Bench) -> None:
    writer = bench.writer(connections=1)
    await writer.write(bench.batch())
    await bench.eye.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    stored = 3
    async with asyncio.timeout(30):
        while True:
            try:
                await writer.write(bench.batch())
            except Retryable:
                continue
            stored += 3
            break
    assert await bench.count() == stored


async def test_a_server_that_lacks_definitions_after_a_failover_gets_them_with_the_next_rows(bench: Bench) -> None:
    """A standby may not have got what was the last thing to be written; nobody was told that it is safe."""
    writer = bench.writer(connections=1)
    await writer.write(bench.batch())
    await bench.eye.execute("DELETE FROM otel_resources")
    await bench.eye.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await writer.write(bench.batch())
    assert await bench.eye.fetchval("SELECT count(*) FROM otel_resources") == 1


async def test_series_are_defined_once_and_again_after_they_were_forgotten(bench: Bench) -> None:
    def points(received_ns: int) -> EncodedBatch:
        request = metrics_request().SerializeToString()
        return encode_batch(
            Batch(METRICS, request, key=received_ns.to_bytes(16), received_ns=received_ns, receiver="t", transport="t"),
            bench.windows,
            writer.known,
        )

    writer = bench.writer()
    now = time.time_ns()
    first, early = points(now), points(now + 1)
    assert (SERIES in first.definitions, first.relies_on) == (True, None)
    await asyncio.gather(writer.write(first), writer.write(early))
    count = await bench.eye.fetchval("SELECT count(*) FROM metric_series")
    second = points(now + 2)
    assert SERIES not in second.definitions
    await writer.write(second)
    third = points(now + 3)
    await bench.eye.execute("TRUNCATE metric_series")  # as a server is that lacks the last of them
    writer.known.forget()
    with pytest.raises(MissingDefinitions):
        await writer.write(third)
    await writer.write(points(now + 4))
    assert await bench.eye.fetchval("SELECT count(*) FROM metric_series") == count


async def test_what_waits_of_one_signal_takes_no_room_from_another(bench: Bench) -> None:
    logs = logs_request(records=[log_record() for _ in range(50)])
    record = encode_batch(
        Batch(LOGS, logs.SerializeToString(), received_ns=time.time_ns(), receiver="t", transport="t"), bench.windows
    )
    spans = [bench.batch() for _ in range(3)]
    writer = bench.writer(connections=1, queue_bytes=sum(batch.size for batch in spans))
    assert record.size > spans[0].size
    async with bench.eye.transaction():
        await bench.eye.execute("LOCK TABLE service_spans")
        waiting = [asyncio.create_task(writer.write(batch)) for batch in spans]
        async with asyncio.timeout(30):
            assert (await writer.write(record)).stored == 50
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def test_a_database_that_is_away_is_retryable_at_once(bench: Bench) -> None:
    async def refuse() -> asyncpg.Connection:
        raise ConnectionRefusedError("nobody listens")

    writer = Writer(refuse, observer=bench.observer)
    answers = await asyncio.gather(*(writer.write(bench.batch()) for _ in range(30)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    await writer.stop()


async def test_more_than_may_wait_is_refused_and_what_waits_is_stored(bench: Bench) -> None:
    writer = bench.writer(connections=1, queue_bytes=1, group_bytes=1)
    async with bench.eye.transaction():
        await bench.eye.execute("LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(writer.write(bench.batch()))
        await asyncio.sleep(0)  # let it be taken by the writer
        second = asyncio.create_task(writer.write(bench.batch()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await writer.write(bench.batch())
    await asyncio.gather(first, second)
    assert await bench.count() == 6


async def test_a_request_that_was_given_up_while_it_waited_is_not_stored(bench: Bench) -> None:
    writer = bench.writer(connections=1, group_bytes=1)
    async with bench.eye.transaction():
        await bench.eye.execute("LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(writer.write(bench.batch()))
        await asyncio.sleep(0)
        second = asyncio.create_task(writer.write(bench.batch()))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    await first
    await writer.write(bench.batch())
    assert await bench.count() == 6


async def test_stop_commits_what_was_taken_and_refuses_what_comes_later(bench: Bench) -> None:
    writer = bench.writer(connections=1)
    tasks = [asyncio.create_task(writer.write(bench.batch())) for _ in range(10)]
    await asyncio.sleep(0)
    await writer.stop()
    await asyncio.gather(*tasks)
    assert await bench.count() == 30
    with pytest.raises(Retryable):
        await writer.write(bench.batch())


async def test_the_same_resource_from_many_connections_at_once_is_one_row(bench: Bench) -> None:
    writers = [bench.writer() for _ in range(4)]
    await asyncio.gather(*(writer.write(bench.batch()) for writer in writers for _ in range(5)))
    assert await bench.eye.fetchval("SELECT count(*) FROM otel_resources") == 1
    assert await bench.count() == 60


async def test_a_slow_database_gets_less_at_once_until_it_keeps_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "BEGIN", "BEGIN; SET LOCAL statement_timeout = '400ms'")
    await bench.eye.execute(
        """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION slow();
        """
    )
    writer = bench.writer(connections=1)
    batches = [bench.batch(3) for _ in range(20)]
    left = list(batches)
    async with asyncio.timeout(60):
        while left:
            answers = await asyncio.gather(*(writer.write(batch) for batch in left), return_exceptions=True)
            assert all(isinstance(answer, Accepted | Unavailable) for answer in answers)
            left = [batch for batch, answer in zip(left, answers, strict=True) if isinstance(answer, Unavailable)]
    assert await bench.count() == 60
    assert "57014" in bench.observer.failures
