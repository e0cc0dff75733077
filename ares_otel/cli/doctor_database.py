"""What `ares-otel doctor` asks the database: migrations, partitions, rejected items, spools that report there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.cli.doctor import Finding, ok, problem, warning
from ares_otel.model.errors import StartError
from ares_otel.storage.migrate import migration_states
from ares_otel.storage.partitions import Partition, ahead_of, list_partitions, read_windows, to_ns
from ares_otel.storage.rows.encoded import Window
from ares_otel.storage.sqlstate import DATABASE_ERRORS

AHEAD = timedelta(hours=24)
"""Less room than that before the last partition ends, and the job that makes new ones has not worked for days."""
SILENCE = timedelta(minutes=5)
"""A spool reports twice a minute."""

_REJECTED = """
SELECT coalesce(sum(items), 0)::bigint AS items, count(*) AS entries, count(DISTINCT service_name) AS services,
       max(rejected_at) AS last
FROM ingest_rejected WHERE rejected_at > now() - interval '1 day'
"""
_KEPT = "SELECT count(*) FROM ingest_rejected"
_JOBS = """
SELECT count(*) AS partitions, max(failed_at) AS last,
       (array_agg(partition_name || ': ' || coalesce(last_error, 'no reason') ORDER BY failed_at DESC))[1] AS error
FROM partition_jobs WHERE failures > 0
"""
_SPOOLS = (
    "SELECT spool_id, place, seen_at, oldest_at, now() AS now FROM ingest_spools ORDER BY oldest_at NULLS LAST, place"
)


async def check_tables(connection: asyncpg.Connection) -> list[Finding]:
    """Everything that only the database knows."""
    findings: list[Finding] = []
    try:
        migrations = await _migrations(connection)
        findings.append(migrations)
        if migrations.state == "ok":
            findings += await _partitions(connection)
            findings += await _retention(connection)
            findings += await _rejected(connection)
            findings += await _spools(connection)
    except DATABASE_ERRORS as error:
        findings.append(problem("database", f"It stopped answering ({type(error).__name__}: {error}); look again."))
    return findings


async def _migrations(connection: asyncpg.Connection) -> Finding:
    try:
        states = await migration_states(connection)
    except StartError as error:
        return problem("migrations", error.message)
    pending = [state.migration.name for state in states if state.applied_at is None]
    if pending:
        return problem(
            "migrations",
            f"{len(pending)} of {len(states)} are missing, {pending[0]} first; run `ares-otel migrate`, or start "
            "`ares-otel up`, which does the same.",
        )
    return ok("migrations", f"All {len(states)} are applied.")


async def _partitions(connection: asyncpg.Connection) -> list[Finding]:
    windows = await read_windows(connection)
    now = await connection.fetchval("SELECT now()")
    partitions = await list_partitions(connection)
    findings = window_findings(windows, now, _least_ahead(partitions))
    starts = {table: window.start_ns for table, window in windows.items()}
    strays = [p.name for p in partitions if windows[p.table].end_ns < to_ns(p.start) or to_ns(p.end) < starts[p.table]]
    if strays:
        findings.append(
            warning(
                "partitions",
                f"{len(strays)} stand apart from the others, {strays[0]} first: rows of their time are filed under the "
                "receive time. Attach what is missing between, or leave it so.",
            )
        )
    return findings


def _least_ahead(partitions: Sequence[Partition]) -> dict[str, timedelta]:
    """For each table the time that its partitions should reach into the future at least: half of what is made."""
    last = {p.table: p.end - p.start for p in partitions}  # they come by time
    return {table: min(AHEAD, ahead_of(length) / 2) for table, length in last.items()}


def window_findings(
    windows: Mapping[str, Window], now: datetime, least_ahead: Mapping[str, timedelta] | None = None
) -> list[Finding]:
    """What the time ranges of the partitions mean: for a table without one for now, with little ahead, or for all."""
    least = least_ahead or {}
    now_ns = to_ns(now)
    without = [table for table, window in windows.items() if not window.start_ns <= now_ns < window.end_ns]
    if without:
        return [
            problem(
                "partitions",
                f"{', '.join(without)} {'has' if len(without) == 1 else 'have'} no partition for now, and what arrives "
                "is refused or waits in the spool; run `ares-otel migrate`, which makes them, and read Ares's log for "
                "why it did not.",
            )
        ]
    start = max(window.start_ns for window in windows.values())
    end = min(window.end_ns for window in windows.values())
    text = f"{_time(start)} to {_time(end)}"
    if any(w.end_ns - now_ns < least.get(t, AHEAD) / timedelta(microseconds=1) * 1000 for t, w in windows.items()):
        return [
            warning(
                "partitions",
                f"They only reach from {text}: the job that makes new ones does not work. Read Ares's log for why, "
                "and run `ares-otel migrate`, which makes them.",
            )
        ]
    return [ok("partitions", f"Every table takes times from {text}; others are filed under the receive time.")]


async def _retention(connection: asyncpg.Connection) -> list[Finding]:
    row = await connection.fetchrow(_JOBS)
    if row["partitions"]:
        return [
            warning(
                "retention",
                f"Sealing or dropping failed for {row['partitions']} partitions and is tried again, the last at "
                f"{row['last']:%Y-%m-%d %H:%M:%S} UTC, {row['error']}",
            )
        ]
    return [ok("retention", "No partition waits for a seal or a drop that failed.")]


async def _rejected(connection: asyncpg.Connection) -> list[Finding]:
    row = await connection.fetchrow(_REJECTED)
    if row["items"]:
        return [
            warning(
                "rejected",
                f"The database refused {row['items']} items of {row['services']} services within a day, the last at "
                f"{row['last']:%Y-%m-%d %H:%M:%S} UTC; look with `ares-otel rejected ls`.",
            )
        ]
    kept = await connection.fetchval(_KEPT)
    older = f"; {kept} older entries are kept (`ares-otel rejected ls`)" if kept else ""
    return [ok("rejected", f"The database refused nothing within a day{older}.")]


async def _spools(connection: asyncpg.Connection) -> list[Finding]:
    """What spools said of themselves, the silent ones first of all: nobody empties them."""
    rows: Sequence[asyncpg.Record] = await connection.fetch(_SPOOLS)
    findings = []
    for row in rows:
        if row["oldest_at"] is None:
            continue
        what = f"The spool {row['place']} holds requests since {row['oldest_at']:%Y-%m-%d %H:%M:%S} UTC"
        if row["now"] - row["seen_at"] > SILENCE:
            findings.append(
                problem(
                    "spools",
                    f"{what}, and its process has not reported since {row['seen_at']:%Y-%m-%d %H:%M:%S} UTC: start the "
                    "Ares that owns it, or run `ares-otel spool replay` there.",
                )
            )
        else:
            findings.append(
                warning("spools", f"{what}; its process lives and stores them when the database takes them.")
            )
    return findings or [ok("spools", f"No spool of this database reports waiting requests ({len(rows)} known).")]


def _time(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC):%Y-%m-%d %H:%M} UTC"
