"""The writer's transactions over the driver's transport: what they store, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.batch import Batch
from ares_otel.model.signal import TRACES
from ares_otel.storage import flights, receipts
from ares_otel.storage.flights import COPY_BYTES, _copy_data
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.receipts import State
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import EncodedBatch, Told
from ares_otel.storage.transaction import BEGIN, store_group
from ares_otel.storage.wire import Flight, can_fly
from tests.support.otlp_samples import span, trace_request
from tests.support.poison import POISON, refuse_poison
from tests.support.stream_server import stream_server

pytestmark = pytest.mark.every_server

PROCESS = uuid4()
COUNT = "SELECT count(*) FROM service_spans"


async def encoded(sql: asyncpg.Connection, *, spans: int = 3, name: str = "GET /") -> EncodedBatch:
    payload = trace_request(spans=[span(name=name) for _ in range(spans)]).SerializeToString()
    batch = Batch(TRACES, payload, received_ns=time.time_ns(), receiver="t", transport="t")
    return encode_batch(batch, await read_windows(sql))


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    assert can_fly(connection)
    yield connection
    await connection.close()


class Unsure:
    """Whether it was said that rows may be stored."""

    said = False

    def __call__(self) -> None:
        self.said = True


async def store(
    connection: asyncpg.Connection, *batches: EncodedBatch, unsure: Unsure | None = None
) -> tuple[list[State], dict[str, int]]:
    claims, rows = await store_group(connection, batches, PROCESS, on_unsure=unsure or Unsure(), in_flights=True)
    return [claim.state for claim in claims], rows


async def test_of_a_group_only_what_is_new_is_stored(connection: asyncpg.Connection, sql: asyncpg.Connection) -> None:
    first, second, third = [await encoded(sql) for _ in range(3)]
    assert await store(connection, first) == ([State.NEW], {"service_spans": 3})
    assert await store(connection, second, first, third) == (
        [State.NEW, State.KNOWN, State.NEW],
        {"service_spans": 6},
    )
    assert await store(connection, first) == ([State.KNOWN], {})
    assert await sql.fetchval(COUNT) == 9


async def test_a_receipt_is_the_one_that_the_driver_would_write(
    connection: asyncpg.Connection, sql: asyncpg.Connection
) -> None:
    batches = [await encoded(sql) for _ in range(3)]
    batches[1].rejected, batches[1].reasons["span.name must be “kürzer”"] = 1, 1
    batches[2].told = Told(2, "Two were refused.")
    found = []
    for claim in (flights.claim(connection, BEGIN, batches, PROCESS), by_driver(connection, batches, PROCESS)):
        assert {one.state for one in await claim} == {State.NEW}
        rows = await connection.fetch("SELECT * FROM ingest_receipts ORDER BY key")
        found.append([{name: value for name, value in row.items() if name != "stored_at"} for row in rows])
        await connection.execute("ROLLBACK")
    assert len(found[0]) == 3
    assert found[0] == found[1]


async def by_driver(connection: asyncpg.Connection, batches: list[EncodedBatch], process: UUID) -> list[receipts.Claim]:
    await connection.execute(BEGIN)
    return await receipts.claim(connection, batches, process)


async def test_a_group_of_many_pieces_arrives_whole(connection: asyncpg.Connection, sql: asyncpg.Connection) -> None:
    small, large = await encoded(sql), await encoded(sql, spans=4000, name="GET /" + 100 * "x")
    assert large.size > 1024 * 1024
    assert await store(connection, small, large) == ([State.NEW, State.NEW], {"service_spans": 4003})
    assert await sql.fetchval("SELECT sum(length(operation_name)) FROM service_spans") == 3 * 5 + 4000 * 105


async def test_what_the_database_refuses_is_its_own_error_and_nothing_is_stored(
    connection: asyncpg.Connection, sql: asyncpg.Connection
) -> None:
    await refuse_poison(sql)
    unsure = Unsure()
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await store(connection, await encoded(sql), await encoded(sql, spans=2000, name=POISON), unsure=unsure)
    assert caught.value.constraint_name == "no_poison"
    assert not unsure.said
    assert not connection.is_closed()
    assert await store(connection, await encoded(sql)) == ([State.NEW], {"service_spans": 3})
    assert await sql.fetchval(COUNT) == 3
    assert await sql.fetchval("SELECT count(*) FROM ingest_receipts") == 1


async def test_rows_that_are_refused_at_commit_may_be_stored(
    connection: asyncpg.Connection, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON ingest_receipts DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )
    unsure = Unsure()
    with pytest.raises(asyncpg.RaiseError, match="not now"):
        await store(connection, await encoded(sql), unsure=unsure)
    assert unsure.said
    assert await sql.fetchval(COUNT) == 0


@given(st.lists(st.binary(min_size=1, max_size=700), min_size=1, max_size=6))
def test_a_copy_stream_is_cut_into_messages_of_bounded_size(parts: list[bytes]) -> None:
    parts = [part * (COPY_BYTES // 300) for part in parts]
    wire = b"".join(_copy_data(parts))
    found = []
    while wire:
        size = int.from_bytes(wire[1:5], "big")
        assert wire[:1] == b"d"
        assert size <= COPY_BYTES + 4
        found.append(wire[5 : size + 1])
        wire = wire[size + 1 :]
    assert b"".join(found) == b"".join(parts)


@pytest.mark.parametrize("end", ["kill", "cancel"])
async def test_a_connection_whose_answers_did_not_come_is_closed(
    connection: asyncpg.Connection, sql: asyncpg.Connection, end: str
) -> None:
    unsure = Unsure()
    batch = await encoded(sql)
    async with sql.transaction():
        await sql.execute("LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE")
        task = asyncio.create_task(store(connection, batch, unsure=unsure))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
        async with asyncio.timeout(30):
            while not await sql.fetchval(waits, connection.get_server_pid()):
                await sql.execute("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()")
        if end == "kill":
            await sql.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            with pytest.raises(asyncpg.AdminShutdownError):
                await task
            assert not unsure.said  # the server had said that it gives up, before COMMIT
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert unsure.said
    assert connection.is_closed()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await Flight(connection, answers=1).run([b""])


async def test_a_statement_that_was_taken_away_is_prepared_again(
    connection: asyncpg.Connection, sql: asyncpg.Connection
) -> None:
    await store(connection, await encoded(sql))
    await connection.execute("DEALLOCATE ALL")
    assert await store(connection, await encoded(sql)) == ([State.NEW], {"service_spans": 3})


async def test_the_driver_goes_on_where_a_flight_ended(connection: asyncpg.Connection, sql: asyncpg.Connection) -> None:
    for number in range(3):
        await store(connection, await encoded(sql))
        async with connection.transaction():
            assert await connection.fetchval("SELECT $1::int", number) == number


async def test_answers_may_come_byte_by_byte(database_url: str, sql: asyncpg.Connection) -> None:
    async with drop_by_drop(database_url) as url:
        connection = await asyncpg.connect(url)
        first, second = await encoded(sql), await encoded(sql)
        assert await store(connection, first) == ([State.NEW], {"service_spans": 3})
        assert (await store(connection, first, second))[0] == [State.KNOWN, State.NEW]
        await connection.close()


@contextlib.asynccontextmanager
async def drop_by_drop(url: str) -> AsyncIterator[str]:
    """The server behind a relay that passes its answers on in single bytes."""
    parts = urlsplit(url)
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(size):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await connect_to(url)
        async with asyncio.TaskGroup() as group:
            tasks.update((group.create_task(pump(reader, ours, 65536)), group.create_task(pump(theirs, writer, 1))))

    async with stream_server(relay) as port:
        yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=disable"
        await asyncio.gather(*tasks)


async def connect_to(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    probe = await asyncpg.connect(url)
    address = probe._addr
    await probe.close()
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)
