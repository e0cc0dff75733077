"""What `ares-otel rejected …` does. Actions give the exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import typer

from ares_otel.api.rendering import render_rejected, render_rejected_item
from ares_otel.cli import console
from ares_otel.cli.config_text import table, when
from ares_otel.cli.moments import moment
from ares_otel.cli.shown import json_shown, printable
from ares_otel.model.errors import Retryable, StartError
from ares_otel.query.reader import DatabaseUnavailable
from ares_otel.query.rejected import RejectedFilter, find_rejected, find_rejected_item
from ares_otel.query.rows import RejectedRow
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded_client import running_url
from ares_otel.storage.rejected_retry import Outcome, Retried, interrupted_rows, retry_row
from ares_otel.storage.rejected_rows import Selection, count_rows, drop_rows, next_ids
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store

_AT_ONCE = 4
"""Entries that are tried at the same time; the writer commits them together."""
_PAGE = 100
_REASON = 160
"""Characters of a reason in the list; `show` has all of it."""
_REFUSALS = 20
"""Entries whose refusal is told in full."""


@asynccontextmanager
async def acting(data_dir: Path, database_url: str | None) -> AsyncIterator[Actions]:
    """The actions on a database. Raises StartError when it cannot be reached or has no such table."""
    url = database_url or running_url(data_dir)
    facts = await check_database(url, need_create=False)
    pool = await asyncpg.create_pool(
        url, min_size=0, max_size=_AT_ONCE + 1, timeout=10, command_timeout=60, **asyncpg_kwargs(facts)
    )
    try:
        if not await pool.fetchval("SELECT to_regclass('ingest_rejected') IS NOT NULL"):
            raise StartError("The database has no table ingest_rejected yet; run `ares-otel migrate`.")
        yield Actions(url, facts, pool)
    except BrokenPipeError:
        raise  # that is the reader of the output
    except DATABASE_ERRORS as error:
        raise DatabaseUnavailable(
            f"The database did not finish ({type(error).__name__}): run the command again when it answers; "
            "nothing is lost and nothing will be stored twice."
        ) from error
    finally:
        pool.terminate()


class Actions:
    """One method a command. They raise AresError with a sentence for the person."""

    def __init__(self, url: str, facts: ServerFacts, pool: asyncpg.Pool) -> None:
        self._url = url
        self._facts = facts
        self._pool = pool

    async def ls(self, service: str | None, signal: str | None, since: str | None, limit: int, as_json: bool) -> int:
        wanted = RejectedFilter(service, signal, None if since is None else moment(since, "--since"))
        page = await find_rejected(self._pool, wanted, limit=limit)
        if as_json:
            typer.echo(json_shown([render_rejected(row) for row in page.rows]))
            return 0
        if not page.rows:
            console.hint("Nothing was refused.")
            return 0
        head = ("ID", "WHEN", "SIGNAL", "SERVICE", "ITEMS", "SQLSTATE", "REASON")
        typer.echo(table([head, *(_line(row) for row in page.rows)]))
        if page.next is not None:
            console.hint("There are older entries; --limit shows more.")
        return 0

    async def show(self, id: int, payload: Path | None, as_json: bool) -> int:
        item = await find_rejected_item(self._pool, id)
        if item is None:
            raise StartError(_no_entry(id))
        if payload is not None:
            _write(payload, item.payload)
        rendered = render_rejected_item(item)
        if as_json:
            typer.echo(json_shown(rendered))
            return 0
        otlp = rendered.pop("otlp")
        rendered["payload"] = f"{len(item.payload)} bytes" + ("" if payload is None else f", written to {payload}")
        width = max(map(len, rendered))
        for name, value in rendered.items():
            typer.echo(f"{name:{width}}  {printable('' if value is None else str(value), 1000)}")
        typer.echo(
            "(The payload cannot be decoded; --payload writes it to a file.)" if otlp is None else json_shown(otlp)
        )
        return 0

    async def retry(self, ids: Sequence[int] | None, as_json: bool) -> int:
        """1 when some remain."""
        store = Store(self._url, connect_options=asyncpg_kwargs(self._facts))
        tried: dict[int, Retried] = {}
        trouble = ""
        try:
            await store.start()
            async with self._pool.acquire() as connection:
                for id in await interrupted_rows(connection):
                    await retry_row(connection, store, id)  # puts its rows in order, and tries nothing yet
                selection = Selection(ids, last=(await count_rows(connection, Selection(ids))).last)
                after = 0
                while page := await next_ids(connection, selection, after, _PAGE):
                    after = page[-1]
                    tried |= await self._retry_page(store, page)
        except Retryable as error:
            trouble = error.message
        finally:
            await store.stop()
        return _say_retried(tried, ids or (), trouble, as_json)

    async def drop(self, ids: Sequence[int] | None, older_than: str | None, yes: bool) -> int:
        before = None if older_than is None else moment(older_than, "--older-than")
        async with self._pool.acquire() as connection:
            amount = await count_rows(connection, Selection(ids, before))
            if amount.rows == 0:
                if ids is None:
                    typer.echo("There is nothing to drop.")
                    return 0
                raise StartError(" ".join(_no_entry(id) for id in ids[:3]))
            if not yes and not _confirmed(f"Delete {_entries(amount.rows, amount.items)} for good?"):
                console.hint("Nothing was dropped.")
                return 1
            gone = await drop_rows(connection, Selection(ids, before, amount.last))
        typer.echo(f"Dropped {_entries(gone.rows, gone.items)}.")
        return 0

    async def _retry_page(self, store: Store, ids: Sequence[int]) -> dict[int, Retried]:
        async def one(id: int) -> Retried:
            async with turns, self._pool.acquire() as connection:
                return await retry_row(connection, store, id)

        turns = asyncio.Semaphore(_AT_ONCE)
        results = await asyncio.gather(*(one(id) for id in ids), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return {id: result for id, result in zip(ids, results, strict=True) if isinstance(result, Retried)}


def _line(row: RejectedRow) -> tuple[str, ...]:
    return (
        str(row.id),
        when(row.rejected_at),
        row.signal,
        printable(row.service_name, 60),
        str(row.items),
        row.sqlstate or "-",
        printable(row.reason, _REASON),
    )


def _say_retried(tried: dict[int, Retried], ids: Sequence[int], trouble: str, as_json: bool) -> int:
    refused = {id: one for id, one in tried.items() if one.outcome is Outcome.REFUSED}
    stored = [one for one in tried.values() if one.outcome is Outcome.STORED]
    missing = [id for id in ids if id not in tried or tried[id].outcome is Outcome.GONE] if not trouble else []
    items, left = sum(one.stored for one in tried.values()), sum(one.refused for one in refused.values())
    if as_json:
        reasons = [{"id": id, "items": one.refused, "reason": one.reason} for id, one in refused.items()]
        typer.echo(
            json_shown(
                {"stored": {"entries": len(stored), "items": items}, "refused": reasons, "missing": missing}
                | ({"trouble": trouble} if trouble else {})
            )
        )
    else:
        for id, one in list(refused.items())[:_REFUSALS]:
            typer.echo(f"{id}: refused again: {printable(one.reason)}")
        if len(refused) > _REFUSALS:
            typer.echo(f"... and {len(refused) - _REFUSALS} more.")
        typer.echo(f"Stored {_entries(len(stored), items)}; {_entries(len(refused), left)} were refused again.")
    for id in missing[:_REFUSALS]:
        console.error(_no_entry(id))
    if trouble:
        console.error(f"Broken off: {trouble} What was not stored is still there.")
    return int(bool(refused or missing or trouble))


def _write(file: Path, payload: bytes) -> None:
    try:
        file.write_bytes(payload)
    except OSError as error:
        raise StartError(f"{file} cannot be written: {error.strerror or error}.") from error


def _entries(rows: int, items: int) -> str:
    return f"{rows} {'entry' if rows == 1 else 'entries'} with {items} {'item' if items == 1 else 'items'}"


def _no_entry(id: int) -> str:
    return f"There is no entry {id}: it was dropped, or stored in the meantime; `ares-otel rejected ls` lists them."


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise StartError(f"{question} Nobody is there to answer; add --yes to do it without the question.")
    return typer.confirm(question)
