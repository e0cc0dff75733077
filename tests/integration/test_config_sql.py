"""Edits with plain SQL are versioned, recorded and announced like all others; edits at the same time lose nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from ares_otel.control.config import Author, Condition, ConfigService
from ares_otel.control.config.changes import CHANNEL
from ares_otel.control.config.errors import ConfigBusy, PreconditionFailed
from tests.support.eventually import eventually

pytestmark = pytest.mark.every_server


async def history(sql: asyncpg.Connection, key: str) -> list[tuple[Any, ...]]:
    rows = await sql.fetch(
        "SELECT version, old_value, new_value, changed_by, change_reason FROM service_config_history "
        "WHERE config_key = $1 ORDER BY version",
        key,
    )
    return [tuple(row) for row in rows]


async def test_an_insert_an_update_and_a_delete_are_versions_by_the_sessions_user(sql: asyncpg.Connection) -> None:
    await sql.execute("INSERT INTO service_config (service_name, config_key, config_value) VALUES ('s', 'k', '1')")
    await sql.execute("UPDATE service_config SET config_value = '2' WHERE config_key = 'k'")
    await sql.execute("DELETE FROM service_config WHERE config_key = 'k'")
    await sql.execute("INSERT INTO service_config (service_name, config_key, config_value) VALUES ('s', 'k', '3')")
    user = await sql.fetchval("SELECT session_user")
    assert await history(sql, "k") == [
        (1, None, "1", user, None),
        (2, "1", "2", user, None),
        (3, "2", None, user, None),
        (4, None, "3", user, None),
    ]
    assert await sql.fetchval("SELECT version FROM service_config WHERE config_key = 'k'") == 4


async def test_an_edit_says_who_by_its_column_or_by_a_setting_and_why_by_a_setting(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "INSERT INTO service_config (service_name, config_key, config_value, updated_by) "
        "VALUES ('s', 'k', '1', 'alice')"
    )
    await sql.execute("UPDATE service_config SET config_value = '2', updated_by = 'alice' WHERE config_key = 'k'")
    async with sql.transaction():
        await sql.execute("SET LOCAL ares.changed_by = 'bob'; SET LOCAL ares.change_reason = 'slow'")
        await sql.execute("UPDATE service_config SET config_value = '3' WHERE config_key = 'k'")
        await sql.execute("UPDATE service_config SET config_value = '4', updated_by = 'carol' WHERE config_key = 'k'")
        await sql.execute("DELETE FROM service_config WHERE config_key = 'k'")
    assert [row[3:] for row in await history(sql, "k")] == [
        ("alice", None),
        ("alice", None),
        ("bob", "slow"),
        ("carol", "slow"),
        ("bob", "slow"),
    ]


async def test_what_the_triggers_keep_cannot_be_set_by_hand(sql: asyncpg.Connection) -> None:
    before = await sql.fetchrow("SELECT * FROM service_config WHERE config_key = 'polling_interval'")
    await sql.execute(
        "UPDATE service_config SET version = 99, created_at = 'epoch', last_updated = 'epoch', updated_by = 'x' "
        "WHERE config_key = 'polling_interval'"
    )
    assert await sql.fetchrow("SELECT * FROM service_config WHERE config_key = 'polling_interval'") == before
    await sql.execute(
        "UPDATE service_config SET version = 99, created_at = 'epoch', config_value = '6' "
        "WHERE config_key = 'polling_interval'"
    )
    after = await sql.fetchrow("SELECT * FROM service_config WHERE config_key = 'polling_interval'")
    assert (after["version"], after["created_at"]) == (2, before["created_at"])
    assert after["last_updated"] > before["last_updated"]


async def test_a_renamed_key_is_a_deletion_and_a_creation(sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE service_config SET config_key = 'pause' WHERE config_key = 'polling_interval'")
    assert [row[:3] for row in await history(sql, "polling_interval")] == [(1, None, "5"), (2, "5", None)]
    assert [row[:3] for row in await history(sql, "pause")] == [(1, None, "5")]


async def test_a_statement_over_many_rows_makes_a_version_of_each(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "INSERT INTO service_config (service_name, config_key, config_value) "
        "SELECT 's', 'k' || n, to_jsonb(n) FROM generate_series(1, 500) n"
    )
    await sql.execute("UPDATE service_config SET config_value = '0' WHERE service_name = 's'")
    await sql.execute(
        "INSERT INTO service_config (service_name, config_key, config_value) "
        "SELECT 's', 'k' || n, to_jsonb(n) FROM generate_series(1, 501) n "
        "ON CONFLICT (service_name, config_key) DO UPDATE SET config_value = excluded.config_value"
    )
    versions = await sql.fetch("SELECT version, count(*) FROM service_config WHERE service_name = 's' GROUP BY 1")
    assert {tuple(row) for row in versions} == {(3, 500), (1, 1)}
    assert await sql.fetchval("SELECT count(*) FROM service_config_history WHERE service_name = 's'") == 1501


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE service_config",
        "TRUNCATE service_config_history",
        "DELETE FROM service_config_history",
        "UPDATE service_config_history SET changed_by = 'nobody'",
        "SET ares.rekey = 'on'; UPDATE service_config_history SET changed_by = 'nobody'",
        "UPDATE service_config SET is_encrypted = true WHERE config_key = 'polling_interval'",
    ],
)
async def test_what_would_leave_no_true_record_is_refused_with_what_to_do_instead(
    sql: asyncpg.Connection, statement: str
) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await sql.execute(statement)
    assert refused.value.hint


async def test_a_role_that_may_only_edit_settings_is_recorded_too(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON service_config TO PUBLIC; "
        "CREATE TEMP TABLE service_config_history (x int)"
    )
    await sql.execute("DO $$ BEGIN CREATE ROLE ares_guest; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    await sql.execute("SET ROLE ares_guest")
    await sql.execute("UPDATE service_config SET config_value = '6' WHERE config_key = 'polling_interval'")
    await sql.execute("RESET ROLE; DROP TABLE pg_temp.service_config_history")
    assert len(await history(sql, "polling_interval")) == 2


async def test_a_change_is_announced_when_it_is_committed_without_its_value(
    sql: asyncpg.Connection, database_url: str
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener(CHANNEL, lambda *arguments: heard.append(arguments[-1]))
    async with sql.transaction():
        await sql.execute("UPDATE service_config SET config_value = '\"canary\"' WHERE config_key = 'logging.level'")
        await sql.execute("UPDATE service_config SET config_value = '\"canary\"' WHERE config_key = 'logging.level'")
    await sql.execute("DELETE FROM service_config WHERE config_key = 'logging.level'")

    async def both() -> bool:
        return len(heard) == 2

    await eventually(both, every=0.02)
    told = [json.loads(text) for text in heard]
    assert [(one["service"], one["key"], one["version"]) for one in told] == [
        ("ares-api", "logging.level", 2),
        ("ares-api", "logging.level", 3),
    ]
    ids = await sql.fetch("SELECT id FROM service_config_history WHERE config_key = 'logging.level' ORDER BY id")
    assert [one["id"] for one in told] == [row["id"] for row in ids][1:]
    assert "canary" not in "".join(heard)
    await listener.close()


@pytest.mark.embedded_server
async def test_thousands_of_edits_of_one_key_at_the_same_time_lose_nothing(
    sql: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares_otel.control.config.database.ACQUIRE_SECONDS", 150.0)  # the last one waits for all others
    monkeypatch.setattr("ares_otel.control.config.database.LOCK_SECONDS", 150)
    values = list(range(2000))
    async with (
        asyncpg.create_pool(database_url, min_size=0, max_size=3) as one,
        asyncpg.create_pool(database_url, min_size=0, max_size=3) as other,
    ):
        services = [ConfigService(pool) for pool in (one, other)]
        results = await asyncio.gather(
            *(services[value % 2].put("s", "k", value, Author(f"writer {value}")) for value in values)
        )
    assert sorted(result.setting.version for result in results) == list(range(1, 2001))
    rows = await history(sql, "k")
    assert [row[0] for row in rows] == list(range(1, 2001))
    assert sorted(int(row[2]) for row in rows) == values
    assert [row[1] for row in rows] == [None, *(row[2] for row in rows[:-1])]
    assert all(row[3] == f"writer {row[2]}" for row in rows)


async def test_counting_up_by_if_match_loses_no_step(sql: asyncpg.Connection, database_url: str) -> None:
    """What a counter over a REST client does: read, add one, write if nobody was faster, else again."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as pool:
        service = ConfigService(pool)
        await service.put("s", "n", 0, Author("a"))

        async def add_one() -> None:
            while True:
                now = await service.get("s", "n")
                try:
                    condition = Condition(versions=[now.version])
                    await service.put("s", "n", int(now.config_value) + 1, Author("a"), condition=condition)
                    return
                except PreconditionFailed:
                    continue

        await asyncio.gather(*(add_one() for _ in range(20)))
        assert (await service.get("s", "n")).config_value == "20"


async def test_edits_in_opposite_order_do_not_lock_each_other_out(database_url: str) -> None:
    connections = [await asyncpg.connect(database_url) for _ in range(4)]

    async def edit(connection: asyncpg.Connection, keys: list[str]) -> None:
        for number in range(10):
            async with connection.transaction():
                for key in keys:
                    await connection.execute(
                        "UPDATE service_config SET config_value = to_jsonb($1::int) WHERE config_key = $2", number, key
                    )

    keys = ["polling_interval", "task.retry_count"]
    await asyncio.gather(*(edit(c, keys[:: 1 if n % 2 else -1]) for n, c in enumerate(connections)))
    for connection in connections:
        await connection.close()


async def test_ids_of_changes_are_in_the_order_of_their_commits(database_url: str) -> None:
    slow, fast, reader = [await asyncpg.connect(database_url) for _ in range(3)]
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute("UPDATE service_config SET config_value = '6' WHERE config_key = 'polling_interval'")
    behind = asyncio.create_task(
        fast.execute("UPDATE service_config SET config_value = '7' WHERE config_key = 'task.retry_count'")
    )
    pid = fast.get_server_pid()

    async def waits() -> bool:
        locks = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = 'advisory' AND NOT granted"
        return bool(await reader.fetchval(locks, pid))

    async with asyncio.timeout(20):
        while not await waits():
            assert not behind.done()
    newest = "SELECT config_key FROM service_config_history ORDER BY id DESC LIMIT 1"
    assert await reader.fetchval(newest) not in ("polling_interval", "task.retry_count") or not behind.done()
    await transaction.commit()
    await behind
    ids = await reader.fetch("SELECT config_key FROM service_config_history ORDER BY id DESC LIMIT 2")
    assert [row["config_key"] for row in ids] == ["task.retry_count", "polling_interval"]
    for connection in (slow, fast, reader):
        await connection.close()


async def test_an_edit_that_somebody_else_does_not_finish_is_said_so(
    sql: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares_otel.control.config.database.LOCK_SECONDS", 0.2)
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as pool:
        service = ConfigService(pool)
        async with sql.transaction():
            await sql.execute("UPDATE service_config SET config_value = '6' WHERE config_key = 'polling_interval'")
            with pytest.raises(ConfigBusy):
                await service.put("s", "k", 1, Author("a"))
        assert (await service.put("s", "k", 1, Author("a"))).outcome == "created"
