"""Strategies follow the settings of all services, from memory, whatever names are asked for."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ares_otel.cli.options import UpOptions
from ares_otel.cli.sampling import Sampling
from ares_otel.control.sampling import facts, strategies
from ares_otel.control.sampling.settings import SamplingSettings
from ares_otel.model.errors import AddressInUse
from ares_otel.pipeline.grace import Grace, Stages
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.managed_config import arrives, managed
from tests.support.sampling import Place, put, sampling_place

RATIO = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 0.25}}
DEFAULT = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 1.0}}


@pytest.fixture
async def place(database_url: str) -> Any:
    async with sampling_place(database_url) as place:
        yield place


def operations(document: dict[str, Any]) -> dict[str, float]:
    listed = document["operationSampling"]["perOperationStrategies"]
    return {one["operation"]: one["probabilisticSampling"]["samplingRate"] for one in listed}


async def seen(sql: asyncpg.Connection, service: str, *names: str, kind: str = "server") -> None:
    await sql.executemany(
        "INSERT INTO service_operations (service_name, operation_name, kind, first_seen, last_seen) "
        "VALUES ($1, $2, $3, now(), now())",
        [(service, name, kind) for name in names],
    )


async def test_settings_come_go_and_come_back(place: Place) -> None:
    assert await place.ask("orders") == DEFAULT
    await place.set("orders", ratio=0.25)
    assert await place.ask("orders") == RATIO
    await place.set("orders", ratio=None, max_traces_per_second=5)
    assert (await place.ask("orders"))["rateLimitingSampling"] == {"maxTracesPerSecond": 5}
    await place.set("orders", max_traces_per_second=None)
    assert await place.ask("orders") == DEFAULT


async def test_the_default_is_a_setting(place: Place) -> None:
    place.default_ratio = 0.001
    place.strategies.default_changed()
    assert (await place.ask("nobody"))["probabilisticSampling"] == {"samplingRate": 0.001}
    await place.set("orders", rules=[{"operation": "GET /health", "ratio": 0}])
    assert (await place.ask("orders"))["operationSampling"]["defaultSamplingProbability"] == 0.001


async def test_a_wrong_value_is_said_once_and_the_last_good_one_stays(
    place: Place, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await place.set("orders", ratio=0.25)
    with caplog.at_level(logging.WARNING):
        await put(sql, "orders", "sampling.ratio", "a lot")
        await place.set("orders", max_traces_per_second=None, target_traces_per_second=None)
        await place.set("stock", ratio=0.5)  # by now the one before has been looked at
        await place.set("orders", lower_bound_traces_per_second=0)
    assert await place.ask("orders") == RATIO
    said = [record.message for record in caplog.records if "orders/sampling.ratio" in record.message]
    assert len(said) == 1
    assert said[0].startswith("Version 2 of orders/sampling.ratio is not used: The value of orders/sampling.ratio ")
    await place.set("orders", ratio=0.5)
    assert (await place.ask("orders"))["probabilisticSampling"] == {"samplingRate": 0.5}


async def test_encrypted_settings_are_not_told(
    place: Place, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    envelope = {"alg": "AES-256-GCM", "kid": "k", "nonce": "n", "ct": "c"}
    with caplog.at_level(logging.WARNING):
        await put(sql, "orders", "sampling.ratio", envelope, encrypted=True)
        await place.set("stock", ratio=0.5)
    assert await place.ask("orders") == DEFAULT
    assert sum("it is encrypted" in record.message for record in caplog.records) == 1


async def test_a_value_that_is_too_large_is_not_read(place: Place, sql: asyncpg.Connection) -> None:
    await put(sql, "orders", "sampling.rules", ["x" * 300_000])
    await place.set("orders", ratio=0.25)
    assert await place.ask("orders") == RATIO


async def test_rules_are_resolved_for_the_operations_that_are_known(place: Place, sql: asyncpg.Connection) -> None:
    await seen(sql, "orders", "GET /orders", "GET /health/live", "POST /orders")
    await seen(sql, "orders", "poll", kind="consumer")
    await seen(sql, "stock", "GET /stock")
    rules = [
        {"operation": "GET /health*", "ratio": 0},
        {"operation": "GET *", "ratio": 0.5},
        {"operation": "*", "ratio": 0.1, "kind": "consumer"},
        {"operation": "never seen", "ratio": 0.2},
    ]
    await place.set("orders", ratio=0.3, rules=rules)
    document = await place.ask("orders")
    assert operations(document) == {"GET /orders": 0.5, "GET /health/live": 0.0, "poll": 0.1, "never seen": 0.2}
    assert document["operationSampling"]["defaultSamplingProbability"] == 0.3


async def test_operations_that_appear_are_told_when_somebody_asks_again(place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", rules=[{"operation": "GET *", "ratio": 0.5}])
    assert operations(await place.ask("orders")) == {}
    await seen(sql, "orders", "GET /orders")
    place.clock.advance(strategies.REFRESH + 1)

    async def told() -> bool:
        return operations(await place.ask("orders")) == {"GET /orders": 0.5}

    await eventually(told, every=0.01)


async def test_another_process_tells_what_one_has_calculated(place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=1)
    await place.ask("orders")
    await sql.execute(
        "INSERT INTO sampling_operations (service_name, operation_name, probability, changed_at, least_in_use, "
        "most_in_use, last_seen) VALUES ('orders', 'GET /', 0.03, now(), 0.03, 0.03, now())"
    )
    place.clock.advance(strategies.REFRESH + 1)

    async def told() -> bool:
        return operations(await place.ask("orders")) == {"GET /": 0.03}

    await eventually(told, every=0.01)


async def test_what_was_read_before_a_change_does_not_undo_it(
    place: Place, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.set("orders", rules=[{"operation": "GET *", "ratio": 0.5}])
    assert operations(await place.ask("orders")) == {}
    find, has_read, goes_on = facts.find, asyncio.Event(), asyncio.Event()

    async def slow(pool: asyncpg.Pool, services: Collection[str]) -> Any:
        found = await find(pool, services)
        has_read.set()
        await goes_on.wait()
        return found

    monkeypatch.setattr(facts, "find", slow)
    slow_read = asyncio.create_task(place.strategies.reload(["orders"]))
    await has_read.wait()
    monkeypatch.setattr(facts, "find", find)
    await seen(sql, "orders", "GET /orders")
    await place.strategies.reload(["orders"])
    goes_on.set()
    await slow_read
    assert operations(await place.ask("orders")) == {"GET /orders": 0.5}


async def test_asking_creates_nothing(place: Place, sql: asyncpg.Connection) -> None:
    hostile = ["", "\0", "'; DROP TABLE service_config; --", "é" * 255, "😀", "x" * 60_000, "%00", "../..", "\u202e"]
    for name in [*hostile[1:], *(f"invented {number}" for number in range(500))]:
        assert await place.strategies.sampling_strategy(name) is await place.strategies.sampling_strategy("nobody")
        assert await place.ask(name) == DEFAULT
    assert not place.strategies._known
    assert not place.strategies._simple
    assert await sql.fetchval("SELECT count(*) FROM service_operations") == 0


async def test_ten_thousand_services_are_followed_and_one_change_is_one(
    place: Place, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "MAX_SERVICES", 100)
    await sql.execute(
        "INSERT INTO service_config (service_name, config_key, config_value) "
        "SELECT 'service ' || n, 'sampling.ratio', to_jsonb(n / 10000.0) FROM generate_series(1, 10000) n"
    )
    await eventually(lambda: asyncio.sleep(0, len(place.settings._services) == 10_000), every=0.02)
    for number in (1, 5000, 10_000):
        ratio = (await place.ask(f"service {number}"))["probabilisticSampling"]["samplingRate"]
        assert ratio == number / 10_000
    changed: list[str] = []
    told = place.settings.on_change

    def note(names: Collection[str]) -> None:
        changed.extend(names)
        told(names)

    place.settings.on_change = note
    await place.set("service 77", ratio=0.5)
    assert changed == ["service 77"]
    for number in range(300):
        await place.strategies.sampling_strategy(f"service {number + 1}")
    assert len(place.strategies._simple) == 100


async def test_while_the_database_is_away_what_is_known_is_told(place: Place, sql: asyncpg.Connection) -> None:
    await seen(sql, "orders", "GET /orders")
    rules = [{"operation": "GET *", "ratio": 0.5}, {"operation": "exact", "ratio": 0.1}]
    await place.set("orders", rules=rules)
    await place.set("stock", rules=rules)
    assert "GET /orders" in operations(await place.ask("orders"))
    await place.pool.close()
    place.clock.advance(strategies.REFRESH + 1)
    assert operations(await place.ask("orders")) == {"exact": 0.1, "GET /orders": 0.5}
    assert operations(await place.ask("stock")) == {"exact": 0.1}


async def test_a_database_that_was_made_anew_is_read_anew(place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", ratio=0.25)
    place.settings._seen = 10**9  # what was seen is not in this database
    place.settings._wake.set()
    await place.set("stock", ratio=0.5)
    assert await place.ask("orders") == RATIO


@pytest.mark.parametrize("query", ["", "service=", "service", "services=a", "service=a&service=b", "service=a&" * 200])
async def test_a_question_without_exactly_one_service_is_400(place: Place, query: str) -> None:
    for path in ("/sampling", "/api/sampling"):
        answer = await place.http.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")
        assert "exactly once" in answer.text


async def test_other_paths_and_methods_are_not_served(place: Place) -> None:
    assert (await place.http.get("/")).status_code == 404
    assert (await place.http.post("/sampling?service=a")).status_code == 405


async def test_without_notifications_changes_are_found_by_looking(place: Place, sql: asyncpg.Connection) -> None:
    settings = SamplingSettings(place.connect, listens=False, poll_seconds=0.05)
    await settings.start()
    try:
        await put(sql, "orders", "sampling.ratio", 0.25)
        await eventually(lambda: asyncio.sleep(0, settings.of("orders").ratio == 0.25), every=0.01)
    finally:
        await settings.stop()


async def test_settings_are_followed_again_when_the_database_is_back(place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", ratio=0.25)
    await sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    assert await place.ask("orders") == RATIO
    await put(sql, "orders", "sampling.ratio", 0.5)

    async def told() -> bool:
        return bool((await place.ask("orders"))["probabilisticSampling"]["samplingRate"] == 0.5)

    await eventually(told, every=0.01)


async def test_settings_of_ares_steer_the_job(
    database_url: str, store: Store, place: Place, sql: asyncpg.Connection
) -> None:
    async with managed(database_url, services=["ares-api"]) as manager:
        sampling = Sampling(place.pool, store, manager, Telemetry(), pooled=False)
        assert (sampling.job._interval(), sampling.job._client_poll()) == (60, 60)
        await put(sql, "ares-api", "sampling.interval_seconds", 7)
        await put(sql, "ares-api", "sampling.client_poll_seconds", 8)
        await arrives(manager, "sampling.client_poll_seconds", 8)
        assert (sampling.job._interval(), sampling.job._client_poll()) == (7, 8)
        assert not sampling.job._unwell()
        for breaker in store.breakers.values():
            breaker.trip("The test says so.")
        assert sampling.job._unwell()


async def test_where_the_default_port_is_taken_ares_goes_on_without(
    database_url: str, store: Store, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    grace = Grace(1)
    async with managed(database_url, services=["ares-api"]) as manager, Stages(grace) as stack:
        sampling = Sampling(place.pool, store, manager, Telemetry(), pooled=False)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            options = UpOptions(Path(), Path(), sampling_port=taken.getsockname()[1])
            assert await sampling.open_door(options, grace, stack) == {}
            assert "--sampling-port 0 takes any free port" in capsys.readouterr().err
            with pytest.raises(AddressInUse):
                await sampling.open_door(replace(options, given=frozenset({"sampling_port"})), grace, stack)
