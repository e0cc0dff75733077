"""Who is online, degraded or offline, and that every change is told once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ares_otel.control.heartbeats import Heartbeats
from ares_otel.control.registry import InvalidService, Registration, Registry, ServiceId, ServiceNotFound
from ares_otel.eventbus import create_event_bus
from ares_otel.model.bus import Event
from ares_otel.storage.rows.encoded import ServiceSeen
from tests.support.eventually import eventually
from tests.support.registry import Recorded, age, history

pytestmark = pytest.mark.every_server
BEAT = 30.0
MISSED = 3 * BEAT + 1


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8) as made:
        yield made


@pytest.fixture
def bus() -> Recorded:
    return Recorded()


class Ears:
    """A clock of a process that has listened for long."""

    def time_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return self.now

    now = 0.0


@pytest.fixture
async def registry(pool: asyncpg.Pool, bus: Recorded) -> AsyncIterator[Registry]:
    made = long_listening(pool, bus)
    yield made
    await made.stop()


def long_listening(pool: asyncpg.Pool, bus: Recorded) -> Registry:
    clock = Ears()
    made = Registry(pool, interval=lambda: BEAT, bus=bus, clock=clock)
    clock.now = 3600.0
    return made


async def sends(pool: asyncpg.Pool, registry: Registry, *names: str) -> None:
    heartbeats = Heartbeats(pool, interval=registry.interval, announcer=registry.announcer)
    await heartbeats.start()
    heartbeats.seen(ServiceSeen(name, "", "1.0", "", "") for name in names)
    await heartbeats.stop()


async def test_a_service_that_falls_silent_is_offline_after_three_missed_heartbeats(
    pool: asyncpg.Pool, registry: Registry, bus: Recorded
) -> None:
    row, _ = await registry.register(Registration("orders"))
    await registry.heartbeat(ServiceId(row.id))
    await age(pool, "orders", 2.9 * BEAT)
    assert await registry.run_pass() == 0
    await age(pool, "orders", BEAT)
    assert await registry.run_pass() == 1
    assert await registry.run_pass() == 0
    row = await registry.get(ServiceId(row.id))
    assert (row.status, row.status_reason) == ("offline", "Nothing was heard of it for three heartbeat intervals.")
    assert row.signs_summary == "is silent altogether"
    await registry.heartbeat(ServiceId(row.id))
    assert (await registry.get(ServiceId(row.id))).status == "online"
    assert await history(pool, "orders") == [(None, "online"), ("online", "offline"), ("offline", "online")]
    await registry.stop()
    assert bus.topics("orders") == ["service.online", "service.offline", "service.online"]
    assert len({id for _, _, id in bus.events}) == 3


async def test_registering_and_telemetry_bring_a_service_back_at_once(
    pool: asyncpg.Pool, registry: Registry, bus: Recorded
) -> None:
    await registry.register(Registration("a"))
    await sends(pool, registry, "b")
    for name in ("a", "b"):
        await age(pool, name, 1000)
    assert await registry.run_pass() == 2
    _, created = await registry.register(Registration("a"))
    assert not created
    await sends(pool, registry, "b")
    await registry.stop()
    for name in ("a", "b"):
        assert bus.topics(name) == ["service.online", "service.offline", "service.online"]


async def test_what_only_sends_may_be_silent_for_five_minutes(pool: asyncpg.Pool, registry: Registry) -> None:
    await sends(pool, registry, "quiet")
    await age(pool, "quiet", 290)
    assert await registry.run_pass() == 0
    await age(pool, "quiet", 20)
    assert await registry.run_pass() == 1
    assert await history(pool, "quiet") == [(None, "online"), ("online", "offline")]


async def test_a_service_whose_heartbeats_stop_while_it_sends_is_degraded(
    pool: asyncpg.Pool, registry: Registry
) -> None:
    row, _ = await registry.register(Registration("orders"))
    await registry.heartbeat(ServiceId(row.id))
    await age(pool, "orders", MISSED)
    await sends(pool, registry, "orders")
    await registry.run_pass()
    row = await registry.get(ServiceId(row.id))
    assert (row.status, row.status_reason) == (
        "degraded",
        "It sends no heartbeats any more although it sends telemetry.",
    )
    assert row.signs_summary == "registered and sends telemetry but no heartbeats"
    await registry.heartbeat(ServiceId(row.id))
    assert (await registry.get(ServiceId(row.id))).status == "online"


async def test_a_service_says_itself_that_it_is_not_well_and_that_it_is_again(
    pool: asyncpg.Pool, registry: Registry
) -> None:
    id = ServiceId((await registry.register(Registration("orders")))[0].id)
    assert (await registry.heartbeat(id, status="degraded")).status == "degraded"
    assert await registry.run_pass() == 0
    assert (await registry.heartbeat(id)).status == "online"
    assert (await registry.heartbeat(id, status="degraded")).status == "degraded"
    assert (await registry.register(Registration("orders")))[0].status == "online"


async def test_the_three_sources_are_kept_apart(pool: asyncpg.Pool, registry: Registry) -> None:
    await sends(pool, registry, "sender", "both")
    for name in ("claims", "both"):
        row, _ = await registry.register(Registration(name))
        await registry.heartbeat(ServiceId(row.id))
    said = {row["name"]: row["summary"] for row in await pool.fetch("SELECT * FROM v_service_signs")}
    assert said == {
        "sender": "sends telemetry but never registered",
        "claims": "sends heartbeats but no telemetry",
        "both": "sends heartbeats and telemetry",
    }
    rows, _ = await registry.services()
    assert {row.name: (row.registered, row.signs_heartbeats, row.signs_telemetry) for row in rows} == {
        "sender": (False, False, True),
        "claims": (True, True, False),
        "both": (True, True, True),
    }


async def test_who_has_just_started_holds_no_silence_against_anybody(pool: asyncpg.Pool, bus: Recorded) -> None:
    young = Registry(pool, interval=lambda: BEAT, bus=bus)
    await young.register(Registration("orders"))
    await age(pool, "orders", 1000)
    assert await young.run_pass() == 0
    old = long_listening(pool, bus)
    assert await old.run_pass() == 1
    assert await young.run_pass() == 0, "what another process found out stays"
    await young.stop()
    await old.stop()
    assert bus.topics("orders") == ["service.online", "service.offline"]


async def test_several_processes_tell_every_change_once(pool: asyncpg.Pool, bus: Recorded) -> None:
    """Passes, heartbeats and telemetry of four processes at the same time, over services that come and go."""
    registries = [long_listening(pool, bus) for _ in range(4)]
    names = [f"service-{number}" for number in range(20)]
    rows = [(await registries[0].register(Registration(name)))[0] for name in names]
    for _ in range(5):
        await pool.execute(
            "UPDATE service_registry SET last_heartbeat = now() - interval '1 hour', "
            "last_registration = now() - interval '1 hour', last_registration_heartbeat = now() - interval '1 hour'"
        )
        await asyncio.gather(*(registry.run_pass() for registry in registries))
        await asyncio.gather(
            *(registry.run_pass() for registry in registries),
            *(registries[row.id % 4].heartbeat(ServiceId(row.id)) for row in rows),
            *(registries[(row.id + 1) % 4].heartbeat(ServiceId(row.id)) for row in rows),
            sends(pool, registries[0], *names),
        )
    for registry in registries:
        await registry.stop()
    for name in names:
        assert await history(pool, name) == [(None, "online"), *[("online", "offline"), ("offline", "online")] * 5]
        assert bus.topics(name) == ["service.online", *["service.offline", "service.online"] * 5]
    assert len({id for _, _, id in bus.events}) == len(bus.events)


async def test_a_row_that_is_just_being_heard_of_is_not_waited_for(pool: asyncpg.Pool, registry: Registry) -> None:
    await registry.register(Registration("held"))
    await registry.register(Registration("free"))
    for name in ("held", "free"):
        await age(pool, name, 1000)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM service_registry WHERE name = 'held' FOR UPDATE")
        assert await registry.run_pass() == 1
    assert await registry.run_pass() == 1


async def test_one_pass_over_ten_thousand_services_is_one_statement(
    pool: asyncpg.Pool, registry: Registry, bus: Recorded
) -> None:
    await pool.execute(
        "INSERT INTO service_registry (name, last_registration) "
        "SELECT 'service-' || n, now() FROM generate_series(1, 10000) n"
    )
    await pool.execute("ANALYZE service_registry")
    started = time.perf_counter()
    assert await registry.run_pass() == 0
    quiet = time.perf_counter() - started
    await pool.execute("UPDATE service_registry SET last_heartbeat = now() - interval '1 hour'")
    started = time.perf_counter()
    assert await registry.run_pass() == 10_000
    changed = time.perf_counter() - started
    print(
        f"10,000 services: a pass without a change {quiet * 1000:.0f} ms, one that changes all {changed * 1000:.0f} ms"
    )
    row = await pool.fetchrow("SELECT count(*) AS rows, count(DISTINCT xmin::text) AS writes FROM service_registry")
    assert (row["rows"], row["writes"]) == (10_000, 1)
    assert await pool.fetchval("SELECT count(*) FROM service_status_history") == 10_000
    await registry.stop()
    assert len(bus.events) == 10_000


async def test_the_event_bus_carries_the_changes(pool: asyncpg.Pool) -> None:
    heard: list[Event] = []
    bus = await create_event_bus(None)
    subscription = await bus.subscribe("service.*", heard.append)
    registry = Registry(pool, interval=lambda: BEAT, bus=bus)
    row, _ = await registry.register(Registration("orders", version="2.0", instance_id="one"))
    await registry.heartbeat(ServiceId(row.id), status="degraded")
    await registry.deregister(ServiceId(row.id))
    await registry.stop()
    await bus.close()
    assert subscription.dropped == 0
    assert [event.topic for event in heard] == ["service.online", "service.degraded", "service.offline"]
    assert {
        "name": "orders",
        "instance_id": "one",
        "version": "2.0",
        "old_status": "online",
        "status": "degraded",
    }.items() <= (heard[1].data.items())
    assert heard[1].data["reason"] == "It says so itself."


async def test_leaving_is_told_and_the_history_stays(pool: asyncpg.Pool, registry: Registry, bus: Recorded) -> None:
    id = ServiceId((await registry.register(Registration("orders")))[0].id)
    await registry.deregister(id)
    for attempt in (registry.get(id), registry.heartbeat(id), registry.deregister(id)):
        with pytest.raises(ServiceNotFound):
            await attempt
    await registry.stop()
    assert bus.topics("orders") == ["service.online", "service.offline"]
    assert await history(pool, "orders") == [(None, "online"), ("online", "offline")]


async def test_what_a_service_still_sends_when_it_has_left_does_not_bring_it_back(
    pool: asyncpg.Pool, registry: Registry
) -> None:
    async def noted(instance: str) -> None:
        heartbeats = Heartbeats(pool)
        await heartbeats.start()
        heartbeats.seen([ServiceSeen("orders", "", "1.0", instance, "python")])
        await heartbeats.stop()

    row, _ = await registry.register(Registration("orders", instance_id="one"))
    await registry.deregister(ServiceId(row.id))
    await noted("one")
    await noted("two")
    assert [row.instance_id for row in (await registry.services())[0]] == ["two"], "another instance is another service"
    await registry.register(Registration("orders", instance_id="one"))
    await noted("one")
    assert [row.signs_telemetry for row in (await registry.services())[0]] == [True, True], "it came back by itself"
    await pool.execute("DELETE FROM service_registry WHERE instance_id = 'one'")
    await pool.execute("UPDATE service_status_history SET changed_at = changed_at - interval '61 s'")
    await noted("one")
    assert [row.instance_id for row in (await registry.services())[0]] == ["two", "one"], "it is there, after all"


async def test_who_leaves_while_its_telemetry_is_noted_has_left(pool: asyncpg.Pool, registry: Registry) -> None:
    row, _ = await registry.register(Registration("orders", instance_id="one"))
    heartbeats = Heartbeats(pool)
    await heartbeats.start()

    async def waits() -> int:
        waiting: int = await pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return waiting

    async with pool.acquire() as leaving, leaving.transaction():
        await leaving.execute(
            "INSERT INTO service_status_history (service_id, service_name, instance_id, old_status, new_status, reason)"
            " VALUES ($1, 'orders', 'one', 'online', 'offline', 'It was taken off the registry.')",
            row.id,
        )
        await leaving.execute("DELETE FROM service_registry WHERE id = $1", row.id)
        heartbeats.seen([ServiceSeen("orders", "", "1.0", "one", "python")])
        await eventually(waits, every=0.01)
    await heartbeats.stop()
    assert (await registry.services())[0] == []


async def test_metadata_is_merged_within_a_bound(pool: asyncpg.Pool, registry: Registry) -> None:
    await sends(pool, registry, "orders")
    row, created = await registry.register(Registration("orders", version="2.0", metadata={"team": "checkout"}))
    assert not created
    assert row.version == "2.0"
    id = ServiceId(row.id)
    assert '"load": 3' in (await registry.heartbeat(id, metadata={"load": 3})).metadata
    for number in range(4):
        await registry.heartbeat(id, metadata={f"part-{number}": "x" * 4000})
    with pytest.raises(InvalidService, match="16384 bytes") as too_much:
        await registry.heartbeat(id, metadata={"one-too-many": "x" * 4000})
    assert too_much.value.field == "metadata"
    assert len((await registry.get(id)).metadata) <= 16384
    for bad in ({"a": "\0"}, {"\0": 1}, {"a": 2**70}, {"a": "\ud800"}):
        with pytest.raises(InvalidService):
            await registry.heartbeat(id, metadata=bad)
    assert r"\\u0000" in (await registry.heartbeat(id, metadata={"a": r"\u0000"})).metadata


async def test_old_instances_and_old_history_are_tidied_away(pool: asyncpg.Pool, registry: Registry) -> None:
    await sends(pool, registry, "gone", "here")
    await registry.register(Registration("registered"))
    for name in ("gone", "registered"):
        await age(pool, name, 10_000)
    await registry.run_pass()
    await pool.execute("UPDATE service_registry SET status_since = status_since - interval '31 days'")
    await pool.execute(
        "UPDATE service_status_history SET changed_at = now() - interval '91 days' WHERE service_name = 'here'"
    )
    await registry.start()

    async def tidied() -> bool:
        return await pool.fetchval("SELECT count(*) FROM service_registry") == 2 and not await history(pool, "here")

    await eventually(tidied, every=0.05)
    await registry.stop()
    assert {row["name"] for row in await pool.fetch("SELECT name FROM service_registry")} == {"here", "registered"}
    assert await history(pool, "gone") == [(None, "online"), ("online", "offline")]
