"""`ares-otel spool replay`: stores what waits in a spool that no running Ares looks after."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import orjson
import typer

from ares_otel.cli import console
from ares_otel.model.errors import StartError
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.embedded_client import running_url
from ares_otel.storage.migrate import migrate
from ares_otel.storage.replay import ReplayCounts
from ares_otel.storage.spool.spool import Spool, explain_spool_error, holds_requests
from ares_otel.storage.spool.workers import worker_directories
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store

_NO_LIMIT = 1 << 62  # nothing is appended


def replay(data_dir: Path, database_url: str | None, directory: Path, as_json: bool) -> int:
    """Returns the exit status, 1 when something still waits. Raises StartError."""
    if not directory.is_dir():
        raise StartError(f"There is no spool in {directory}; name its directory by --spool-dir.")
    return asyncio.run(run_replay(data_dir, database_url, directory, as_json))


async def run_replay(data_dir: Path, database_url: str | None, directory: Path, as_json: bool) -> int:
    """The same, on an event loop. The embedded server, when it is the one meant and does not run, runs for as long as
    this takes."""
    spools: list[Spool] = []
    embedded = None
    try:
        for place in _places(directory):
            spool = Spool(place, limit_bytes=_NO_LIMIT)
            await asyncio.to_thread(spool.open)
            spools.append(spool)
        found = await _running(data_dir) if database_url is None else None
        if found is None:
            if database_url is None:
                embedded = EmbeddedPostgres(data_dir, progress=console.progress)
                database_url = await embedded.start()
            found = database_url, await check_database(database_url, need_create=True)
        return await _replay(*found, spools, as_json)
    except DATABASE_ERRORS as error:
        raise StartError(f"The database does not take the requests now ({error}); they stay in the spool.") from None
    finally:
        for spool in spools:
            await asyncio.to_thread(spool.close)
        if embedded is not None:
            await embedded.stop()


async def _running(data_dir: Path) -> tuple[str, ServerFacts] | None:
    """The server that runs on the data directory; None when none answers there."""
    with suppress(StartError):
        url = running_url(data_dir)
        return url, await check_database(url, need_create=True)
    return None


def _places(directory: Path) -> list[Path]:
    """The spool, and those of workers in which something waits. Raises StartError when that cannot be seen."""
    try:
        return [directory, *(place for place in worker_directories(directory).values() if holds_requests(place))]
    except OSError as error:
        raise StartError(explain_spool_error(error, directory)) from None


async def _replay(url: str, facts: ServerFacts, spools: Sequence[Spool], as_json: bool) -> int:
    connection = await asyncpg.connect(url, timeout=10, **asyncpg_kwargs(facts))
    try:
        await migrate(connection, progress=console.progress)
    finally:
        await connection.close()
    counts = ReplayCounts()
    for spool in spools:
        store = Store(url, connect_options=asyncpg_kwargs(facts), spool=spool)
        try:
            await store.start(replaying=False)
            counts += await store.replayer.drain()
        finally:
            await store.stop()
    if as_json:
        names = ("stored", "deduplicated", "rejected", "failed")
        typer.echo(orjson.dumps({name: getattr(counts, name) for name in names}))
    else:
        typer.echo(
            f"{counts.stored} items were stored, {counts.deduplicated} had been stored before, {counts.rejected} were "
            f"rejected by the database (see ingest_rejected), {counts.failed} still wait."
        )
    return 1 if counts.failed else 0
