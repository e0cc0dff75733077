"""How many bytes an item takes: heap, TOAST and each index, before and after its partition is sealed, and the log."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.cli.bench.data import ITEMS_A_REQUEST
from ares_otel.cli.bench.fill import EXPORTS, SET_SIZE, pause_sealing, reopen_empty, seal_all
from ares_otel.cli.bench.process import Running
from ares_otel.cli.bench.report import Report, Row
from ares_otel.cli.bench.worker import worker
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, PACKS, SAMPLES
from ares_otel.storage.rows.encoded import LOGS as LOG_TABLE
from ares_otel.storage.rows.encoded import SPANS as SPAN_TABLE

A_SECOND = 1000
"""Spans a second, by their own times: that decides how many fall into one minute of a roll-up."""
GOAL = 450
"""Bytes a span."""
_TABLES = {SPAN_TABLE: "span", LOG_TABLE: "log record", SAMPLES: "sample", DISTRIBUTIONS: "distribution"}
_SIGNALS: tuple[Signal, ...] = (TRACES, LOGS, METRICS)
_SIZES = """
SELECT i.inhparent::regclass::text AS parent, c.relname AS name, pg_relation_size(c.oid) AS heap,
       coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) AS toast
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent::regclass::text = ANY ($1)
"""
_INDEXES = """
SELECT i.inhparent::regclass::text AS parent, c.relname AS table_name, x.relname AS name,
       pg_get_indexdef(x.oid) AS definition, pg_relation_size(x.oid) AS bytes
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_index n ON n.indrelid = c.oid JOIN pg_class x ON x.oid = n.indexrelid
WHERE i.inhparent::regclass::text = ANY ($1)
"""


@dataclass(slots=True)
class Sizes:
    """Bytes of one table with its partitions."""

    heap: int = 0
    toast: int = 0
    indexes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By columns, as the index's definition names them."""

    @property
    def total(self) -> int:
        return self.heap + self.toast + sum(self.indexes.values())

    def shown(self, rows: int) -> str:
        """Bytes a row: the sum and its parts."""
        parts = [("heap", self.heap), ("TOAST", self.toast), *sorted(self.indexes.items())]
        return f"{self.total / rows:.0f} bytes: " + ", ".join(f"{name} {size / rows:.1f}" for name, size in parts)


async def measure_storage(report: Report, running: Running, spans: int, *, exports: int = EXPORTS) -> None:
    """Sends spans of yesterday noon, a thousand a second by their own times, their logs and metrics; seals them."""
    await pause_sealing(running.database)
    await reopen_empty(running.database, _noon())
    connection = await asyncpg.connect(running.database)
    before = await _sizes(connection)
    database: int = await connection.fetchval("SELECT pg_database_size(current_database())")
    with suppress(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CHECKPOINT")
    rows_before = await _rows(connection)
    sent_bytes, log_bytes, items = {}, {}, {}
    for signal in _SIGNALS:
        began = await connection.fetchval("SELECT pg_current_wal_lsn()")
        items[signal], sent_bytes[signal] = await _send(running, signal, spans, exports)
        log_bytes[signal] = await connection.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", began)
    rows = {table: count - rows_before[table] for table, count in (await _rows(connection)).items()}
    opened = _less(await _sizes(connection), before)
    rest: int = await connection.fetchval("SELECT pg_database_size(current_database())") - database
    rest -= sum(sizes.total for sizes in opened.values())
    began = await connection.fetchval("SELECT pg_current_wal_lsn()")
    await seal_all(running.database)
    seal_log = await connection.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", began)
    sealed = _less(await _sizes(connection), before)
    await connection.close()
    for table, noun in _TABLES.items():
        if rows[table]:
            for state, sizes in (("open", opened), ("sealed", sealed)):
                goal = f"≤ {GOAL}" if table == SPAN_TABLE else ""
                report.add(
                    Row(
                        f"bytes a {noun}, {state} partition, {rows[table]:,} rows",
                        sizes[table].shown(rows[table]),
                        goal=goal,
                    )
                )
    for signal in _SIGNALS:
        report.add(
            Row(
                f"write-ahead log for each of {items[signal]:,} {signal.items}, after a checkpoint",
                f"{float(log_bytes[signal]) / items[signal]:.0f} bytes",
            )
        )
    report.add(Row("write-ahead log of sealing, for each span", f"{float(seal_log) / items[TRACES]:.0f} bytes"))
    report.add(
        Row(
            "definitions, receipts, roll-ups and the rest of the database, for each span",
            f"{rest / items[TRACES]:.0f} bytes",
        )
    )
    for state, sizes in (("open", opened), ("sealed", sealed)):
        report.ratio(
            f"bytes of spans on disk, {state} ÷ in OTLP requests ({sent_bytes[TRACES] / items[TRACES]:.0f} each)",
            sizes[SPAN_TABLE].total / sent_bytes[TRACES],
        )


def _noon() -> datetime:
    """Of yesterday."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


async def _send(running: Running, signal: Signal, spans: int, exports: int) -> tuple[int, int]:
    """Items and bytes that were sent."""
    requests = -(-spans // ITEMS_A_REQUEST)
    sets = -(-requests // SET_SIZE)
    async with worker() as sender:
        await sender.prepare(
            kind="fill",
            seed=1,
            set_size=-(-requests // sets),
            sets=sets,
            window_ns=spans * 1_000_000_000 // A_SECOND // sets + 2_000_000_000,
            end_ns=int(_noon().timestamp()) * 1_000_000_000,
            exports=exports,
            signals=[signal.name],
            target=running.otlp_grpc,
        )
        sent = await sender.run()
    return sent["sent"][signal.name], sent["bytes"]


async def _rows(connection: asyncpg.Connection) -> dict[str, int]:
    return {
        table: await connection.fetchval(f"SELECT count(*) FROM {table}", timeout=600)  # noqa: S608 - names of ours
        for table in _TABLES
    }


async def _sizes(connection: asyncpg.Connection) -> dict[str, Sizes]:
    found = {table: Sizes() for table in _TABLES}
    of = {**{table: table for table in _TABLES}, PACKS: SAMPLES}  # where samples go when they are sealed
    for row in await connection.fetch(_SIZES, list(of)):
        found[of[row["parent"]]].heap += row["heap"]
        found[of[row["parent"]]].toast += row["toast"]
    for row in await connection.fetch(_INDEXES, list(of)):
        kind = row["definition"].partition(" USING ")[2].split(" WITH ")[0]
        found[of[row["parent"]]].indexes[kind] += row["bytes"]
    return found


def _less(now: dict[str, Sizes], before: dict[str, Sizes]) -> dict[str, Sizes]:
    """What came since: an empty index has pages as well."""
    return {
        table: Sizes(
            sizes.heap - before[table].heap,
            sizes.toast - before[table].toast,
            defaultdict(int, {name: size - before[table].indexes[name] for name, size in sizes.indexes.items()}),
        )
        for table, sizes in now.items()
    }
