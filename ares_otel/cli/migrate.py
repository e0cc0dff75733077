"""`ares-otel migrate`: brings the tables up to date, or says what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import typer

from ares_otel.cli import console
from ares_otel.model.errors import StartError
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.embedded_client import has_database, running_url
from ares_otel.storage.migrate import MigrationState, migrate, migration_states, read_migrations
from ares_otel.storage.partitions import ensure_partitions


async def run_migrate(data_dir: Path, database_url: str | None, *, dry_run: bool, status: bool) -> int:
    """Returns the exit status. The embedded server, when it is the one meant, runs for as long as this takes.

    A question (`dry_run`, `status`) makes nothing and also works while `up` runs.
    """
    asks = dry_run or status
    embedded = None
    try:
        if asks and database_url is None and not has_database(data_dir):
            _show([MigrationState(migration, None) for migration in read_migrations()], dry_run, status)
            return 0
        found = None
        if database_url is not None:
            found = database_url, await check_database(database_url, need_create=not asks)
        elif asks:
            found = await _running(data_dir)
        if found is None:
            embedded = EmbeddedPostgres(data_dir, progress=console.progress)
            url = await embedded.start()
            found = url, await check_database(url, need_create=not asks)
        url, facts = found
        connection = await asyncpg.connect(url, timeout=10, **asyncpg_kwargs(facts))
        try:
            if asks:
                _show(await migration_states(connection), dry_run, status)
            else:
                await _apply(connection)
        finally:
            await connection.close()
    except StartError as error:
        console.error(error.message)
        return 1
    finally:
        if embedded is not None:
            await embedded.stop()
    return 0


async def _running(data_dir: Path) -> tuple[str, ServerFacts] | None:
    """The server that runs on the data directory; None when none answers there."""
    with suppress(StartError):
        url = running_url(data_dir)
        return url, await check_database(url, need_create=False)
    return None


def _show(states: Sequence[MigrationState], dry_run: bool, status: bool) -> None:
    for state in states:
        if status:
            when = f"{state.applied_at:%Y-%m-%d %H:%M:%S %Z}" if state.applied_at else "pending"
            typer.echo(f"{state.migration.name}\t{when}")
        elif state.applied_at is None:
            typer.echo(f"would apply {state.migration.name}")
    if dry_run and all(state.applied_at for state in states):
        typer.echo("nothing to apply")


async def _apply(connection: asyncpg.Connection) -> None:
    applied = await migrate(connection, progress=console.progress)
    made = await ensure_partitions(connection)
    typer.echo(f"{len(applied)} migrations applied, {len(made)} partitions made")
