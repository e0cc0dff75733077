"""The floor: binary COPY of ready-made rows into the real tables, as fast as this server takes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg

from ares_otel.cli.bench.data import Requests
from ares_otel.model.batch import Batch
from ares_otel.model.signal import TRACES
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import SPANS

REQUESTS_A_COMMIT = 8


async def encode_rows(url: str, requests: Requests) -> list[bytes]:
    """The rows of the requests, encoded once, before any clock runs."""
    connection = await asyncpg.connect(url)
    windows = await read_windows(connection)
    await connection.close()
    now = time.time_ns()
    rows = []
    for body in requests.bodies:
        batch = Batch(TRACES, body, received_ns=now, receiver="bench", transport="none")
        rows.append(bytes(encode_batch(batch, windows).tables[SPANS].data))
    return rows


async def run_floor(url: str, rows: Sequence[bytes], spans: int, *, connections: int) -> float:
    """Rows a second over that many connections, each committing eight requests' rows at a time."""
    groups = [rows[start : start + REQUESTS_A_COMMIT] for start in range(0, len(rows), REQUESTS_A_COMMIT)]
    opened = [await asyncpg.connect(url) for _ in range(connections)]

    async def work(connection: asyncpg.Connection) -> None:
        while groups:
            group = groups.pop()
            await connection.copy_to_table(SPANS, source=_stream(group), columns=COPY_COLUMNS[SPANS], format="binary")

    started = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in opened))
    seconds = time.perf_counter() - started
    for connection in opened:
        await connection.close()
    return spans / seconds


async def _stream(group: Sequence[bytes]) -> AsyncIterator[bytes]:
    yield COPY_HEADER
    for data in group:
        yield data
    yield COPY_TRAILER
