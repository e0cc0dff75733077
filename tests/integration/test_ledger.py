"""Receipts against rows, in a database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from google.protobuf.message import Message

from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.query.ledger import Entry, ledger_imbalances, read_ledger
from ares_otel.storage.rejected_retry import Outcome, Retried, retry_row
from ares_otel.storage.store import Store
from tests.support.otlp_samples import log_record, logs_request, metrics_request, trace_request
from tests.support.poison import POISON, refuse_poison, take_poison
from tests.support.rejected import insert_rejected

pytestmark = pytest.mark.every_server
REQUESTS: dict[Signal, Callable[[], Message]] = {
    TRACES: lambda: trace_request(spans=3),
    LOGS: lambda: logs_request(records=4),
    METRICS: metrics_request,
}


def batch(signal: Signal, request: Message | None = None, *, received_at: datetime | None = None) -> Batch:
    made = REQUESTS[signal]() if request is None else request
    received = time.time_ns() if received_at is None else int(received_at.timestamp()) * 1_000_000_000
    return Batch(signal, made.SerializeToString(), received_ns=received, receiver="t", transport="t")


async def entries(sql: asyncpg.Connection, since: datetime | None = None) -> dict[str, Entry]:
    return {entry.signal: entry for entry in await read_ledger(sql, since=since)}


async def wrong(sql: asyncpg.Connection) -> list[str]:
    return ledger_imbalances(await read_ledger(sql))


async def test_rows_are_those_of_the_receipts(sql: asyncpg.Connection, store: Store) -> None:
    assert await read_ledger(sql) == []
    sent = [batch(signal) for signal in SIGNALS.values() for _ in range(2)]
    for one in (*sent, *sent):  # each is sent again
        await store.consume(one)
    found = await entries(sql)
    assert [(found[name].requests, found[name].difference) for name in SIGNALS] == [(2, 0)] * 3
    assert found["traces"].stored == 6
    assert await wrong(sql) == []


async def test_a_lost_and_a_doubled_row_are_found_and_counted(sql: asyncpg.Connection, store: Store) -> None:
    for signal in SIGNALS.values():
        await store.consume(batch(signal))
    await sql.execute("DELETE FROM service_logs WHERE id = (SELECT min(id) FROM service_logs)")
    await sql.execute("INSERT INTO service_spans SELECT * FROM service_spans LIMIT 2")
    doubled, lost = await wrong(sql)
    assert doubled.startswith(
        "traces in the database: the tables have 5 items, receipts only say 3: 2 were stored twice"
    )
    assert lost == "logs in the database: receipts say that 4 items are stored, the tables have 3: 1 are missing."


async def test_rows_that_were_made_by_sql_are_told_apart(sql: asyncpg.Connection, store: Store) -> None:
    sent = batch(METRICS)
    await store.consume(sent)
    await sql.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_value)"
        " SELECT 'psql', 'made', n FROM generate_series(1, 5) n"
    )
    await sql.execute("UPDATE metric_samples SET received_at = now() + interval '1 minute' WHERE value = 5")
    found = (await entries(sql))["metrics"]
    assert (found.accepted, found.stored, found.by_sql) == (sent.items, sent.items, 5)


async def test_points_whose_series_is_gone_are_still_rows_of_a_request(sql: asyncpg.Connection, store: Store) -> None:
    await store.consume(batch(METRICS))
    await sql.execute("DELETE FROM metric_series")
    assert await wrong(sql) == []


async def test_time_whose_receipts_were_pruned_is_not_compared(sql: asyncpg.Connection, store: Store) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in (5, 4, 3):
        await store.consume(batch(LOGS, received_at=now - timedelta(hours=hours)))
    await sql.execute("DELETE FROM ingest_receipts WHERE received_at < $1", now - timedelta(hours=4.5))
    found = (await entries(sql))["logs"]
    assert (found.since, found.stored, found.difference) == (now - timedelta(hours=4), 8, 0)
    found = (await entries(sql, now - timedelta(hours=3.5)))["logs"]
    assert (found.since, found.stored, found.difference) == (now - timedelta(hours=3.5), 4, 0)


async def test_a_retry_of_what_was_refused_long_ago_is_out_of_range(sql: asyncpg.Connection, store: Store) -> None:
    """The receipts around it were pruned; its own, as old as itself, must not say that they are complete from there."""
    now = datetime.now(UTC)
    await store.consume(batch(LOGS))
    await store.consume(batch(LOGS, received_at=now - timedelta(hours=30)))
    await sql.execute("DELETE FROM ingest_receipts WHERE received_at < $1", now - timedelta(hours=24))
    row = await insert_rejected(sql, received_at=now - timedelta(hours=40))
    assert await retry_row(sql, store, row) == Retried(Outcome.STORED, 1)
    found = (await entries(sql))["logs"]
    assert (found.stored, found.difference) == (4, 0)


async def test_the_range_is_that_of_the_setting(sql: asyncpg.Connection, store: Store) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in (5, 1):
        await store.consume(batch(LOGS, received_at=now - timedelta(hours=hours)))
    await sql.execute(
        "INSERT INTO service_config (service_name, config_key, config_value) VALUES ('ares-api', 'receipts.hours', '2')"
        " ON CONFLICT (service_name, config_key) DO UPDATE SET config_value = '2'"
    )
    assert (await entries(sql))["logs"].requests == 1


async def test_time_before_the_oldest_partition_is_not_compared(sql: asyncpg.Connection, store: Store) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    await store.consume(batch(LOGS, received_at=now - timedelta(days=1)))
    await store.consume(batch(LOGS, received_at=now))
    for days in (2, 1):
        await sql.execute(f"DROP TABLE service_logs_{now - timedelta(days=days):%Y%m%d}")
    await sql.execute("DELETE FROM service_logs WHERE received_at < $1", now)  # it was late, in a later partition
    found = (await entries(sql))["logs"]
    assert (found.since.date(), found.stored, found.difference) == (now.date(), 4, 0)


async def test_time_before_a_floor_moved_is_not_compared(sql: asyncpg.Connection, store: Store) -> None:
    """Retention notes there what it dropped."""
    now = datetime.now(UTC).replace(microsecond=0)
    await store.consume(batch(LOGS, received_at=now - timedelta(hours=2)))
    await sql.execute("DELETE FROM service_logs")
    await store.consume(batch(LOGS, received_at=now))
    assert len(await wrong(sql)) == 1
    await sql.execute(
        "INSERT INTO partition_floors (table_name, not_before, moved_at) VALUES ('service_logs', $1, $1)",
        now - timedelta(hours=1),
    )
    assert await wrong(sql) == []


async def test_a_refused_item_is_balanced_before_and_after_its_retry(sql: asyncpg.Connection, store: Store) -> None:
    await refuse_poison(sql)
    records = [log_record(), log_record(body={"string_value": POISON}), log_record()]
    received_at = datetime.now(UTC) - timedelta(hours=1)
    answer = await store.consume(batch(LOGS, logs_request(records=records), received_at=received_at))
    assert (answer.stored, answer.rejected) == (2, 1)
    row = await sql.fetchval("SELECT id FROM ingest_rejected")
    for _ in range(2):
        retried = await retry_row(sql, store, row)
        assert (retried.outcome, retried.refused) == (Outcome.REFUSED, 1)
        assert await sql.fetchval("SELECT id FROM ingest_rejected") == row
        assert await wrong(sql) == []
    await take_poison(sql)
    assert (await retry_row(sql, store, row)).outcome is Outcome.STORED
    found = (await entries(sql))["logs"]
    assert (found.accepted, found.stored) == (3, 3)
    assert await sql.fetchval("SELECT count(*) FROM ingest_rejected") == 0


async def test_items_that_were_refused_after_their_answer_are_not_expected(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "INSERT INTO ingest_receipts (key, signal, accepted, rejected_later) VALUES ($1, 'logs', 5, 5)", os.urandom(16)
    )
    found = (await entries(sql))["logs"]
    assert (found.requests, found.accepted, found.difference) == (1, 0, 0)
