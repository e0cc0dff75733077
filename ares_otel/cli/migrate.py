"""`ares-otel migrate`: brings the tables up to date, or says what is missing."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import typer

from ares_otel.cli import console
from ares_otel.model.errors import StartError
from ares_otel.storage.database import asyncpg_kwargs, check_database
from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.migrate import migrate, migration_states
from ares_otel.storage.partitions import ensure_partitions


async def run_migrate(data_dir: Path, database_url: str | None, *, dry_run: bool, status: bool) -> int:
    """Returns the exit status. The embedded server, when it is the one meant, runs for as long as this takes."""
    embedded = None if database_url else EmbeddedPostgres(data_dir, progress=console.progress)
    try:
        url = database_url or await _started(embedded)
        facts = await check_database(url)
        connection = await asyncpg.connect(url, timeout=10, **asyncpg_kwargs(facts))
        try:
            await _run(connection, dry_run=dry_run, status=status)
        finally:
            await connection.close()
    except StartError as error:
        console.error(error.message)
        return 1
    finally:
        if embedded is not None:
            await embedded.stop()
    return 0


async def _started(embedded: EmbeddedPostgres | None) -> str:
    assert embedded is not None
    return await embedded.start()


async def _run(connection: asyncpg.Connection, *, dry_run: bool, status: bool) -> None:
    if status or dry_run:
        states = await migration_states(connection)
        for state in states:
            if status:
                when = f"{state.applied_at:%Y-%m-%d %H:%M:%S %Z}" if state.applied_at else "pending"
                typer.echo(f"{state.migration.name}\t{when}")
            elif state.applied_at is None:
                typer.echo(f"would apply {state.migration.name}")
        if dry_run and all(state.applied_at for state in states):
            typer.echo("nothing to apply")
        return
    applied = await migrate(connection, progress=console.progress)
    made = await ensure_partitions(connection)
    typer.echo(f"{len(applied)} migrations applied, {len(made)} partitions made")
