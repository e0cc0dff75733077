"""A process's view of its settings, against a real server: fresh, never older than it was, and never gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.control.config.schema import problem_of
from ares_otel.control.config_values import ConfigChange, Entry
from ares_otel.control.crypto import Keyring
from tests.support.eventually import eventually
from tests.support.managed_config import arrives, managed, put
from tests.support.postgres import copied_database

ONE, TWO = Keyring(bytes(32)), Keyring(bytes(range(32)))
BOTH = Keyring(bytes(range(32)), [bytes(32)])


@pytest.fixture(scope="module")
def module_database(postgres_server: str) -> Iterator[str]:
    with copied_database(postgres_server) as url:
        yield url


async def test_the_defaults_of_ares_are_there_after_the_start(database_url: str) -> None:
    async with managed(database_url, services=["ares-api", "agent-coordinator"]) as manager:
        assert manager.get_int("service.heartbeat_interval", 0) == 30
        assert manager.get_string("logging.level", "") == "info"
        assert manager.get_bool("logging.trace_enabled", False) is True
        assert manager.get_float("polling_interval", 0.0, service="agent-coordinator") == 5.0
        assert manager.version("logging.level") == 1
        assert manager.get_int("no.such.key", 7) == 7
        with pytest.raises(ValueError, match="does not follow other"):
            manager.get_int("x", 1, service="other")


async def test_a_change_by_anybody_arrives_by_notification_with_its_version(
    database_url: str, sql: asyncpg.Connection
) -> None:
    await put(sql, "limit", 1)
    async with managed(database_url) as manager:
        assert manager.get_int("limit", 0) == 1
        await put(sql, "limit", 2)
        await arrives(manager, "limit", 2)
        assert manager.version("limit") == 2
        assert manager.revision == 2


async def test_many_processes_see_a_change(database_url: str, sql: asyncpg.Connection) -> None:
    async with managed(database_url) as one, managed(database_url) as two, managed(database_url) as three:
        await put(sql, "limit", {"a": [1, 2]})
        for manager in (one, two, three):
            await arrives(manager, "limit", {"a": [1, 2]})


async def test_callbacks_get_old_and_new_and_a_failing_one_hurts_nobody(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    sync: list[ConfigChange] = []
    later: list[ConfigChange] = []

    async def slowly(change: ConfigChange) -> None:
        await asyncio.sleep(0)
        later.append(change)

    def fails(change: ConfigChange) -> None:
        raise RuntimeError(f"cannot take {change.new}")

    async with managed(database_url) as manager:
        manager.on_change("db.*", fails)
        manager.on_change("db.*", sync.append)
        manager.on_change("db.pool/size", slowly)
        await put(sql, "db.pool/size", "hush-1")
        await eventually(lambda: asyncio.sleep(0, len(later) == 1), every=0.01)
        await put(sql, "db.pool/size", "hush-2")
        await put(sql, "other", "hush-3")
        await eventually(lambda: asyncio.sleep(0, len(later) == 2), every=0.01)
    told = [(change.key, change.old, change.new, change.version, change.created, change.by) for change in sync]
    assert told == [
        ("db.pool/size", None, "hush-1", 1, True, "alice"),
        ("db.pool/size", "hush-1", "hush-2", 2, False, "alice"),
    ]
    assert later == sync
    assert "fails failed with RuntimeError on the change of shop/db.pool/size" in caplog.text
    assert "hush" not in caplog.text + repr(sync)


async def test_a_cancelled_callback_is_not_called_any_more(database_url: str, sql: asyncpg.Connection) -> None:
    told: list[ConfigChange] = []
    async with managed(database_url) as manager:
        manager.on_change("*", told.append).cancel()
        await put(sql, "limit", 1)
        await arrives(manager, "limit", 1)
    assert told == []


async def test_while_a_callback_is_busy_the_changes_of_a_key_become_one(
    database_url: str, sql: asyncpg.Connection
) -> None:
    told: list[tuple[Any, Any]] = []
    free = asyncio.Event()

    async def busy(change: ConfigChange) -> None:
        told.append((change.old, change.new))
        await free.wait()

    async with managed(database_url) as manager:
        manager.on_change("limit", busy)
        for value in range(1, 6):
            await put(sql, "limit", value)
            await arrives(manager, "limit", value)
        free.set()
        await eventually(lambda: asyncio.sleep(0, len(told) == 2), every=0.01)
    assert told == [(None, 1), (1, 5)]


async def test_a_deleted_key_gives_the_default_and_tells_and_comes_back_with_a_later_version(
    database_url: str, sql: asyncpg.Connection
) -> None:
    told: list[ConfigChange] = []
    await put(sql, "limit", 1)
    async with managed(database_url) as manager:
        manager.on_change("limit", told.append)
        await sql.execute("DELETE FROM service_config WHERE service_name = 'shop'")
        await eventually(lambda: asyncio.sleep(0, bool(told)), every=0.01)
        assert (told[0].old, told[0].new, told[0].deleted) == (1, None, True)
        assert manager.get_int("limit", 9) == 9
        await put(sql, "limit", 2)
        await arrives(manager, "limit", 2)
        assert manager.version("limit") == 3


async def test_without_notifications_polling_finds_the_change(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with managed(database_url, listen=False, poll_seconds=0.1) as manager:
            await put(sql, "limit", 1)
            await arrives(manager, "limit", 1)
            await put(sql, "limit", 2)
            await arrives(manager, "limit", 2)
    assert caplog.text.count("notifications do not pass") == 1


async def test_a_change_behind_the_back_of_the_triggers_is_found_by_polling(
    database_url: str, sql: asyncpg.Connection
) -> None:
    async with managed(database_url, poll_seconds=0.1) as manager:
        async with sql.transaction():
            await sql.execute("SET LOCAL session_replication_role = replica")  # no trigger, hence no notification
            await sql.execute(
                "INSERT INTO service_config (service_name, config_key, config_value, updated_by)"
                " VALUES ('shop', 'limit', '1', 'bob')"
            )
        await arrives(manager, "limit", 1)


async def test_a_lost_listener_comes_back_and_misses_nothing(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with managed(database_url) as manager:
        for value in range(3):
            killed = await sql.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'ares-otel config' AND datname = current_database()"
            )
            assert killed == 1
            await put(sql, "limit", value)
            await arrives(manager, "limit", value)


async def test_a_dead_database_leaves_the_last_values_and_is_said_once(
    database_url: str, sql: asyncpg.Connection, postgres_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    await put(sql, "limit", 1)
    name = await sql.fetchval("SELECT current_database()")
    async with managed(database_url, poll_seconds=0.1) as manager:
        admin = await asyncpg.connect(postgres_server)
        try:
            with caplog.at_level(logging.INFO):
                await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = $1 AND datname = $2",
                    "ares-otel config",
                    name,
                )
                await eventually(lambda: asyncio.sleep(0, "last known values" in caplog.text), every=0.01)
                assert not manager.connected
                assert manager.get_int("limit", 0) == 1
                await put(sql, "limit", 2)
                assert manager.get_int("limit", 0) == 1
                await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
                await arrives(manager, "limit", 2)
        finally:
            await admin.close()
    assert caplog.text.count("last known values") == 1
    assert caplog.text.count("is read from the database again") == 1


async def test_without_a_database_at_the_start_the_defaults_are_in_force(caplog: pytest.LogCaptureFixture) -> None:
    async with managed("postgresql://127.0.0.1:1/none") as manager:
        assert manager.get_int("limit", 5) == 5
        assert manager.age_seconds == float("inf")
    assert "The configuration cannot be read" in caplog.text


async def test_a_value_of_the_wrong_type_keeps_the_last_good_one_and_is_said_once_a_version(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await put(sql, "limit", 3)
    async with managed(database_url) as manager:
        await put(sql, "limit", "much")
        await arrives(manager, "limit", "much")
        assert [manager.get_int("limit", 0) for _ in range(3)] == [3, 3, 3]
        assert caplog.text.count("Version 2 of shop/limit is not used: it is not a whole number") == 1
        assert manager.get_string("limit", "") == "much"
        await put(sql, "limit", "more")
        await arrives(manager, "limit", "more")
        assert manager.get_int("limit", 0) == 3
        assert caplog.text.count("is not used") == 2
        await put(sql, "limit", 4)
        await arrives(manager, "limit", 4)
        assert manager.get_int("limit", 0) == 4


async def test_a_value_that_a_known_key_cannot_hold_does_not_come_into_force(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with managed(database_url, services=["ares-api"], check=problem_of) as manager:
        await put(sql, "logging.level", "loud", service="ares-api")
        await eventually(lambda: asyncio.sleep(0, "ares-api/logging.level" in caplog.text), every=0.01)
        assert manager.get_string("logging.level", "") == "info"
        assert manager.version("logging.level") == 1
        await put(sql, "logging.level", "warn", service="ares-api")
        await arrives(manager, "logging.level", "warn")
    assert caplog.text.count("must be one of debug, info, warn, error") == 1


async def test_a_value_that_no_key_opens_keeps_the_old_one_and_everything_else_works(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with managed(database_url, keyring=ONE) as manager:
        await put(sql, "password", ONE.encrypt("shop", "password", "canary-1"), encrypted=True)
        await arrives(manager, "password", "canary-1")
        await put(sql, "password", TWO.encrypt("shop", "password", "canary-2"), encrypted=True)
        await put(sql, "limit", 1)
        await arrives(manager, "limit", 1)
        assert manager.get_string("password", "") == "canary-1"
        assert f"encrypted with the key {TWO.current_id}" in caplog.text
        await put(sql, "password", ONE.encrypt("shop", "other", "canary-3"), encrypted=True)
        await eventually(lambda: asyncio.sleep(0, "does not open" in caplog.text), every=0.01)
        assert manager.get_string("password", "") == "canary-1"
    assert "canary" not in caplog.text


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.integers())


@settings(max_examples=100, deadline=None)
@given(st.lists(scalars, min_size=1, max_size=6))
def test_a_getter_gives_the_last_value_that_fits(values: list[Any]) -> None:
    entry = Entry(values[0], 1)
    for version, value in enumerate(values[1:], 2):
        entry = entry.followed_by(value, version)
    whole = [v for v in values if (isinstance(v, int) and not isinstance(v, bool))]
    texts = [v for v in values if isinstance(v, str)]
    flags = [v for v in values if isinstance(v, bool)]
    assert entry.read("a string") == (texts[-1] if texts else None, isinstance(values[-1], str))
    assert entry.read("true or false") == (flags[-1] if flags else None, isinstance(values[-1], bool))
    number = entry.read("a whole number")[0]
    assert number is None or isinstance(number, int)
    if not any(isinstance(v, float) for v in values):
        assert number == (whole[-1] if whole else None)


@settings(max_examples=25, deadline=None)
@given(
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40),
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.c/", max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_any_key_and_any_value_arrive_as_they_are(module_database: str, key: str, value: Any) -> None:
    async def round_trip() -> None:
        sql = await asyncpg.connect(module_database)
        try:
            await put(sql, key, value)
            async with managed(module_database, keyring=ONE) as manager:
                assert manager.get_json(key, "missing") == value
                await put(sql, key, ONE.encrypt("shop", key, [value]), encrypted=True)
                await arrives(manager, key, [value])
        finally:
            await sql.close()

    asyncio.run(round_trip())
