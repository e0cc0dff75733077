"""What `ares-otel trace` and `ares-otel traces` do. Actions give the exit status."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import orjson

from ares_otel.cli import console
from ares_otel.cli.shown import inert_json
from ares_otel.cli.traceview.report import report
from ares_otel.cli.traceview.screen import Screen
from ares_otel.cli.traceview.table import json_summary, table, verdict
from ares_otel.cli.traceview.view import view_of
from ares_otel.cli.traceview.waterfall import Options
from ares_otel.model.errors import StartError
from ares_otel.model.otlp_json import json_object
from ares_otel.query.instant import Instant
from ares_otel.query.reader import DatabaseUnavailable
from ares_otel.query.search.expression import Refused
from ares_otel.query.search.query import TraceQuery
from ares_otel.query.search.summaries import summarize_traces
from ares_otel.query.trace_prefix import LEAST_DIGITS, parse_prefix, traces_with_prefix
from ares_otel.query.trace_stream import stream_trace
from ares_otel.query.traces import find_trace, parse_trace_id
from ares_otel.storage.database import asyncpg_kwargs, check_database
from ares_otel.storage.embedded_client import running_url
from ares_otel.storage.sqlstate import DATABASE_ERRORS

FOUND, NOTHING, TROUBLE = 0, 1, 2
"""Exit statuses, as grep has them."""
_STATEMENT_MS = 60_000
_OLDER = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
_CONNECTIONS = 2
_CANDIDATES = 4


@asynccontextmanager
async def acting(data_dir: Path, database_url: str | None) -> AsyncIterator[Actions]:
    """The actions on a database. Raises StartError when it cannot be reached or has no such table."""
    url = database_url or running_url(data_dir)
    facts = await check_database(url, need_create=False)
    options = asyncpg_kwargs(facts)
    if not facts.pooled:
        options["server_settings"] = {
            "application_name": "ares-otel trace",
            "statement_timeout": str(_STATEMENT_MS),
            "default_transaction_read_only": "on",
            "plan_cache_mode": "force_custom_plan",
        }
    pool = await asyncpg.create_pool(
        url, min_size=0, max_size=_CONNECTIONS, timeout=10, command_timeout=_STATEMENT_MS / 1000 + 5, **options
    )
    try:
        if not await pool.fetchval("SELECT to_regclass('service_spans') IS NOT NULL"):
            raise StartError("The database has no table service_spans yet; run `ares-otel migrate`.")
        yield Actions(pool)
    except BrokenPipeError:
        raise  # that is the reader of the output
    except _OLDER as error:
        raise StartError(
            "The tables of this database are older than this command: run `ares-otel migrate`, or start a newer Ares."
        ) from error
    except DATABASE_ERRORS as error:
        raise DatabaseUnavailable(f"The database did not answer ({type(error).__name__}); try again.") from error
    finally:
        pool.terminate()


@dataclass(frozen=True, slots=True)
class Picture:
    """How a trace is shown."""

    logs: bool = True
    raw: bool = False
    everything: bool = False
    attributes: bool = False
    colour: bool = True


class Actions:
    """One method a command. They raise AresError with a sentence for the person."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def named(self, text: str) -> UUID | None:
        """The trace that an id, or the beginning of one, is of. None, after a sentence, when there is none.

        Raises:
            StartError: the text is neither, or several traces begin so.
        """
        prefix = parse_prefix(text)
        if prefix is None:
            try:
                return parse_trace_id(text)
            except ValueError as error:
                raise StartError(
                    "ID must be a trace id in hex: 32 digits (16 where ids have 64 bits), with or without dashes, or "
                    f"its first {LEAST_DIGITS} or more."
                ) from error
        ids = await traces_with_prefix(self._pool, prefix)
        if len(prefix) >= 16:  # an id of 64 bits, which is kept with zeros before it
            whole = UUID(hex=prefix.zfill(32))
            if whole.hex in {one.hex for one in await traces_with_prefix(self._pool, whole.hex, at_most=1)}:
                ids = [whole]
        if len(ids) > 1:
            shown = ", ".join(one.hex for one in ids[:_CANDIDATES]) + (", ..." if len(ids) > _CANDIDATES else "")
            raise StartError(f"More than one trace begins with {prefix}: {shown}. Give more digits.")
        if not ids:
            console.error(f"No trace with spans begins with {prefix}.")
            return None
        return ids[0]

    async def search(self, query: TraceQuery, picture: Picture, *, as_json: bool) -> int:
        """Lists traces."""
        try:
            summaries = await summarize_traces(self._pool, query)
        except Refused as error:
            raise StartError(f"This search cannot be served: {error}") from error
        if as_json:
            for one in summaries:
                _write(_json(json_summary(one)) + b"\n")
            sys.stdout.flush()
        elif summaries:
            screen = Screen(colour=picture.colour)
            screen.show(table(summaries, screen.script, screen.width))
        if not as_json or not summaries or not summaries.complete:
            console.hint(verdict(len(summaries), query.limit, complete=summaries.complete))
        return FOUND if summaries else NOTHING

    async def show(self, trace_id: UUID, start: Instant | None, end: Instant | None, picture: Picture) -> int:
        """Draws a trace."""
        trace = await find_trace(self._pool, trace_id, start=start, end=end)
        if trace is None:
            return _not_found(trace_id)
        screen = Screen(colour=picture.colour)
        options = Options(screen.width, screen.script, picture.everything, picture.attributes)
        screen.show(report(trace, view_of(trace, logs=picture.logs, raw=picture.raw), options))
        return FOUND

    async def json(self, trace_id: UUID, start: Instant | None, end: Instant | None) -> int:
        """Writes a trace as one OTLP request in JSON, as it is stored; it is never in memory as a whole."""
        between = b'{"resourceSpans":['
        async with contextlib.aclosing(stream_trace(self._pool, trace_id, start=start, end=end)) as chunks:
            async for chunk in chunks:
                for resource_spans in json_object(chunk)["resourceSpans"]:
                    _write(between + _json(resource_spans))
                    between = b","
        if between != b",":
            return _not_found(trace_id, "There are no spans of trace")
        _write(b"]}\n")
        sys.stdout.flush()
        return FOUND


def _json(value: object) -> bytes:
    return inert_json(orjson.dumps(value).decode()).encode()


def _write(data: bytes) -> None:
    """To standard output as it is: OTLP's JSON is UTF-8, whatever the terminal takes."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def _not_found(trace_id: UUID, what: str = "There is no trace") -> int:
    console.error(
        f"{what} {trace_id.hex}: it never came, it is older than what is kept, or --from and --to leave it out."
    )
    return NOTHING
