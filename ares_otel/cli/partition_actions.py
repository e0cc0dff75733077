"""What `ares-otel partitions …` does. Actions give the exit status."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import typer

from ares_otel.api.routers.partitions import render_action, render_partition
from ares_otel.cli import console
from ares_otel.cli.config_text import table
from ares_otel.cli.maintenance import partitions_of, retention_settings, seal_settings
from ares_otel.control.config.schema import problem_of
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.crypto import Keyring
from ares_otel.model.clock import SYSTEM_CLOCK
from ares_otel.model.errors import StartError
from ares_otel.query.partitions import DETACHED, NextAction, PartitionRow, Partitions
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded_client import running_url
from ares_otel.storage.maintenance import Maintenance, log
from ares_otel.storage.partitions import Partition, ensure_partitions, list_partitions
from ares_otel.storage.partitions.archive import archive, require_parquet
from ares_otel.storage.partitions.jobs import read_jobs
from ares_otel.storage.partitions.lock import RETENTION, SEAL, exclusive
from ares_otel.storage.partitions.observer import SilentMaintenanceObserver
from ares_otel.storage.partitions.packing import packs_name
from ares_otel.storage.partitions.plan import COMMAND, Removal, closed
from ares_otel.storage.partitions.retention import Retention
from ares_otel.storage.partitions.seal import Sealer, index_set
from ares_otel.storage.rows.encoded import KEPT, SAMPLES
from ares_otel.storage.sqlstate import DATABASE_ERRORS

TURN_SECONDS = 60.0
"""How long a command waits for a running Ares to finish what it does on partitions."""


@asynccontextmanager
async def acting(data_dir: Path, database_url: str | None) -> AsyncIterator[PartitionActions]:
    """The actions on a database. Raises StartError when it cannot be reached."""
    console.log_to_stderr("info")
    url = database_url or running_url(data_dir)
    facts = await check_database(url, need_create=False)
    options = asyncpg_kwargs(facts)
    manager = ConfigManager(
        url, keyring=Keyring.from_environ(), check=problem_of, listen=not facts.pooled, connect_options=options
    )
    pool = await asyncpg.create_pool(url, min_size=0, max_size=1, timeout=10, command_timeout=60, **options)
    await manager.start()
    try:
        yield PartitionActions(url, facts, manager, partitions_of(pool, manager))
    except DATABASE_ERRORS as error:
        raise StartError(f"The database could not do it: {type(error).__name__}: {error}") from error
    finally:
        await manager.stop()
        pool.terminate()


class PartitionActions:
    """One method a command. They raise AresError with a sentence for the person."""

    def __init__(self, url: str, facts: ServerFacts, manager: ConfigManager, partitions: Partitions) -> None:
        self._url = url
        self._facts = facts
        self._manager = manager
        self._partitions = partitions

    async def list(self, as_json: bool) -> int:
        found = await self._partitions.find()
        if as_json:
            rows = [render_partition(row) for row in found.partitions]
            return _tell(True, {"partitions": rows, "next": [*map(render_action, found.next)], "bytes": found.bytes})
        if found.partitions:
            typer.echo(table([("PARTITION", "STATE", "SIZE", "ROWS", "LEAVES", ""), *map(_line, found.partitions)]))
        typer.echo(f"{len(found.partitions)} partitions, {_size(found.bytes)}")
        for action in found.next:
            typer.echo(_next_line(action, found.now))
        return 0

    async def export(self, names: Sequence[str], older_than: float | None, to: Path, as_json: bool) -> int:
        require_parquet()
        files = []
        async with self._turn(RETENTION) as connection:
            for partition in await self._chosen(connection, names, older_than, any_age=True):
                done = await archive(connection, partition, to)
                files.append({"partition_name": partition.name, "file": str(done.path), "rows": done.rows})
                if not as_json:
                    typer.echo(f"{done.path}: {done.rows} rows, {_size(done.size)}")
        return _tell(as_json, {"files": files})

    async def seal(self, names: Sequence[str], as_json: bool) -> int:
        async with self._turn(SEAL) as connection:
            sealer = Sealer(
                connection,
                lambda: seal_settings(self._manager),
                await connection.fetchval("SELECT now()"),
                observer=SilentMaintenanceObserver(),
                pooled=self._facts.pooled,
            )
            if not names:
                await sealer.run()
                sealed = sorted(
                    job.partition.name
                    for job in await read_jobs(connection)
                    if job.sealed_with == index_set(job.partition.table)
                )
                return _tell(as_json, {"sealed": sealed})
            chosen = await self._chosen(connection, names, None)
            for partition in chosen:
                await sealer.seal(partition, pack_any=True)
                if not as_json:
                    typer.echo(f"{partition.name} is sealed.")
        return _tell(as_json, {"sealed": [partition.name for partition in chosen]})

    async def drop(self, names: Sequence[str], older_than: float | None, yes: bool, as_json: bool) -> int:
        settings = retention_settings(self._manager)
        async with self._turn(RETENTION) as connection:
            chosen = await self._chosen(connection, names, older_than)
        if chosen and not yes:
            _ask(chosen, settings.archive_directory)
        dropped: list[str] = []
        left: list[str] = []
        async with self._turn(RETENTION) as connection:
            retention = Retention(
                connection,
                settings,
                await connection.fetchval("SELECT now()"),
                observer=SilentMaintenanceObserver(),
                complaints=Complaints(log, SYSTEM_CLOCK),
            )
            await retention.recover()
            await retention.mark([Removal(partition, COMMAND) for partition in chosen])
            wanted = {partition.name for partition in chosen}
            for job in await read_jobs(connection):
                if job.partition.name in wanted:
                    done = await retention.let_go(job)
                    (dropped if done else left).append(job.partition.name)
        _tell(as_json, {"dropped": dropped, "left": left})
        if left:
            console.error(f"{', '.join(left)} could not be dropped yet; a running Ares tries again every minute.")
        return 1 if left else 0

    async def run(self, as_json: bool) -> int:
        connection = await self._connect()
        try:
            made = await ensure_partitions(connection)
        finally:
            connection.terminate()
        maintenance = Maintenance(
            self._connect, settings=lambda: retention_settings(self._manager), pooled=self._facts.pooled
        )
        deadline = SYSTEM_CLOCK.monotonic() + TURN_SECONDS
        while not await maintenance.run():
            await _wait_for_turn(deadline)
        await self.list(as_json)
        if made:
            console.hint(f"Made {len(made)} partitions.")
        return 0

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self._url, timeout=10, command_timeout=60, **asyncpg_kwargs(self._facts))

    @asynccontextmanager
    async def _turn(self, key: int) -> AsyncIterator[asyncpg.Connection]:
        """A connection while no other process is at it. Raises StartError when that one does not come to an end."""
        deadline = SYSTEM_CLOCK.monotonic() + TURN_SECONDS
        while True:
            async with exclusive(self._connect, key, pooled=self._facts.pooled) as connection:
                if connection is not None:
                    yield connection
                    return
            await _wait_for_turn(deadline)

    async def _chosen(
        self, connection: asyncpg.Connection, names: Sequence[str], older_than: float | None, *, any_age: bool = False
    ) -> Sequence[Partition]:
        """The partitions that are meant. Raises StartError for a name that is none, or one whose time is not over."""
        existing = await list_partitions(connection, KEPT)
        now: datetime = await connection.fetchval("SELECT now()")
        if older_than is not None:
            return closed(existing, now - timedelta(days=older_than))
        by_name = {partition.name: partition for partition in existing}
        for name in names:
            if name not in by_name:
                raise StartError(f"There is no partition {name}; `ares-otel partitions ls` shows those there are.")
            if by_name[name].end > now and not any_age:
                raise StartError(f"{name} is not closed: it takes rows, or will; it closes at {by_name[name].end}.")
        chosen = []
        for name in names:
            chosen.append(by_name[name])
            # What is meant by a partition of samples is all of them.
            packs = packs_name(by_name[name])
            if by_name[name].table == SAMPLES and packs in by_name and packs not in names:
                chosen.append(by_name[packs])
        return chosen


async def _wait_for_turn(deadline: float) -> None:
    """Raises StartError after the deadline, seconds of the monotonic clock."""
    if SYSTEM_CLOCK.monotonic() > deadline:
        raise StartError("Another process works on the partitions and does not come to an end; try again later.")
    await asyncio.sleep(0.5)


def _ask(chosen: Sequence[Partition], archive_directory: str) -> None:
    """Raises StartError without a yes."""
    for partition in chosen:
        console.hint(partition.name)
    where = f" after they were archived in {archive_directory}" if archive_directory else ", and not archived"
    if not sys.stdin.isatty():
        raise StartError(f"{len(chosen)} partitions would be dropped{where}; add --yes to do it.")
    if not typer.confirm(f"Drop these {len(chosen)} partitions with all their rows{where}?", err=True):
        raise StartError("Nothing was dropped.")


def _tell(as_json: bool, content: dict[str, Any]) -> int:
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    return 0


def _line(row: PartitionRow) -> tuple[str, ...]:
    leaves = "never" if row.due_at is None else f"{row.due_at:%Y-%m-%d %H:%M}"
    if row.leaving_reason is not None or row.state == DETACHED:
        leaves = f"now ({row.leaving_reason})"
    rows = "?" if row.rows_estimate is None else str(row.rows_estimate)
    note = f"failed {row.failures} times: {row.last_error}" if row.failures else row.archived_to or ""
    return console.printable(row.partition_name), row.state, _size(row.bytes), rows, leaves, console.printable(note)


def _next_line(action: NextAction, now: datetime) -> str:
    when = "now" if action.at <= now else f"at {action.at:%Y-%m-%d %H:%M} UTC"
    reason = f" ({action.reason})" if action.reason else ""
    return f"next: {action.action} {console.printable(action.partition_name)} {when}{reason}"


def _size(size: int) -> str:
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
