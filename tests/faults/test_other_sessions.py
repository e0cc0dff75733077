"""Others use the database, too: they hold locks, cause deadlocks, drop partitions and migrate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from ares_otel.model.signal import LOGS, METRICS, TRACES
from tests.faults.support.account import spool_is_empty, spooled
from tests.faults.support.case import Case
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools
from tests.faults.support.oracle import State
from tests.faults.support.raw_sender import RawSender
from tests.faults.support.site import running_site
from tests.support.ares_process import running_ares
from tests.support.eventually import eventually

_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
"""
_DAY_NS = 86_400 * 10**9

# Fails a transaction that stores items of the suite, by number: a sequence counts also what is rolled back. One row in
# each request asks, so that a transaction with one request asks once.
_FAILING = """
CREATE SEQUENCE fault_count;
CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('fault_count') % 3 <> 0 THEN
        RAISE EXCEPTION 'injected' USING ERRCODE = '{state}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fault BEFORE INSERT ON service_spans FOR EACH ROW
    WHEN ((NEW.attributes->>'fault.seq')::bigint % 20 = 0) EXECUTE FUNCTION fault();
"""


async def insists(connection: asyncpg.Connection, statements: str) -> None:
    """Runs statements again when they lose a deadlock: the background job that seals partitions locks tables, too."""

    async def done() -> bool:
        try:
            await connection.execute(statements)
        except asyncpg.DeadlockDetectedError:
            await connection.execute("ROLLBACK")
            return False
        return True

    await eventually(done)


@both_spools
async def test_f12_a_lock_on_the_spans_that_somebody_holds_leaves_the_other_signals_alone(
    case: Case, database_url: str, folder: Path, spool: bool
) -> None:
    async with running_site(folder / "data", database_url, spool=spool) as site:
        blocker = await asyncpg.connect(database_url)
        async with (
            under_load(case.oracle, site.doors, signals=(TRACES,), attempt_seconds=30) as spans,
            under_load(case.oracle, site.doors, signals=(LOGS, METRICS)) as others,
        ):
            await spans.acknowledged(300)
            await insists(blocker, "BEGIN; LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE")
            if spool:
                await eventually(lambda: spooled(site.api), seconds=60)
            else:
                await spans.refused(3)
            await others.acknowledged(1000)
            assert others.refusals == 0, others.answers
            await blocker.execute("ROLLBACK")
            await spans.acknowledged(300)
        await blocker.close()
        await case.ends(database_url, site)


async def test_f12_vacuum_full_under_load_makes_senders_wait_and_no_more(
    case: Case, database_url: str, folder: Path
) -> None:
    async with running_site(folder / "data", database_url) as site:
        other = await asyncpg.connect(database_url)
        async with under_load(case.oracle, site.doors) as load:
            await load.acknowledged(1000)
            for table in ("service_spans", "service_logs", "metric_samples", "ingest_receipts", "metric_series"):
                await insists(other, f"VACUUM FULL {table}")
            await load.acknowledged(300)
        await other.close()
        await case.ends(database_url, site)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("40001", id="serialization failure"),
        pytest.param("40P01", id="deadlock", marks=pytest.mark.long_faults),
    ],
)
async def test_f13_transactions_that_collide_twice_are_tried_again_and_senders_never_know(
    case: Case, database_url: str, folder: Path, state: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(_FAILING.format(state=state))
    async with running_site(folder / "data", database_url) as site:
        # One sender with one request at a time: each transaction asks exactly once.
        async with under_load(case.oracle, site.doors, grpc=1, http=0, signals=(TRACES,), repeat_every=0) as load:
            await load.acknowledged(600)
        assert load.refusals == 0, load.answers
        assert await spooled(site.api) == 0
        assert await connection.fetchval("SELECT last_value FROM fault_count") >= 90
        await insists(connection, "DROP TRIGGER fault ON service_spans")
        await connection.close()
        await case.ends(database_url, site)


async def test_f13_a_real_deadlock_with_another_session_loses_and_doubles_nothing(
    case: Case, database_url: str, folder: Path
) -> None:
    """The other session holds a lock that Ares wants and wants the one that Ares holds, again and again."""
    async with running_site(folder / "data", database_url) as site:
        other, observer = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
        await other.execute("SET deadlock_timeout = '100ms'")

        async def ares_waits() -> bool:
            return bool(await observer.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        async with under_load(case.oracle, site.doors) as load:
            for _ in range(5):
                await load.acknowledged(100)
                await insists(other, "BEGIN; LOCK TABLE service_spans IN SHARE MODE")
                await eventually(ares_waits, every=0.01)  # a transaction that has written its receipts
                with contextlib.suppress(asyncpg.DeadlockDetectedError):
                    await other.execute("LOCK TABLE ingest_receipts IN SHARE MODE")
                await other.execute("ROLLBACK")
            await load.acknowledged(100)
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        await eventually(partial(observer.fetchval, deadlocks))
        await other.close()
        await observer.close()
        await case.ends(database_url, site)


async def test_f16_partitions_detached_in_the_middle_of_the_load_are_attached_again(
    case: Case, database_url: str, folder: Path
) -> None:
    async with running_site(folder / "data", database_url) as site:
        connection = await asyncpg.connect(database_url)
        async with under_load(case.oracle, site.doors) as load:
            for table in ("service_spans", "service_logs", "metric_samples"):
                await load.acknowledged(200)
                name = f"{table}_{time.strftime('%Y%m%d', time.gmtime())}"
                await insists(connection, f"ALTER TABLE {table} DETACH PARTITION {name}")
            await load.acknowledged(600)
        await connection.close()
        await case.ends(database_url, site)


async def test_f23_items_of_senders_whose_clock_is_wrong_are_stored_with_their_own_time(
    case: Case, database_url: str, folder: Path
) -> None:
    now = time.time_ns()
    times = {"late": now - 2 * _DAY_NS, "early": now + 2 * _DAY_NS, "1970": 1, "2262": 2**63 - 1}
    connection = await asyncpg.connect(database_url)
    async with running_site(folder / "data", database_url) as site:
        before = await partitions(connection)
        for name, at in times.items():
            sender = RawSender(case.oracle, site.doors, name, most=6, time_ns=at)
            sender.start()
            await asyncio.to_thread(sender.join, 60)
            assert sender.heard.complaints == []
        assert {told.state for told in case.oracle.requests()} == {State.ACKNOWLEDGED}
        kept = await connection.fetch(
            "SELECT DISTINCT attributes->>'fault.producer' AS name, coalesce(original_time_unix_nano, "
            "extract(epoch FROM start_time) * 1000000000 + start_ns)::numeric(20, 0) AS ns "
            "FROM service_spans WHERE service_name = $1",
            case.oracle.service,
        )
        assert {row["name"]: int(row["ns"]) for row in kept} == times
        assert await partitions(connection) == before, "no partition is made for a wrong clock"
        await connection.close()
        await case.ends(database_url, site)


async def partitions(connection: asyncpg.Connection) -> int:
    """Partitions there are."""
    return int(await connection.fetchval("SELECT count(*) FROM pg_inherits"))


async def test_f17_a_schema_newer_than_the_program_is_refused_at_the_start_with_one_clear_line(
    database_url: str, folder: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES (999, '999_future.sql', 'unknown')"
    )
    await connection.close()
    refused = pytest.raises(AssertionError, match=r"999_future\.sql.*start a newer ares-otel")
    with refused, running_ares(folder / "data", "--database-url", database_url):
        pass


async def test_f17_a_migration_while_ingesting_fails_no_acknowledged_request(
    case: Case, database_url: str, folder: Path
) -> None:
    """What a newer program's migrations do to tables in use: new columns, new indexes, new comments; the older one goes
    on storing, and senders see at most "try again later"."""
    async with running_site(folder / "data", database_url) as site:
        connection = await asyncpg.connect(database_url)
        async with under_load(case.oracle, site.doors) as load:
            for table in ("service_spans", "service_logs", "metric_samples", "ingest_receipts", "otel_resources"):
                await load.acknowledged(100)
                await insists(
                    connection,
                    f"BEGIN; ALTER TABLE {table} ADD COLUMN from_the_future text NOT NULL DEFAULT 'x'; "
                    f"COMMENT ON COLUMN {table}.from_the_future IS 'A newer version uses it'; COMMIT",
                )
            await load.acknowledged(300)
        await connection.close()
        await case.ends(database_url, site)


@pytest.mark.long_faults
async def test_f16_rows_dropped_by_retention_while_they_come_in_fail_no_batch(
    case: Case, database_url: str, folder: Path
) -> None:
    """The oldest partitions go while late items for them come in; those are filed under the time of their receipt."""
    late = time.time_ns() - 2 * _DAY_NS
    async with running_site(folder / "data", database_url) as site:
        connection = await asyncpg.connect(database_url)
        async with under_load(case.oracle, site.doors, time_ns=late) as load:
            for table in ("service_spans", "service_logs", "metric_samples"):
                await load.acknowledged(100)
                name = f"{table}_{time.strftime('%Y%m%d', time.gmtime(late / 1e9))}"
                await insists(connection, f"ALTER TABLE {table} DETACH PARTITION {name}")
                await insists(connection, f"ALTER TABLE {name} RENAME TO {name}_archive")

                async def made_anew(name: str = name) -> bool:
                    return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name))

                await eventually(made_anew)  # by the next rows that want it
            await load.acknowledged(300)
        # They are archived, not lost: for the comparison they come back.
        for table in ("service_spans", "service_logs", "metric_samples"):
            name = f"{table}_{time.strftime('%Y%m%d', time.gmtime(late / 1e9))}"
            columns = await connection.fetchval(_COLUMNS, table)  # a partition has them in an order of its own
            await connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {name}_archive")
        await connection.close()
        await spool_is_empty(site.api)
        await case.ends(database_url, site)
