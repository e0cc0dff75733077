"""Adaptive sampling as a closed loop: clients that obey, the real store, the real settings, and a clock of the test."""

from __future__ import annotations

import random
from typing import Any

import asyncpg
import pytest

from ares_otel.cli.sampling import TelemetrySamplingObserver
from ares_otel.control.sampling.adaptive import LOCK
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, span, trace_request
from tests.support.sampling import Client, Load, Place, sampling_place

INTERVAL = 60.0
TARGET = 10.0
TOLERANCE = 0.35
"""Ten a second: before a step down is answered fifty have come, of which chance makes 14 %."""


@pytest.fixture
async def place(database_url: str) -> Any:
    async with sampling_place(database_url) as place:
        yield place


def on_target(rate: float, target: float = TARGET) -> bool:
    return abs(rate - target) <= TOLERANCE * target


def make_load(store: Store, place: Place, *, tells: bool, poll_seconds: float = 60.0, seed: int = 1) -> Load:
    clients = [
        Client(
            "orders", place, random.Random(seed + number), poll_seconds, tells, offset=poll_seconds * (number + 1) / 3
        )
        for number in range(3)
    ]
    return Load(store, clients, place.job(client_poll=lambda: poll_seconds), INTERVAL)


@pytest.mark.parametrize("tells", [False, True], ids=["chance unknown", "chance on the span"])
async def test_after_a_tenfold_step_it_is_back_on_target_within_three_intervals(
    store: Store, place: Place, tells: bool
) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=tells)
    rates = await load.pass_time({"GET /": 100.0, "POST /": 1000.0}, intervals=5)
    for now in ({"GET /": 1000.0, "POST /": 100.0}, {"GET /": 100.0, "POST /": 1000.0}):
        assert all(map(on_target, rates.values())), rates
        stepped = await load.pass_time(now)
        assert stepped["GET /"] > 3 * TARGET or stepped["POST /"] > 3 * TARGET
        await load.pass_time(now)
        rates = await load.pass_time(now)
        assert all(map(on_target, rates.values())), rates


async def test_a_step_in_the_middle_of_an_interval_is_seen_as_one(store: Store, place: Place) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=False, poll_seconds=10.0)
    await load.pass_time({"GET /": 100.0}, intervals=3.5)
    rates = await load.pass_time({"GET /": 1000.0}, intervals=3)
    assert on_target(rates["GET /"]), rates
    await load.pass_time({"GET /": 1000.0}, intervals=1)
    rates = await load.pass_time({"GET /": 100.0}, intervals=3)
    assert on_target(rates["GET /"]), rates


async def test_under_a_steady_load_it_does_not_swing(store: Store, place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=False)
    await load.pass_time({"GET /": 400.0}, intervals=3)
    last = await sql.fetchval("SELECT max(id) FROM sampling_changes")
    for _ in range(8):
        rates = await load.pass_time({"GET /": 400.0})
        assert on_target(rates["GET /"]), rates
    later = await sql.fetch("SELECT old_probability, new_probability FROM sampling_changes WHERE id > $1", last)
    assert len(later) <= 2
    assert all(0.6 < row["new_probability"] / row["old_probability"] < 1.7 for row in later)


async def test_every_change_is_recorded_with_its_reason(store: Store, place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=False)
    telemetry = Telemetry()
    load.job = place.job(observer=TelemetrySamplingObserver(telemetry))
    await load.pass_time({"GET /": 4000.0}, intervals=3)
    first, *later = await sql.fetch("SELECT * FROM sampling_changes ORDER BY id")
    assert first["old_probability"] is None
    assert first["target_per_second"] == TARGET
    assert first["sampled_per_second"] == pytest.approx(40, rel=0.2)
    assert first["offered_per_second"] == pytest.approx(4000, rel=0.2)
    assert first["new_probability"] == pytest.approx(0.0025, rel=0.2)
    now = await sql.fetchrow("SELECT * FROM sampling_operations")
    assert now["probability"] == (later[-1] if later else first)["new_probability"]
    counted = telemetry.registry.get_sample_value
    assert counted("ares_otel_sampling_changes_total", {"direction": "new"}) == 1
    assert counted("ares_otel_sampling_operations") == counted("ares_otel_sampling_services") == 1
    told = await place.ask("orders")
    assert told["operationSampling"]["perOperationStrategies"] == [
        {"operation": "GET /", "probabilisticSampling": {"samplingRate": now["probability"]}}
    ]


async def test_another_process_goes_on_where_the_first_one_was(
    store: Store, place: Place, sql: asyncpg.Connection
) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=False)
    await load.pass_time({"GET /": 1000.0}, intervals=4)
    changes = await sql.fetchval("SELECT count(*) FROM sampling_changes")
    load.job = place.job()
    rates = await load.pass_time({"GET /": 1000.0}, intervals=2)
    assert on_target(rates["GET /"]), rates
    assert await sql.fetchval("SELECT count(*) FROM sampling_changes") <= changes + 1


async def test_one_process_calculates_at_a_time(place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    await sql.execute("SELECT pg_advisory_lock($1)", LOCK)
    assert not await place.job().run()
    await sql.execute("SELECT pg_advisory_unlock($1)", LOCK)
    assert await place.job().run()


async def test_rules_are_not_adapted(store: Store, place: Place, sql: asyncpg.Connection) -> None:
    rules = [{"operation": "GET /health*", "ratio": 0.5}, {"operation": "*", "kind": "consumer", "ratio": 1}]
    await place.set("orders", target_traces_per_second=TARGET, rules=rules)
    load = make_load(store, place, tells=False)
    await load.pass_time({"GET /health": 1.0, "GET /": 1000.0}, intervals=2)
    names = await sql.fetch("SELECT operation_name FROM sampling_operations")
    assert [row["operation_name"] for row in names] == ["GET /"]


async def test_a_service_that_cannot_be_counted_does_not_stop_the_others(
    store: Store, place: Place, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await place.set("broken", target_traces_per_second=TARGET)
    await place.set("orders", target_traces_per_second=TARGET)
    await sql.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON sampling_operations FOR EACH ROW WHEN (NEW.service_name = 'broken') "
        "EXECUTE FUNCTION refuse()"
    )
    job = place.job()
    both = [
        Load(store, [Client(name, place, random.Random(1))], job, INTERVAL, rounds=name == "orders")
        for name in ("broken", "orders")
    ]
    for _ in range(2):
        for load in both:
            await load.pass_time({"GET /": 500.0})
    names = await sql.fetch("SELECT service_name FROM sampling_operations")
    assert {row["service_name"] for row in names} == {"orders"}
    assert "not now" in caplog.text


async def test_children_and_other_services_are_not_counted(store: Store, place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    now = place.clock.time_ns()
    spans = [span(name="child", start_time_unix_nano=now, end_time_unix_nano=now) for _ in range(50)]
    roots = [span(name="root", start_time_unix_nano=now, end_time_unix_nano=now, parent_span_id=b"")]
    place.clock.advance(70)
    await store.consume(batch_of(trace_request("orders", spans), received_ns=place.clock.time_ns() - 10 * 10**9))
    await store.consume(batch_of(trace_request("stock", roots), received_ns=place.clock.time_ns() - 10 * 10**9))
    await place.job(client_poll=lambda: 0.0).run()
    assert await sql.fetchval("SELECT count(*) FROM sampling_operations") == 0


async def test_a_busy_service_is_looked_at_in_part(store: Store, place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=True)
    load.job = place.job(most_spans=300)
    await load.pass_time({"GET /": 4000.0}, intervals=1)
    found = await sql.fetchrow("SELECT offered_per_second, sampled_per_second FROM sampling_operations")
    assert found["offered_per_second"] == pytest.approx(4000, rel=0.3)


async def test_while_telemetry_waits_in_the_spool_nothing_changes(
    store: Store, place: Place, sql: asyncpg.Connection
) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=False)
    unwell = True
    load.job = place.job(unwell=lambda: unwell)
    await load.pass_time({"GET /": 1000.0}, intervals=3)
    unwell = False
    await load.pass_time({"GET /": 1000.0})
    assert await sql.fetchval("SELECT count(*) FROM sampling_changes") == 0
    await load.pass_time({"GET /": 1000.0})
    assert await sql.fetchval("SELECT count(*) FROM sampling_changes") == 1


async def test_an_operation_that_is_gone_for_an_hour_begins_anew(
    store: Store, place: Place, sql: asyncpg.Connection
) -> None:
    await place.set("orders", target_traces_per_second=TARGET)
    load = make_load(store, place, tells=False)
    await load.pass_time({"GET /": 1000.0}, intervals=2)
    assert await sql.fetchval("SELECT count(*) FROM sampling_operations") == 1
    place.clock.advance(3700)
    await load.job.run()
    assert await sql.fetchval("SELECT count(*) FROM sampling_operations") == 0


async def test_the_lower_bound_is_kept(store: Store, place: Place, sql: asyncpg.Connection) -> None:
    await place.set("orders", target_traces_per_second=1, lower_bound_traces_per_second=8)
    load = make_load(store, place, tells=False)
    rates = await load.pass_time({"GET /": 1000.0}, intervals=5)
    assert on_target(rates["GET /"], 8), rates
    assert (await place.ask("orders"))["operationSampling"]["defaultLowerBoundTracesPerSecond"] == 8
