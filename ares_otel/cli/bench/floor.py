"""The floor: binary COPY of ready-made rows into the real tables, as fast as this server takes them.

The rows are those that the encoder makes of the very requests that are sent to Ares, into all tables that it fills,
over as many connections as there are senders.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from ares_otel.cli.bench.data import Source
from ares_otel.model.batch import Batch
from ares_otel.model.signal import SIGNALS
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encode import encode_batch

REQUESTS_A_COMMIT = 8
_PIECE = 512 * 1024

Group = dict[str, bytes]
"""Table → a COPY stream, for one transaction."""


class Copying:
    """Ready-made rows and open connections."""

    def __init__(self, groups: list[Group], items: int, connections: list[asyncpg.Connection]) -> None:
        self._groups = groups
        self._items = items
        self._connections = connections

    async def run(self) -> dict[str, Any]:
        await asyncio.gather(*map(self._work, self._connections))
        return {"items": self._items}

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()

    async def _work(self, connection: asyncpg.Connection) -> None:
        while self._groups:
            group = self._groups.pop()
            async with connection.transaction():
                for table, stream in group.items():
                    await connection.copy_to_table(
                        table, source=_pieces(stream), columns=COPY_COLUMNS[table], format="binary"
                    )


async def prepare_copy(job: dict[str, Any], source: Source) -> Copying:
    """Encodes the rows of the job's requests, eight requests to a transaction."""
    connections = [await asyncpg.connect(job["url"]) for _ in range(job["connections"])]
    windows = await read_windows(connections[0])
    signal = SIGNALS[job["signal"]]
    now = time.time_ns()
    requests = source.requests(signal, job["requests"], now_ns=now, first=job["first"], batch=job["batch"])
    # Of those that several were joined to, as many as hold what eight had.
    a_commit = max(1, REQUESTS_A_COMMIT * len(requests.bodies) // job["requests"])
    groups: list[Group] = []
    for start in range(0, len(requests.bodies), a_commit):
        tables: dict[str, list[bytes | bytearray]] = {}
        for body in requests.bodies[start : start + a_commit]:
            batch = Batch(signal, body, received_ns=now, receiver="bench", transport="none")
            for table, rows in encode_batch(batch, windows).tables.items():
                tables.setdefault(table, [COPY_HEADER]).append(rows.data)
        groups.append({table: b"".join([*parts, COPY_TRAILER]) for table, parts in tables.items()})
    return Copying(groups, requests.items, connections)


async def _pieces(stream: bytes) -> AsyncIterator[bytes]:
    view = memoryview(stream)
    for start in range(0, len(view), _PIECE):
        yield bytes(view[start : start + _PIECE])
