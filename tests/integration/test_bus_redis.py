"""The event bus over a real Redis: several processes, and everything that can happen to a Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from ares_otel.eventbus import create_event_bus
from ares_otel.eventbus.redis import STREAM
from ares_otel.model.bus import Event
from tests.support.bus import Buses, Listener, until
from tests.support.eventually import eventually
from tests.support.redis import RedisServer, needs_redis, redis_server

pytestmark = needs_redis


async def test_every_process_gets_every_event_once(network: Buses) -> None:
    processes = [await network.make() for _ in range(3)]
    listeners = [Listener() for _ in processes]
    for bus, listener in zip(processes, listeners, strict=True):
        await bus.subscribe("n.*", listener, queue_size=3000)
    for number in range(1000):
        for index, bus in enumerate(processes):
            await bus.publish(f"n.{index}", number)
    for listener in listeners:
        await until(lambda listener=listener: len(listener.events) >= 3000)  # type: ignore[misc]
        for index in range(3):
            assert [e.data for e in listener.events if e.topic == f"n.{index}"] == list(range(1000))
    assert len({event.id for event in listeners[0].events}) == 3000


async def test_an_event_comes_from_another_process_as_it_was_published(network: Buses) -> None:
    here, there = await network.make(source="here"), await network.make()
    listener = Listener()
    await there.subscribe("**", listener)
    sent = await here.publish("trade.executed", {"a": [1, 2.5, "\0ä🙂", None, 2**53]})
    await until(lambda: listener.events)
    assert listener.events == [sent]


async def test_a_group_shares_the_work_over_processes(network: Buses) -> None:
    processes = [await network.make() for _ in range(3)]
    members = [Listener() for _ in processes]
    for bus, member in zip(processes, members, strict=True):
        await bus.subscribe("job.*", member, group="workers")
    published = 0

    async def publish() -> None:
        nonlocal published
        for bus in processes:
            await bus.publish("job.new", published)
            published += 1

    while published < 600 or not all(member.events for member in members):
        await publish()
        await asyncio.sleep(0.001)
    await until(lambda: sum(len(member.events) for member in members) >= published)
    assert sorted(number for member in members for number in member.data) == list(range(published))


async def test_a_group_that_was_away_goes_on_where_it_was(network: Buses) -> None:
    here, there = await network.make(), await network.make()
    first = Listener()
    await there.subscribe("job", first, group="g")
    await here.publish("job", 1)
    await until(lambda: first.events)
    await there.close()
    for number in (2, 3):
        await here.publish("job", number)
    again, second = await network.make(), Listener()
    await again.subscribe("job", second, group="g")
    await until(lambda: len(second.events) == 2)
    assert second.data == [2, 3]


async def test_what_a_dead_member_left_is_taken_over(network: Buses, redis: Redis) -> None:
    claim_seconds = 1.5
    here, there = [await network.make(claim_seconds=claim_seconds) for _ in range(2)]
    held: list[Any] = []

    async def hangs(event: Event) -> None:
        held.append(event.data)
        await asyncio.Event().wait()

    async def claims() -> int:
        return int((await redis.info("commandstats")).get("cmdstat_xautoclaim", {}).get("calls", 0))

    subscription = await there.subscribe("job", hangs, group="g")
    await here.publish("job", 1)
    await until(lambda: held)
    since = time.monotonic()
    survivor = Listener()
    await here.subscribe("job", survivor, group="g")
    await until(lambda: time.monotonic() - since > claim_seconds)
    before = await claims()
    await eventually(lambda: _grown(claims, before + 1), every=0.05)  # the survivor's: the other one is at work
    assert not survivor.events  # the member is slow, not dead
    await subscription.unsubscribe()
    await until(lambda: survivor.events)
    assert survivor.data == [1]


async def _grown(count: Callable[[], Awaitable[int]], least: int) -> bool:
    return await count() > least


async def test_anything_else_in_the_streams_is_counted_and_skipped(network: Buses, redis: Redis) -> None:
    bus = await network.make()
    listener, worker = Listener(), Listener()
    await bus.subscribe("**", listener)
    await bus.subscribe("**", worker, group="g")
    good: Any = {"id": "1", "topic": "a", "data": "1", "at": "2026-01-31T12:00:00+00:00", "source": "", "process": "x"}
    bad: list[Any] = [
        {"x": "y"},
        {**good, "topic": "a b"},
        {**good, "data": "\x80\x04K\x01."},
        {**good, "data": "x" * 2_000_000},
        {**good, "at": "yesterday"},
        {**good, "at": "2026-01-31T12:00:00"},
        {**good, "id": "a\nb"},
        {**good, "done": "5"},
        {**good, "source": b"\xff"},
    ]
    for fields in [*bad, good]:
        await redis.xadd(STREAM, fields)
    await until(lambda: listener.events and worker.events)
    assert listener.data == worker.data == [1]
    assert (await bus.health()).healthy
    assert bus.counts.skipped == 2 * len(bad)


async def test_keys_of_another_kind_under_our_names_do_not_end_the_bus(network: Buses, redis: Redis) -> None:
    bus = await network.make()
    mine = Listener()
    await bus.subscribe("a", mine)
    await redis.set(STREAM, "taken")
    await bus.publish("a", 1)
    await until(lambda: bus.mode == "memory" and mine.events)
    await redis.delete(STREAM)
    await until(lambda: bus.mode == "redis" and not bus.waiting)


async def test_the_streams_length_is_bounded(network: Buses, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares_otel.eventbus.redis.LENGTH", 500)
    bus = await network.make()
    for number in range(2_000):
        await bus.publish("a", number)
    await until(lambda: bus.waiting == 0)
    assert 500 <= await redis.xlen(STREAM) < 1_000  # Redis cuts a hundred or so at once


async def test_the_same_change_published_by_every_process_is_one_event(network: Buses, redis: Redis) -> None:
    processes = [await network.make() for _ in range(3)]
    listeners = [Listener() for _ in processes]
    for bus, listener in zip(processes, listeners, strict=True):
        await bus.subscribe("config.**", listener)
    for bus in processes:
        await bus.publish("config.changed", {"version": 2}, id="config-7")
    for bus in processes:
        await bus.publish("config.done", None)
    await until(lambda: all(len(listener.events) >= 4 for listener in listeners))
    for listener in listeners:
        assert [event.topic for event in listener.events].count("config.changed") == 1
    assert await redis.xlen(STREAM) == 4


async def test_other_processes_know_what_is_listened_to(network: Buses) -> None:
    here, there = await network.make(), await network.make()
    assert not here.wanted_by_anyone("tail.spans")
    listener = Listener()
    await there.subscribe("tail.*", listener)
    await until(lambda: here.wanted_by_anyone("tail.spans"))
    assert not here.wanted_by_anyone("spans.error")
    await asyncio.sleep(1.0)
    await here.publish("tail.spans", 1)
    await until(lambda: listener.events)


async def test_switching_to_redis_and_back_loses_nothing_here(server: RedisServer, network: Buses) -> None:
    bus = await create_event_bus()
    other = await network.make()
    mine, worker, theirs = Listener(), Listener(), Listener()
    await bus.subscribe("a", mine, queue_size=5000)
    await bus.subscribe("a", worker, group="g", queue_size=5000)
    await other.subscribe("a", theirs, queue_size=5000)
    stop = asyncio.Event()
    published = 0

    async def publish() -> None:
        nonlocal published
        while not stop.is_set():
            await bus.publish("a", published)
            published += 1
            await asyncio.sleep(0.001)

    publishing = asyncio.create_task(publish())
    for _ in range(2):
        await bus.switch("redis", f"127.0.0.1:{server.port}", wait_seconds=5)
        assert (await bus.health()).mode == "redis"
        heard = len(theirs.events)
        await until(lambda heard=heard: len(theirs.events) > heard)  # type: ignore[misc]
        await bus.switch("memory")
        health = await bus.health()
        assert (health.mode, health.wanted, health.healthy) == ("memory", "memory", True)
        await until(lambda before=published: published > before)  # type: ignore[misc]
    with pytest.raises(ValueError, match="Redis URL"):
        await bus.switch("redis", "nonsense://")
    with pytest.raises(ValueError, match="memory or redis"):
        await bus.switch("kafka")  # type: ignore[arg-type]
    stop.set()
    await publishing
    await until(lambda: len(mine.events) == published and len(worker.events) >= published)
    await bus.close()
    assert mine.data == list(range(published))
    assert sorted(worker.data) == list(range(published))


_OTHER_PROCESS = """
import asyncio, sys
from ares_otel.eventbus import create_event_bus

async def main():
    bus = await create_event_bus(sys.argv[1], source="other")
    async def answer(event):
        await bus.publish("answer", event.data + 1)
    await bus.subscribe("question", answer)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await bus.close()

asyncio.run(main())
"""


async def test_two_processes_of_the_system_talk_to_each_other(server: RedisServer, network: Buses) -> None:
    bus = await network.make()
    listener = Listener()
    await bus.subscribe("answer", listener)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OTHER_PROCESS, server.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert await other.stdout.readline() == b"ready\n"
    for number in range(100):
        await bus.publish("question", number)
    await until(lambda: len(listener.events) == 100)
    assert listener.data == list(range(1, 101))
    assert {event.source for event in listener.events} == {"other"}
    other.stdin.write(b"\n")
    assert await other.wait() == 0


async def test_a_password_is_used_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with redis_server(running=False) as server:
        server.start("--requirepass", "s3cret")
        bus = await create_event_bus(f"redis://:s3cret@127.0.0.1:{server.port}")
        assert bus.mode == "redis"
        wrong = await create_event_bus(f"redis://:wr0ng@127.0.0.1:{server.port}")
        health = await wrong.health()
        assert health.mode == "memory"
        assert "127.0.0.1" in (await bus.health()).detail
        server.kill()
        await until(lambda: bus.mode == "memory")
        for made in (bus, wrong):
            detail = (await made.health()).detail
            assert "s3cret" not in detail
            assert "wr0ng" not in detail
            await made.close()
    assert "s3cret" not in caplog.text
    assert "wr0ng" not in caplog.text
