"""Writes a partition to a Parquet file. A file of the final name is always whole: it is written under another name,
synced, read back, and then renamed."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import importlib.util
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.storage.partitions.catalog import Partition, quoted
from ares_otel.storage.partitions.columns import archive_columns
from ares_otel.storage.partitions.jobs import remember
from ares_otel.storage.rows.encoded import PACKS

GROUP_ROWS = 50_000
GROUP_BYTES = 16 * 1024 * 1024
"""A row group ends with the row that reaches one of these: they bound the memory."""
CHUNK_ROWS = 1000
CHUNK_BYTES = 4 * 1024 * 1024
"""Rows that are fetched at once: as many as were so many bytes lately."""
UNHURRIED_SECONDS = 3600.0
"""Time for a statement that reads a whole partition, or joins all series."""
_UNHURRIED = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"


class ArchiveError(AresError):
    """The partition could not be archived; it was not dropped."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A complete file."""

    path: Path
    rows: int
    size: int
    """Bytes of the file."""


def require_parquet() -> None:
    """Raises ArchiveError when pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ArchiveError(
            "Archives are Parquet files, and pyarrow, which writes them, is not installed: "
            "run `pip install 'ares-otel[parquet]'`. Until then nothing is archived, and nothing is dropped unarchived."
        )


async def archive(connection: asyncpg.Connection, partition: Partition, directory: Path) -> Archived:
    """Writes the rows of a partition, attached or not, to `DIRECTORY/NAME.parquet`, and records it.

    A file of that name that holds something else is left alone; the new one is then named `NAME.ARCHIVE_ID.parquet`.

    Raises:
        ArchiveError: pyarrow is missing, the directory does not exist or is full, or the file does not read back.
        asyncpg.PostgresError: the rows could not be read.
    """
    require_parquet()
    # Loading pyarrow takes a while, which the event loop does not have.
    await asyncio.to_thread(importlib.import_module, "ares_otel.storage.partitions.parquet")
    await remember(connection, partition)
    archive_id: str = (
        await connection.fetchval("SELECT archive_id FROM partition_jobs WHERE partition_name = $1", partition.name)
    ).hex
    try:
        with _work_file(directory, f".{partition.name}.{archive_id}.partial") as work:
            rows = await _write(connection, partition, work, archive_id)
            path = await asyncio.to_thread(_publish, work, directory, partition.name, archive_id, rows)
            size = (await asyncio.to_thread(path.stat)).st_size
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{partition.name} could not be archived in {directory}: {error}.") from error
    await connection.execute(
        "UPDATE partition_jobs SET archived_at = now(), archived_to = $2, archived_rows = $3 WHERE partition_name = $1",
        partition.name,
        str(path),
        rows,
    )
    return Archived(path, rows, size)


def _publish(work: Path, directory: Path, name: str, archive_id: str, rows: int) -> Path:
    """Verifies a finished file and gives it its name. Raises OSError or ValueError."""
    from ares_otel.storage.partitions.parquet import identity_of, read_back

    _sync(work)
    if read_back(work) != rows:
        raise ValueError("it reads back with another number of rows")
    path = directory.absolute() / f"{name}.parquet"
    if path.exists() and (identity_of(path) or ("", 0))[0] != archive_id:
        path = path.with_name(f"{name}.{archive_id}.parquet")
    work.replace(path)
    _sync(directory)
    return path


def is_whole(path: Path, directory: Path, archive_id: str, rows: int) -> bool:
    """Whether the file is in the directory and is the archive with that identity and number of rows.

    Raises ArchiveError when pyarrow is missing.
    """
    require_parquet()
    from ares_otel.storage.partitions.parquet import identity_of

    try:
        return path.parent == directory.absolute() and identity_of(path) == (archive_id, rows)
    except OSError:
        return False


async def count_rows(connection: asyncpg.Connection, partition: Partition) -> int:
    """Rows that an archive of the partition, attached or not, has. Raises asyncpg.PostgresError or TimeoutError."""
    what = "coalesce(sum(count), 0)::bigint" if partition.table == PACKS else "count(*)"
    count: int = await connection.fetchval(
        f"SELECT {what} FROM {quoted(partition.name)}",  # noqa: S608 - quoted
        timeout=UNHURRIED_SECONDS,
    )
    return count


async def _write(connection: asyncpg.Connection, partition: Partition, path: Path, archive_id: str) -> int:
    """Writes the rows as one snapshot has them; their number. Raises OSError or asyncpg.PostgresError."""
    from ares_otel.storage.partitions.parquet import ARCHIVE_ID, ParquetFile

    metadata = {
        ARCHIVE_ID: archive_id,
        "ares_otel.partition": partition.name,
        "ares_otel.table": partition.table,
        "ares_otel.range_start": partition.start.isoformat(),
        "ares_otel.range_end": partition.end.isoformat(),
    }
    columns, source = await archive_columns(connection, partition.table, partition.name)
    if not columns:
        raise ArchiveError(f"There is no partition {partition.name}.")
    select = f"SELECT {', '.join(column.sql for column in columns)} {source}"
    make = partial(ParquetFile, group_rows=GROUP_ROWS, group_bytes=GROUP_BYTES)
    file = await asyncio.to_thread(make, path, [(column.name, column.kind) for column in columns], metadata)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(_UNHURRIED)
            async for rows in _chunks(connection, select):
                await asyncio.to_thread(file.write, rows)
        return await asyncio.to_thread(file.finish)
    except BaseException:
        file.abandon()
        raise


async def _chunks(connection: asyncpg.Connection, select: str) -> AsyncIterator[list[Any]]:
    """The rows, few at a time: fewer when they are large."""
    cursor = await connection.cursor(select, timeout=UNHURRIED_SECONDS)
    chunk = 16
    while rows := await cursor.fetch(chunk, timeout=UNHURRIED_SECONDS):
        yield rows
        size = sum(_bytes_of(row) for row in rows)
        chunk = max(1, min(CHUNK_ROWS, CHUNK_BYTES * len(rows) // max(1, size)))


def _bytes_of(row: Any) -> int:
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)


@contextmanager
def _work_file(directory: Path, name: str) -> Iterator[Path]:
    """A file that only one process writes, removed in the end unless it was renamed; what a killed process left is
    overwritten. Raises ArchiveError when another process writes it now, or there is no such directory."""
    if not directory.is_dir():
        raise ArchiveError(f"The archive directory {directory} does not exist; create it, or name another.")
    path = directory / name
    with path.open("wb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"Another process writes {path} now; let it finish.") from None
        try:
            yield path
        finally:
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(held.fileno()).st_ino:  # else it is somebody else's by now
                    path.unlink()


def _sync(path: Path) -> None:
    """What was written to a file, or the names in a directory, survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
