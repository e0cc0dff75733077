"""`ares-otel partitions …` and `/api/v1/partitions`, on a real database."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import CollectorRegistry

from ares_otel.api import partition_models
from ares_otel.api.app import create_app
from ares_otel.query.partitions import Partitions
from ares_otel.storage.partitions.jobs import mark_leaving
from ares_otel.storage.partitions.lock import RETENTION
from ares_otel.storage.partitions.plan import Removal
from ares_otel.storage.partitions.settings import RetentionSettings, SealSettings
from tests.support.ares_process import run_ares
from tests.support.eventually import eventually
from tests.support.partitions import Keeper, make_partition, name_of, names
from tests.support.stored_rows import insert, insert_log

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database_url: str) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_ares(["partitions", *arguments], env={"ARES_OTEL_DATABASE_URL": database_url})

    return run


def said(result: subprocess.CompletedProcess[str], status: int = 0) -> str:
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


async def setting(sql: asyncpg.Connection, key: str, value: Any) -> None:
    await insert(sql, "service_config", service_name="ares-api", config_key=key, config_value=json.dumps(value))


async def test_ls_shows_state_size_and_what_is_next(run: Run, sql: asyncpg.Connection) -> None:
    await make_partition(sql, "service_spans", 20)
    await setting(sql, "retention.traces.days", 25)
    text = said(run("ls"))
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert " closed " in lines[name_of("service_spans", 20)]
    assert " open " in lines[name_of("service_spans", 0)]
    assert " ahead " in lines[name_of("service_spans", -2)]
    assert f"next: drop {name_of('service_spans', 20)} at " in text
    assert "(age)" in text
    assert f"next: make {name_of('service_spans', -4)} at " in text
    listing = json.loads(said(run("ls", "--json")))
    assert partition_models.PartitionList.model_validate(listing).bytes > 0


async def test_seal_builds_what_is_named(run: Run, sql: asyncpg.Connection) -> None:
    name = name_of("service_logs", 1)
    assert said(run("seal", name)) == f"{name} is sealed.\n"
    assert await sql.fetchval("SELECT sealed_at IS NOT NULL FROM partition_jobs WHERE partition_name = $1", name)
    await setting(sql, "seal.grace_hours", 0)
    await setting(sql, "seal.pause_seconds", 0)
    sealed = json.loads(said(run("seal", "--json")))["sealed"]
    assert len(sealed) == 8


async def test_drop_asks_and_archives_when_that_is_set(run: Run, sql: asyncpg.Connection, tmp_path: Path) -> None:
    old = await make_partition(sql, "service_logs", 10, rows=2)
    other = await make_partition(sql, "service_logs", 9, rows=2)
    refused = run("drop", old.name)
    assert refused.returncode == 1
    assert "1 partitions would be dropped, and not archived; add --yes to do it." in refused.stderr
    assert old.name in await names(sql)
    assert json.loads(said(run("drop", old.name, "--yes", "--json"))) == {"dropped": [old.name], "left": []}
    assert old.name not in await names(sql)
    pytest.importorskip("pyarrow")
    await setting(sql, "retention.archive_directory", str(tmp_path))
    said(run("drop", "--older-than", "5", "--yes"))
    assert other.name not in await names(sql)
    assert (tmp_path / f"{other.name}.parquet").exists()


async def test_what_is_open_is_not_dropped_and_wrong_names_are_said(run: Run, sql: asyncpg.Connection) -> None:
    for arguments, expected in (
        (("drop", name_of("service_logs", 0), "--yes"), "is not closed"),
        (("drop", "nothing", "--yes"), "There is no partition nothing; `ares-otel partitions ls` shows those"),
        (("drop", "--yes"), "Name partitions, or give --older-than DAYS"),
        (("drop", "x", "--older-than", "3"), "Name partitions, or give --older-than DAYS"),
    ):
        result = run(*arguments)
        assert result.returncode == 1
        assert expected in result.stderr
        assert "Traceback" not in result.stderr


async def test_export_writes_files_and_drops_nothing(run: Run, sql: asyncpg.Connection, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    await insert_log(sql)
    old = await make_partition(sql, "service_logs", 10, rows=2)
    today = name_of("service_logs", 0)
    files = json.loads(said(run("export", today, "--to", str(tmp_path), "--json")))["files"]
    assert files == [{"partition_name": today, "file": str(tmp_path / f"{today}.parquet"), "rows": 1}]
    said(run("export", "--older-than", "8", "--to", str(tmp_path)))
    assert (tmp_path / f"{old.name}.parquet").exists()
    assert old.name in await names(sql)
    result = run("export", today, "--to", str(tmp_path / "none"))
    assert result.returncode == 1
    assert "does not exist; create it" in result.stderr


async def test_run_does_what_is_due_now(run: Run, sql: asyncpg.Connection) -> None:
    old = await make_partition(sql, "service_logs", 40, rows=2)
    said(run("run"))
    assert await sql.fetchval("SELECT leaving_reason FROM partition_jobs WHERE partition_name = $1", old.name) == "age"
    await sql.execute("UPDATE partition_jobs SET leaving_since = now() - interval '2 minutes'")
    listing = json.loads(said(run("run", "--json")))
    assert old.name not in [row["partition_name"] for row in listing["partitions"]]


async def test_a_command_waits_until_another_process_is_done(run: Run, sql: asyncpg.Connection) -> None:
    old = await make_partition(sql, "service_logs", 10)
    await sql.execute("SELECT pg_advisory_lock($1)", RETENTION)
    sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    before = await sql.fetchval(sessions)
    dropping = asyncio.create_task(asyncio.to_thread(run, "drop", old.name, "--yes", "--json"))

    async def asked_twice() -> bool:
        """It connects once to check the database, and anew whenever it asks for its turn."""
        return bool(await sql.fetchval(sessions) >= before + 3)

    await eventually(asked_twice)
    assert old.name in await names(sql)
    await sql.execute("SELECT pg_advisory_unlock_all()")
    assert json.loads(said(await dropping)) == {"dropped": [old.name], "left": []}


class TestRest:
    async def answer(self, database_url: str, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The answer and the OpenAPI document."""

        async def ready() -> list[str]:
            return []

        async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as pool:
            partitions = Partitions(
                pool, retention=lambda: RetentionSettings(**settings), seal=lambda: SealSettings(grace_hours=24)
            )
            app = create_app(pool, version="1", registry=CollectorRegistry(), ready=ready, partitions=partitions)
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                answer = await client.get("/api/v1/partitions")
                assert answer.status_code == 200, answer.text
                return answer.json(), (await client.get("/openapi.json")).json()

    @pytest.mark.every_server
    async def test_it_lists_partitions_in_every_state(self, database_url: str, sql: asyncpg.Connection) -> None:
        old = await make_partition(sql, "service_logs", 12, rows=1)
        gone = await make_partition(sql, "service_logs", 13, rows=1)
        keeper = Keeper(database_url)
        await keeper.seal(grace_hours=24)
        await mark_leaving(sql, [Removal(old, "age"), Removal(gone, "bytes")])
        await sql.execute(f"ALTER TABLE service_logs DETACH PARTITION {gone.name}")
        body, document = await self.answer(database_url, days=10)
        listing = partition_models.PartitionList.model_validate(body)
        states = {row.partition_name: row.state for row in listing.partitions}
        assert states[old.name] == "leaving"
        assert states[gone.name] == "detached"
        assert states[name_of("service_logs", 2)] == "sealed"
        assert states[name_of("service_logs", 1)] == "closed"
        assert states[name_of("service_logs", 0)] == "open"
        assert states[name_of("service_logs", -1)] == "ahead"
        assert listing.bytes == sum(row.bytes for row in listing.partitions) > 0
        following = {action.action: action for action in listing.next}
        assert following["drop"].partition_name == gone.name
        assert following["drop"].reason == "bytes"
        assert following["seal"].partition_name == name_of("metric_distributions", 1)
        assert following["make"].partition_name == name_of("service_spans", -4)
        assert "/api/v1/partitions" in document["paths"]

    async def test_settings_decide_what_is_next(self, database_url: str, sql: asyncpg.Connection) -> None:
        body, _ = await self.answer(database_url, days=0)
        assert [action["action"] for action in body["next"] if action["action"] != "make"] == ["seal"]
        assert all(row["due_at"] is None for row in body["partitions"])
        body, _ = await self.answer(database_url, days=3, archive_directory="/archive")
        assert "archive and drop" in [action["action"] for action in body["next"]]

    def test_the_example_is_an_answer(self) -> None:
        partition_models.PartitionList.model_validate(partition_models.EXAMPLE)
