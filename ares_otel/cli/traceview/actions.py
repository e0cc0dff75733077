"""What `ares-otel trace` and `ares-otel traces` do. Actions give the exit status."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import orjson

from ares_otel.cli import console
from ares_otel.cli.traceview.report import report
from ares_otel.cli.traceview.screen import Screen
from ares_otel.cli.traceview.view import view_of
from ares_otel.cli.traceview.waterfall import Options
from ares_otel.model.errors import StartError
from ares_otel.model.otlp_json import json_object
from ares_otel.query.instant import Instant
from ares_otel.query.traces import find_trace
from ares_otel.storage.database import asyncpg_kwargs, check_database
from ares_otel.storage.embedded_client import running_url

FOUND, NOTHING, TROUBLE = 0, 1, 2
"""Exit statuses, as grep has them."""
_STATEMENT_MS = 60_000
_CONNECTIONS = 2


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
    finally:
        pool.terminate()


@dataclass(frozen=True, slots=True)
class Picture:
    """How a trace is shown."""

    logs: bool = True
    everything: bool = False
    attributes: bool = False
    colour: bool = True


class Actions:
    """One method a command. They raise AresError with a sentence for the person."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def show(self, trace_id: UUID, start: Instant | None, end: Instant | None, picture: Picture) -> int:
        """Draws a trace."""
        trace = await find_trace(self._pool, trace_id, start=start, end=end)
        if trace is None:
            return _not_found(trace_id)
        screen = Screen(colour=picture.colour)
        options = Options(screen.width, screen.script, picture.everything, picture.attributes)
        screen.show(report(trace, view_of(trace, logs=picture.logs), options))
        return FOUND

    async def json(self, trace_id: UUID, start: Instant | None, end: Instant | None) -> int:
        """Writes a trace as one OTLP request in JSON, as it is stored; it is never in memory as a whole."""
        from ares_otel.query.trace_stream import stream_trace

        between = b'{"resourceSpans":['
        async for chunk in stream_trace(self._pool, trace_id, start=start, end=end):
            for resource_spans in json_object(chunk)["resourceSpans"]:
                _write(between + orjson.dumps(resource_spans))
                between = b","
        if between != b",":
            return _not_found(trace_id)
        _write(b"]}\n")
        sys.stdout.flush()
        return FOUND


def _write(data: bytes) -> None:
    """To standard output as it is: OTLP's JSON is UTF-8, whatever the terminal takes."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def _not_found(trace_id: UUID) -> int:
    console.error(
        f"There is no trace {trace_id.hex}: it never came, it is older than what is kept, or --from and --to "
        "leave it out."
    )
    return NOTHING
