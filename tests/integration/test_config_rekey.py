"""Encrypting everything anew under a new key, while processes go on."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from ares_otel.control.config_values import ConfigChange
from ares_otel.control.crypto import Keyring
from ares_otel.control.rekey import rekey
from tests.support.managed_config import arrives, managed, put

ONE, TWO = Keyring(bytes(32)), Keyring(bytes(range(32)))
BOTH = Keyring(bytes(range(32)), [bytes(32)])


async def test_everything_is_encrypted_anew_while_a_process_goes_on_and_again_changes_nothing(
    database_url: str, sql: asyncpg.Connection
) -> None:
    told: list[ConfigChange] = []
    for number in range(120):
        await put(sql, f"key{number}", ONE.encrypt("shop", f"key{number}", number), encrypted=True)
    await put(sql, "key0", ONE.encrypt("shop", "key0", "new"), encrypted=True)
    await put(sql, "plain", 5)
    await put(sql, "lost", Keyring(b"x" * 32).encrypt("shop", "lost", 1), encrypted=True)
    before = await sql.fetch("SELECT config_key, version, updated_by, last_updated FROM service_config ORDER BY id")
    async with managed(database_url, keyring=BOTH) as manager:
        manager.on_change("*", told.append)
        report = await rekey(sql, BOTH)
        assert (report.current, report.history) == (120, 122)  # 121 new values and one old
        assert len(report.failed) == 2
        assert all("shop/lost is encrypted with the key" in sentence for sentence in report.failed)
        again = await rekey(sql, BOTH)
        assert (again.current, again.history) == (0, 0)
        await put(sql, "plain", 6)
        await arrives(manager, "plain", 6)
        assert manager.get_json("key7") == 7
    assert [change.key for change in told] == ["plain"]
    assert (
        before[:120]
        == (await sql.fetch("SELECT config_key, version, updated_by, last_updated FROM service_config ORDER BY id"))[
            :120
        ]
    )
    async with managed(database_url, keyring=TWO) as manager:  # without the old key
        assert manager.get_json("key0") == "new"
        assert manager.get_json("key119") == 119


async def test_encrypting_anew_goes_on_where_it_was_broken_off(database_url: str, sql: asyncpg.Connection) -> None:
    for number in range(250):
        await put(sql, f"key{number}", ONE.encrypt("shop", f"key{number}", number), encrypted=True)

    def break_off(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rekey(sql, BOTH, progress=break_off)
    report = await rekey(sql, BOTH)
    assert (report.current, report.history) == (150, 250)


async def test_edits_while_everything_is_encrypted_anew_are_not_lost(
    database_url: str, sql: asyncpg.Connection
) -> None:
    for number in range(50):
        await put(sql, f"key{number}", ONE.encrypt("shop", f"key{number}", 0), encrypted=True)
    other = await asyncpg.connect(database_url)

    async def edit() -> None:
        for number in range(50):
            await put(other, f"key{number}", ONE.encrypt("shop", f"key{number}", 1), encrypted=True)

    await asyncio.gather(rekey(sql, BOTH), edit())
    await other.close()
    await rekey(sql, BOTH)
    async with managed(database_url, keyring=TWO) as manager:
        assert [manager.get_json(f"key{number}") for number in range(50)] == [1] * 50
