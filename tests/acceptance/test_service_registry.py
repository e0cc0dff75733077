"""The registry of running Ares processes: several on one database, one of them killed, another started."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from tests.support.ares_process import running_ares
from tests.support.eventually import eventually
from tests.support.registry import health_server, history

REGISTRY = "/api/v1/registry"


async def test_services_of_two_processes_live_and_die_once(database_url: str, tmp_path: Path) -> None:
    flags = ("--database-url", database_url, "--probe-allow-local")
    async with (
        health_server() as server,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        asyncpg.create_pool(database_url, min_size=0, max_size=2) as pool,
    ):

        async def status(base: str, id: int) -> dict[str, Any]:
            answer = await client.get(f"{base}{REGISTRY}/{id}")
            row: dict[str, Any] = answer.raise_for_status().json()
            return row

        with running_ares(tmp_path / "one", *flags) as one, running_ares(tmp_path / "two", *flags) as two:
            await pool.execute(
                "UPDATE service_config SET config_value = '1' "
                "WHERE config_key IN ('service.heartbeat_interval', 'service.health_check_timeout')"
            )
            service = {"name": "orders", "version": "1.4.2", "port": server.port, "health_url": server.url("/ok")}
            answer = await client.post(one.http + REGISTRY, json=service)
            assert answer.status_code == 201, answer.text
            id = answer.json()["id"]
            answer = await client.post(two.http + REGISTRY, json=service)
            assert (answer.status_code, answer.json()["id"]) == (200, id)

            async def asked() -> bool:
                return len(server.seen) >= 3

            await eventually(asked)
            silent = (await client.post(two.http + REGISTRY, json={"name": "silent"})).json()["id"]

            async def silent_is_offline() -> bool:
                return bool((await status(one.http, silent))["status"] == "offline")

            await eventually(silent_is_offline)

            async def lives() -> bool:
                return bool((await status(two.http, id))["status"] == "online")

            await eventually(lives)
            assert await history(pool, "silent") == [(None, "online"), ("online", "offline")]
            one.kill()  # in the middle of whatever it was doing
            before = len(server.seen)

            async def asked_by_the_other() -> bool:
                return len(server.seen) >= before + 2

            await eventually(asked_by_the_other)
            await eventually(lives)
            await pool.execute("UPDATE service_registry SET health_url = $1 WHERE id = $2", server.url("/error"), id)

            async def is_offline() -> bool:
                row = await status(two.http, id)
                return bool(row["status"] == "offline" and row["last_probe_error"])

            await eventually(is_offline)
            with running_ares(tmp_path / "three", *flags) as three:
                answer = await client.put(f"{three.http}{REGISTRY}/{id}/heartbeat", json={"metadata": {"back": True}})
                assert answer.json()["status"] == "degraded", "its health check still fails"
                health = (await client.get(f"{two.http}/api/v1/observability/health")).json()["services"]
                said = {row["service_name"]: row["status"] for row in health}
                assert said["silent"] == "offline"
                assert said["orders"] in ("degraded", "offline")
        kept = await history(pool, "orders")
        # On a machine that is too busy to ask in time a service may seem to be gone for a moment; but no change is
        # told twice, and none is left out.
        assert kept[0] == (None, "online")
        assert {("degraded", "offline"), ("offline", "degraded")} & set(kept)
        assert all(old != new for old, new in kept)
        assert all(earlier[1] == later[0] for earlier, later in pairwise(kept))
        counted = await pool.fetchval("SELECT count(*) FROM service_status_history WHERE service_name = 'silent'")
        assert counted == 2
