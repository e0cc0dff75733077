"""A change made with curl is in force in other processes without a restart; the times are printed (`pytest -s`)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.config_values import ConfigChange
from tests.support.ares_process import AresProcess, command, environment, running_ares
from tests.support.eventually import eventually
from tests.support.postgres import copied_database

SECONDS = 30.0
"""Deadline of a change; the printed times say how long it takes."""
ONE, TWO = bytes(32).hex(), bytes(range(32)).hex()
LISTENERS = "FROM pg_stat_activity WHERE application_name = 'ares-otel config' AND datname = current_database()"
CANARY = "kanarienvogel-7f3a9c"


@pytest.fixture(scope="module")
def two(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AresProcess, AresProcess]]:
    """Two Ares processes on one database."""
    with (
        copied_database(postgres_server) as url,
        running_ares(tmp_path_factory.mktemp("one"), "--database-url", url) as one,
        running_ares(tmp_path_factory.mktemp("two"), "--database-url", url) as other,
    ):
        yield one, other


@pytest.fixture
async def manager(two: tuple[AresProcess, AresProcess]) -> AsyncIterator[ConfigManager]:
    """A third process's view: this one's."""
    manager = ConfigManager(two[0].database, services=["ares-api", "shop"], poll_seconds=3600)
    await manager.start()
    yield manager
    await manager.stop()


def curl(method: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """One request with the real curl; the answer's JSON."""
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "--fail-with-body",
            "-X",
            method,
            url,
            "-H",
            "content-type: application/json",
            "-d",
            json.dumps(body),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({"NO_PROXY": "*"}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def put(ares: AresProcess, path: str, value: Any, **fields: Any) -> dict[str, Any]:
    body = {"value": value, "updated_by": "alice", "reason": "a test", **fields}
    return curl("PUT", f"{ares.http}/api/v1/config/{path}", body)


def show(what: str, times: list[float]) -> None:
    print(f"\n{what}: median {statistics.median(times) * 1000:.0f} ms, most {max(times) * 1000:.0f} ms, n={len(times)}")


async def said(ares: AresProcess, text: str, times: int = 1) -> None:
    await eventually(lambda: asyncio.sleep(0, ares.stderr.count(text) >= times), seconds=SECONDS, every=0.002)


async def test_a_change_by_curl_is_in_force_in_another_process(
    two: tuple[AresProcess, AresProcess], manager: ConfigManager
) -> None:
    one, other = two
    arrived: asyncio.Queue[tuple[float, ConfigChange]] = asyncio.Queue()
    manager.on_change("retry/limit", lambda change: arrived.put_nowait((time.monotonic(), change)), service="shop")
    from_sending, from_answer = [], []
    for value in range(20):
        sent = time.monotonic()
        await asyncio.to_thread(put, one if value % 2 else other, "shop/retry/limit", value)
        answered = time.monotonic()
        at, change = await asyncio.wait_for(arrived.get(), SECONDS)
        assert (change.new, change.version, change.by) == (value, value + 1, "alice")
        assert manager.get_int("retry/limit", -1, service="shop") == value
        from_sending.append(at - sent)
        from_answer.append(at - answered)
    show("curl started → callback in another process", from_sending)
    show("curl ended → callback in another process", from_answer)


async def test_the_log_level_of_every_process_follows(two: tuple[AresProcess, AresProcess]) -> None:
    times = []
    for round, level in enumerate(["debug", "error", "debug", "info"], 1):
        started = time.monotonic()
        await asyncio.to_thread(put, two[0], "ares-api/logging.level", level)
        line = f"logging.level is now {level}, set by alice."
        await asyncio.gather(*(said(ares, line, 2 if round == 3 else 1) for ares in two))
        times.append(time.monotonic() - started)
    show("curl started → log level in force in two Ares processes", times)


async def test_own_spans_stop_and_begin_again(two: tuple[AresProcess, AresProcess]) -> None:
    one, other = two
    connection = await asyncpg.connect(one.database)

    async def spans() -> int:
        """Spans of the other process's API."""
        query = "SELECT count(*) FROM v_spans WHERE service_name = 'ares-api' AND operation_name = $1"
        return int(await connection.fetchval(query, "GET /api/v1/observability/health"))

    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            (await client.get(f"{other.http}/api/v1/observability/health")).raise_for_status()

    async def all_told() -> bool:
        return await spans() == asked

    async def more_than(before: int) -> bool:
        await ask()
        return await spans() > before

    try:
        await eventually(lambda: more_than(0), seconds=SECONDS)
        await asyncio.to_thread(put, one, "ares-api/logging.trace_enabled", False)
        await said(other, "logging.trace_enabled is now false, set by alice.")
        await eventually(all_told, seconds=SECONDS)  # what was recorded before is on its way for a second or so
        before = await spans()
        for _ in range(5):
            await ask()
        await asyncio.to_thread(put, one, "ares-api/logging.trace_enabled", True)
        await said(other, "logging.trace_enabled is now true, set by alice.")
        await ask()
        await eventually(lambda: grown(spans, before), seconds=SECONDS)
        assert await spans() == before + 1
    finally:
        await connection.close()


async def grown(count: Any, before: int) -> bool:
    return bool(await count() > before)


@pytest.fixture
def quiet(postgres_server: str, tmp_path: Path) -> Iterator[AresProcess]:
    """Ares with a configuration file that wants errors only."""
    default = (Path(__file__).parents[2] / "collector" / "ares.yaml").read_text()
    file = tmp_path / "ares.yaml"
    changed, count = re.subn(r"(logs:\s*\{?\s*level: )info", r"\1error", default, count=1)
    assert count == 1
    file.write_text(changed)
    with (
        copied_database(postgres_server) as url,
        running_ares(tmp_path, "--database-url", url, "--config", str(file)) as ares,
    ):
        yield ares


async def test_what_a_person_sets_wins_over_the_file_and_a_deleted_setting_gives_way_to_it(quiet: AresProcess) -> None:
    assert "is ready" not in quiet.stderr  # the file's level, not the installed default
    await asyncio.to_thread(put, quiet, "ares-api/logging.level", "debug")
    await said(quiet, "logging.level is now debug, set by alice.")
    os.kill(quiet.pid, signal.SIGHUP)
    await said(quiet, "was read again and is in force")
    await asyncio.to_thread(
        curl, "DELETE", f"{quiet.http}/api/v1/config/ares-api/logging.level", {"updated_by": "bob", "reason": "x"}
    )
    await said(quiet, "logging.level is now error")


async def test_a_value_that_makes_no_sense_changes_nothing_whoever_writes_it(
    two: tuple[AresProcess, AresProcess],
) -> None:
    connection = await asyncpg.connect(two[0].database)
    try:
        await connection.execute(
            "UPDATE service_config SET config_value = '\"loud\"' WHERE config_key = 'logging.level'"
        )
        for ares in two:
            await said(
                ares, "of ares-api/logging.level is not used: The value of ares-api/logging.level must be one of"
            )
        answer = await asyncio.to_thread(put, two[0], "ares-api/logging.level", "info")
        assert answer["config_value"] == "info"
    finally:
        await connection.close()


async def test_a_lost_connection_is_made_anew_and_the_change_arrives(two: tuple[AresProcess, AresProcess]) -> None:
    one, other = two
    connection = await asyncpg.connect(one.database)
    try:
        times = []
        for level in ("warn", "debug"):
            await eventually(
                lambda: connection.fetchval(f"SELECT count(*) = 2 {LISTENERS}"), seconds=SECONDS, every=0.01
            )
            await connection.execute(f"SELECT pg_terminate_backend(pid) {LISTENERS}")
            started = time.monotonic()
            await connection.execute(
                "UPDATE service_config SET config_value = to_jsonb($1::text), updated_by = 'psql'"
                " WHERE service_name = 'ares-api' AND config_key = 'logging.level'",
                level,
            )
            await said(other, f"logging.level is now {level}, set by psql.")
            times.append(time.monotonic() - started)
        show("UPDATE while the listeners are gone → log level in force", times)
    finally:
        await connection.close()


async def test_a_secret_is_nowhere_in_plain_text(data_dir: Path, tmp_path: Path) -> None:
    """Nor in any file of the database: tables, WAL, its log."""
    keys = tmp_path / "keys"
    keys.write_text(ONE)
    keys.chmod(0o600)
    texts: list[str] = []
    with running_ares(data_dir, env={"ARES_OTEL_CONFIG_KEY_FILE": str(keys)}) as ares:
        connection = await asyncpg.connect(ares.database)
        await connection.add_listener("ares_config", lambda *notification: texts.append(str(notification)))
        base = f"{ares.http}/api/v1/config"
        await asyncio.to_thread(put, ares, "ares-api/logging.level", "debug")
        async with (
            httpx.AsyncClient(trust_env=False, timeout=30) as client,
            watching(client, f"{base}/shop/watch", texts),
        ):

            async def ask(method: str, path: str, status: int, **body: Any) -> None:
                answer = await client.request(method, base + path, json=body or None)
                assert answer.status_code == status, answer.text
                texts.append(answer.text + str(answer.headers))

            who = {"updated_by": "alice", "reason": "a test"}
            await ask("PUT", "/shop/password", 201, value=CANARY, is_encrypted=True, **who)
            await ask("PUT", "/shop/password", 200, value=[CANARY, 2], **who)
            await ask("PUT", "/shop/password", 200, value=[CANARY, 2], **who)
            await ask("PUT", "/shop/password", 422, value=CANARY, oops=1, **who)
            await ask("PUT", "/ares-api/logging.level", 422, value=CANARY, is_encrypted=True, **who)
            await ask("POST", "/shop/password/rollback", 200, version=1, **who)
            await ask("GET", "/shop", 200)
            await ask("GET", "/shop/password", 200)
            await ask("GET", "/shop/password/history", 200)
            await ask("GET", "/shop/export", 200)
            await ask("DELETE", "/shop/password", 200, **who)
            await ask("PUT", "/shop/password", 201, value=CANARY, is_encrypted=True, **who)
            await eventually(lambda: asyncio.sleep(0, sum("password" in text for text in texts) > 12), seconds=SECONDS)

            # A new key, without a restart: first known, then used, then the only one.
            for lines in ([ONE, TWO], [TWO, ONE]):
                keys.write_text("\n".join(lines))
                read_again = ares.stderr.count("was read again")
                os.kill(ares.pid, signal.SIGHUP)
                await said(ares, "was read again", read_again + 1)
            rotated = await asyncio.to_thread(rotate, data_dir, keys)
            assert "4 current" not in rotated
            assert "1 current and" in rotated
            texts.append(rotated)
            keys.write_text(TWO)
            read_again = ares.stderr.count("was read again")
            os.kill(ares.pid, signal.SIGHUP)
            await said(ares, "was read again", read_again + 1)
            shown = await client.get(f"{base}/shop/password", params={"reveal": "true", "revealed_by": "alice"})
            assert shown.json()["config_value"] == CANARY
            shown = await client.get(f"{base}/shop/password/history", params={"reveal": "true", "revealed_by": "bob"})
            assert shown.text.count(CANARY) > 3

            spans = "SELECT count(*) FROM service_spans WHERE service_name = 'ares-api' AND operation_name LIKE 'PUT %'"
            await eventually(lambda: connection.fetchval(f"{spans} HAVING count(*) >= 7"), seconds=SECONDS)
        await connection.close()
        ares.stop()
        texts.append(ares.stderr)
    assert sum("password" in text for text in texts) > 12  # the net catches something
    assert not [text for text in texts if CANARY in text]
    assert files_with(data_dir, b"a test")  # and here
    assert files_with(data_dir, CANARY.encode()) == []


def rotate(data_dir: Path, keys: Path) -> str:
    done = subprocess.run(
        command("config", "rotate-key", "--data-dir", str(data_dir)),
        env=environment({"ARES_OTEL_CONFIG_KEY_FILE": str(keys)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def files_with(folder: Path, text: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


class watching:
    """Collects the events of a stream while the block runs."""

    def __init__(self, client: httpx.AsyncClient, url: str, texts: list[str]) -> None:
        self._client, self._url, self._texts = client, url, texts

    async def __aenter__(self) -> None:
        open = asyncio.Event()
        self._task = asyncio.create_task(self._read(open))
        await asyncio.wait_for(open.wait(), SECONDS)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self, open: asyncio.Event) -> None:
        async with self._client.stream("GET", self._url, timeout=None) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                open.set()
                self._texts.append(line)
