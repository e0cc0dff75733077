"""Whether the commit of a request was on the disk before its sender heard OK.

`kill -9` does not test fsync: what a process wrote is in the kernel's memory and survives it. So the write-ahead log is
asked: the position up to which it was flushed at the moment of the answer, and where the commit record of the
transaction ends that holds the request's receipt.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

_COMMITS = """
SELECT r.key, r.xmin::text AS xid, w.end_lsn - '0/0'::pg_lsn AS commit_end
FROM ingest_receipts r
LEFT JOIN pg_get_wal_records_info($1::text::pg_lsn, pg_current_wal_flush_lsn()) w
       ON w.xid = r.xmin AND w.resource_manager = 'Transaction' AND w.record_type LIKE 'COMMIT%'
WHERE r.key = ANY ($2::bytea[])
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered, and how far the log was flushed at that moment (bytes since the log's beginning)."""

    key: bytes
    flushed: int


class WalWitness:
    """Looks at the log of a server; needs its superuser and the extension pg_walinspect."""

    def __init__(self, connection: asyncpg.Connection, start: str) -> None:
        self._connection = connection
        self._start = start

    @classmethod
    async def watches(cls, connection: asyncpg.Connection) -> WalWitness:
        """A witness of everything that is committed from now on."""
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        return cls(connection, await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))

    async def flushed(self) -> int:
        """How far the log is on the disk now."""
        return int(await self._connection.fetchval("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"))

    async def too_early(self, answered: list[Answered]) -> list[str]:
        """The answers that were given before their commit was on the disk, in sentences. Forces the log to the disk
        first, because it can only read what is there."""
        await self._connection.execute("CHECKPOINT")
        rows = await self._connection.fetch(_COMMITS, self._start, [one.key for one in answered])
        commits = {row["key"]: row["commit_end"] for row in rows}
        found = []
        for one in answered:
            end = commits.get(one.key)
            if end is None:
                found.append(f"{one.key.hex()} was answered, and no commit record with its receipt is in the log")
            elif end > one.flushed:
                found.append(f"{one.key.hex()} was answered at {one.flushed}, its commit ends at {int(end)}")
        return found
