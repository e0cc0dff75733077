"""The schema: applied once, by whoever comes first, and described down to the last column."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from ares_otel.model.errors import StartError
from ares_otel.storage.migrate import migrate, migration_states, read_migrations
from ares_otel.storage.partitions import AHEAD, PAST, ensure_partitions, list_partitions, read_windows
from ares_otel.storage.rows.encoded import PARTITIONED

pytestmark = pytest.mark.every_server


DEFAULTS = {
    ("ares-api", "eventbus.type"): '"memory"',
    ("ares-api", "eventbus.redis_url"): '"localhost:6379"',
    ("ares-api", "service.heartbeat_interval"): "30",
    ("ares-api", "service.health_check_timeout"): "5",
    ("ares-api", "logging.level"): '"info"',
    ("ares-api", "logging.trace_enabled"): "true",
    ("agent-coordinator", "task.max_concurrent"): "5",
    ("agent-coordinator", "task.retry_count"): "3",
    ("agent-coordinator", "polling_interval"): "5",
}


async def test_every_migration_is_applied_in_order_and_only_once(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    first = await migrate(connection)
    assert [m.version for m in first] == list(range(1, len(read_migrations()) + 1))
    assert {"008_service_config.sql", "009_enhanced_observability.sql"} <= {m.name for m in first}
    assert await migrate(connection) == []
    assert all(state.applied_at for state in await migration_states(connection))
    await connection.close()


async def test_processes_that_migrate_at_the_same_time_apply_each_file_once(empty_database_url: str) -> None:
    connections = [await asyncpg.connect(empty_database_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection) for connection in connections))
    versions = sorted(migration.version for part in applied for migration in part)
    assert versions == list(range(1, len(read_migrations()) + 1))
    for connection in connections:
        await connection.close()


async def test_an_applied_file_that_was_changed_is_an_error(empty_database_url: str, tmp_path: Path) -> None:
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one ();")
    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection, read_migrations(tmp_path))
    (tmp_path / "001_one.sql").write_text("CREATE TABLE two ();")
    with pytest.raises(StartError, match=r"001_one\.sql was changed"):
        await migrate(connection, read_migrations(tmp_path))
    await connection.close()


async def test_a_database_that_is_newer_than_the_program_is_an_error(empty_database_url: str, tmp_path: Path) -> None:
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one ();")
    (tmp_path / "002_two.sql").write_text("CREATE TABLE two ();")
    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection, read_migrations(tmp_path))
    (tmp_path / "002_two.sql").unlink()
    with pytest.raises(StartError, match=r"002_two\.sql, which this version of ares-otel does not know"):
        await migrate(connection, read_migrations(tmp_path))
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url: str, tmp_path: Path) -> None:
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one (); SELECT 1/0;")
    connection = await asyncpg.connect(empty_database_url)
    with pytest.raises(StartError, match=r"001_one\.sql failed: division by zero"):
        await migrate(connection, read_migrations(tmp_path))
    assert await connection.fetchval("SELECT to_regclass('one') IS NULL AND to_regclass('schema_migrations') IS NULL")
    await connection.close()


@pytest.mark.parametrize("names", [["1_one.sql"], ["001_one.sql", "003_three.sql"], ["001_a.sql", "001_b.sql"]])
def test_badly_numbered_files_are_an_error(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(StartError):
        read_migrations(tmp_path)


async def test_every_table_view_and_column_has_a_comment(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    partitions = [partition.name for partition in await list_partitions(connection)]
    missing = await connection.fetch(
        """
        SELECT c.relname, a.attname
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relname = ANY ($1)
          AND a.attnum > 0 AND NOT a.attisdropped
          AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
        """,
        partitions,
    )
    assert missing == []
    await connection.close()


async def test_the_nine_defaults_are_installed_with_their_history(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT * FROM service_config")
    assert {(row["service_name"], row["config_key"]): row["config_value"] for row in rows} == DEFAULTS
    assert all(row["version"] == 1 and row["updated_by"] == "system" and row["description"] for row in rows)
    history = await connection.fetch("SELECT * FROM service_config_history")
    assert {(row["service_name"], row["config_key"]): row["new_value"] for row in history} == DEFAULTS
    await connection.close()


async def test_partitions_are_there_before_they_are_needed(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    partitions = await list_partitions(connection)
    assert {table: sum(p.table == table for p in partitions) for table in PARTITIONED} == dict.fromkeys(
        PARTITIONED, PAST + 1 + AHEAD
    )
    assert await ensure_partitions(connection) == []
    windows = await read_windows(connection)
    days = {table: (window.end_ns - window.start_ns) / 86_400e9 for table, window in windows.items()}
    assert days == dict.fromkeys(PARTITIONED, PAST + 1 + AHEAD)
    await connection.close()


async def test_processes_that_make_partitions_at_the_same_time_do_not_collide(empty_database_url: str) -> None:
    connections = [await asyncpg.connect(empty_database_url) for _ in range(4)]
    await migrate(connections[0])
    made = await asyncio.gather(*(ensure_partitions(connection) for connection in connections))
    names = [name for part in made for name in part]
    assert len(names) == len(set(names)) == len(PARTITIONED) * (PAST + 1 + AHEAD)
    for connection in connections:
        await connection.close()


class TestInsertIntoServiceMetrics:
    async def test_a_person_can_insert_a_gauge_and_read_it_back(self, database_url: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value, labels, timestamp) "
            "VALUES ('shop', 'queue.length', 'gauge', 3, '{\"queue\": \"mail\"}', now()), "
            "('shop', 'queue.length', 'gauge', 4, '{\"queue\": \"mail\"}', now())"
        )
        rows = await connection.fetch("SELECT * FROM service_metrics ORDER BY metric_value")
        assert [row["metric_value"] for row in rows] == [3.0, 4.0]
        assert rows[0]["labels"] == '{"queue": "mail"}'
        assert rows[0]["id"] != rows[1]["id"]
        assert await connection.fetchval("SELECT count(*) FROM metric_series") == 1
        await connection.close()

    async def test_a_type_without_a_single_value_is_refused_with_a_reason(self, database_url: str) -> None:
        connection = await asyncpg.connect(database_url)
        with pytest.raises(asyncpg.PostgresError, match="histogram cannot be inserted here"):
            await connection.execute(
                "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value) "
                "VALUES ('shop', 'x', 'histogram', 1)"
            )
        await connection.close()
