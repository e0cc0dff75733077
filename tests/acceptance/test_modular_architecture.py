"""The whole of the modular architecture over HTTP alone, as a person with curl goes through it: configuration, hot
reload, history, events, registry, health, logs, metrics, performance, trace. With the bus in memory, and over Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.otlp_samples import log_record, logs_request, metrics_request, span, trace_request
from tests.support.postgres import copied_database
from tests.support.redis import needs_redis, redis_server

DEFAULTS = {
    "eventbus.type": "memory",
    "eventbus.redis_url": "localhost:6379",
    "service.heartbeat_interval": 30,
    "service.health_check_timeout": 5,
    "logging.level": "info",
    "logging.trace_enabled": True,
}


@pytest.fixture(scope="module", params=["memory", pytest.param("redis", marks=needs_redis)])
def ares(
    request: pytest.FixtureRequest, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AresProcess]:
    """A running Ares whose bus is of the kind that the test's name says."""
    folder = tmp_path_factory.mktemp("modular")
    with copied_database(postgres_server) as url, running_ares(folder, "--database-url", url) as ares:
        if request.param == "memory":
            yield ares
        else:
            with redis_server() as redis:
                with httpx.Client(trust_env=False, base_url=ares.http) as client:
                    for key, value in (("eventbus.redis_url", redis.url), ("eventbus.type", "redis")):
                        body = {"value": value, "updated_by": "admin"}
                        client.put(f"/api/v1/config/ares-api/{key}", json=body).raise_for_status()
                yield ares


@pytest.fixture
async def client(ares: AresProcess) -> Any:
    async with httpx.AsyncClient(trust_env=False, base_url=ares.http, timeout=30) as client:
        yield client


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["ares"])


async def send(ares: AresProcess, signal: str, message: Any) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{ares.otlp_http}/v1/{signal}",
            content=message.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )
        assert answer.status_code == 200


async def test_the_bus_is_the_one_that_the_setting_names(client: httpx.AsyncClient, bus: str) -> None:
    async def active() -> bool:
        state = (await client.get("/api/v1/events")).raise_for_status().json()
        return bool(state["mode"] == bus and state["healthy"])

    await eventually(active)


async def test_all_settings_of_a_service_and_one_of_them(client: httpx.AsyncClient, bus: str) -> None:
    answer = (await client.get("/api/v1/config/ares-api")).raise_for_status().json()
    assert answer["service_name"] == "ares-api"
    values = {entry["config_key"]: entry["config_value"] for entry in answer["configs"]}
    assert values.keys() == DEFAULTS.keys()
    assert values["eventbus.type"] == bus
    one = (await client.get("/api/v1/config/agent-coordinator/task.max_concurrent")).raise_for_status()
    assert one.json()["config_value"] == 5
    assert one.headers["etag"] == '"1"'


async def test_a_setting_is_changed_while_running_with_who_and_why_on_record(client: httpx.AsyncClient) -> None:
    path = "/api/v1/config/ares-api/logging.level"
    before = (await client.get(path)).json()["version"]
    body = {"value": "debug", "updated_by": "admin", "reason": "Troubleshooting production issue"}
    changed = (await client.put(path, json=body)).raise_for_status().json()
    assert (changed["config_value"], changed["version"]) == ("debug", before + 1)
    newest = (await client.get(f"{path}/history")).raise_for_status().json()["history"][0]
    assert newest["new_value"] == "debug"
    assert newest["changed_by"] == "admin"
    assert newest["change_reason"] == "Troubleshooting production issue"
    back = {"version": before, "updated_by": "admin", "reason": "done"}
    undone = (await client.post(f"{path}/rollback", json=back)).raise_for_status().json()
    assert undone["version"] == before + 2
    assert undone["config_value"] == newest["old_value"]


async def test_a_changed_log_level_is_in_force_without_a_restart(
    ares: AresProcess, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ares says on standard error which of its settings changed, once it obeys."""
    body = {"value": "debug", "updated_by": "somebody"}
    started = time.monotonic()
    (await client.put("/api/v1/config/ares-api/logging.level", json=body)).raise_for_status()

    async def said() -> bool:
        return "logging.level is now debug, set by somebody" in ares.stderr

    await eventually(said, every=0.005)
    with capsys.disabled():
        print(f"\na changed setting was in force after {time.monotonic() - started:.3f} s")
    restored = {"value": "info", "updated_by": "admin"}
    (await client.put("/api/v1/config/ares-api/logging.level", json=restored)).raise_for_status()


async def test_a_wrong_value_of_a_known_setting_is_refused_with_the_reason(client: httpx.AsyncClient) -> None:
    body = {"value": "carrier pigeon", "updated_by": "admin"}
    answer = await client.put("/api/v1/config/ares-api/eventbus.type", json=body)
    assert answer.status_code == 422
    assert "memory" in answer.text


async def test_a_service_registers_beats_and_shows_in_system_health(client: httpx.AsyncClient) -> None:
    body = {"name": "trader", "version": "2.1", "port": 9000, "instance_id": "a", "metadata": {"desk": "fx"}}
    row = (await client.post("/api/v1/registry", json=body)).raise_for_status().json()
    (await client.put(f"/api/v1/registry/{row['id']}/heartbeat")).raise_for_status()
    listed = (await client.get("/api/v1/registry", params={"name": "trader"})).raise_for_status().json()["services"]
    assert [(service["version"], service["status"]) for service in listed] == [("2.1", "online")]
    health = (await client.get("/api/v1/observability/health")).raise_for_status().json()["services"]
    mine = next(service for service in health if service["service_name"] == "trader")
    assert mine["status"] == "online"
    assert mine["seconds_since_heartbeat"] < 60
    assert any(service["service_name"] == "ares-api" and service["status"] == "online" for service in health)


async def test_a_shorter_heartbeat_interval_does_not_make_ares_miss_its_own_beats(
    ares: AresProcess, client: httpx.AsyncClient
) -> None:
    key = "/api/v1/config/ares-api/service.heartbeat_interval"
    connection = await asyncpg.connect(ares.database)

    async def beat() -> datetime:
        query = "SELECT last_registration_heartbeat FROM service_registry WHERE name = 'ares-api'"
        found = await connection.fetchval(query)
        assert isinstance(found, datetime)
        return found

    for seconds in (3600, 1):
        (await client.put(key, json={"value": seconds, "updated_by": "admin"})).raise_for_status()
    for _ in range(4):
        last = await beat()

        async def again(last: datetime = last) -> bool:
            return await beat() > last

        await eventually(again)
    (await client.put(key, json={"value": 30, "updated_by": "admin"})).raise_for_status()
    query = "SELECT DISTINCT new_status FROM service_status_history WHERE service_name = 'ares-api'"
    assert [row[0] for row in await connection.fetch(query)] == ["online"]
    await connection.close()


async def test_an_event_reaches_a_listener_and_a_trade_is_kept_in_the_audit(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/api/v1/events/trade.*") as stream:
        lines = stream.aiter_lines()

        async def first_data() -> str:
            async for line in lines:
                if line.startswith("data:"):
                    return line
            raise AssertionError("the stream ended")

        order = {"symbol": "BTC-USD", "amount": 1.5, "at": datetime.now(UTC).isoformat()}
        posted = (await client.post("/api/v1/events/trade.executed", json=order)).raise_for_status().json()
        line = await first_data()
    assert posted["id"] in line or "BTC-USD" in line
    topics = (await client.get("/api/v1/events")).raise_for_status().json()["topics"]
    assert "trade.executed" in [topic["topic"] for topic in topics]


async def test_one_trace_shows_its_spans_logs_and_figures(ares: AresProcess, client: httpx.AsyncClient) -> None:
    root = span(name="POST /trades")
    child = span(name="INSERT trades", trace_id=root.trace_id, parent_span_id=root.span_id)
    await send(ares, "traces", trace_request("trade-desk", [root, child]))
    record = log_record(trace_id=root.trace_id, span_id=root.span_id)
    await send(ares, "logs", logs_request("trade-desk", [record]))
    await send(ares, "metrics", metrics_request("trade-desk"))
    api = "/api/v1/observability"
    trace = (await client.get(f"{api}/trace/{root.trace_id.hex()}")).raise_for_status().json()
    assert [found["operation_name"] for found in trace["spans"]] == ["POST /trades", "INSERT trades"]
    assert [found["depth"] for found in trace["spans"]] == [0, 1]
    assert len(trace["logs"]) == 1
    by_trace = {"trace_id": root.trace_id.hex(), "service": "trade-desk", "limit": "10"}
    assert len((await client.get(f"{api}/logs", params=by_trace)).raise_for_status().json()["logs"]) == 1
    metrics = (await client.get(f"{api}/metrics", params={"service": "trade-desk", "hours": 1})).raise_for_status()
    assert metrics.json()["metrics"]
    performance = (await client.get(f"{api}/performance", params={"service": "trade-desk"})).raise_for_status().json()
    assert {found["operation_name"] for found in performance["operations"]} == {"POST /trades", "INSERT trades"}


async def test_a_setting_is_deleted_and_its_history_stays(client: httpx.AsyncClient) -> None:
    path = "/api/v1/config/trader/limits/daily"
    body = {"value": {"usd": 10_000}, "updated_by": "admin"}
    assert (await client.put(path, json=body)).status_code == 201
    gone = await client.delete(path, params={"updated_by": "admin", "reason": "no limits"})
    assert gone.is_success
    assert (await client.get(path)).status_code == 404
    history = (await client.get(f"{path}/history")).raise_for_status().json()["history"]
    assert [entry["version"] for entry in history] == [2, 1]
    assert history[0]["new_value"] is None
