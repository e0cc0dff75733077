"""The bus over a Redis that is away, dies, freezes, is full, is flushed: nobody waits and nothing of here is lost."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from ares_otel.eventbus.redis import STREAM
from tests.support.bus import Buses, Listener, buses, until
from tests.support.redis import RedisServer, needs_redis, redis_server

pytestmark = needs_redis


async def test_without_redis_at_the_start_it_works_here_and_moves_over_later() -> None:
    with redis_server(running=False) as server:
        async with buses(server) as network:
            started = time.monotonic()
            here, there = await network.make(wait=False), await network.make(wait=False)
            mine, theirs = Listener(), Listener()
            await here.subscribe("a", mine)
            await there.subscribe("a", theirs)
            for number in range(100):
                await here.publish("a", number)
            await until(lambda: len(mine.events) == 100)
            health = await here.health()
            assert (health.mode, health.wanted, health.healthy, health.waiting) == ("memory", "redis", False, 100)
            assert "cannot be reached" in health.detail
            server.start()
            await until(lambda: here.mode == there.mode == "redis")
            health = await here.health()
            assert (health.mode, health.healthy) == ("redis", True)
            assert health.since.timestamp() >= time.time() - (time.monotonic() - started)
            await until(lambda: here.waiting == 0)
            await here.publish("a", "last")
            await until(lambda: "last" in theirs.data)
            assert mine.data == [*range(100), "last"]


async def test_a_redis_that_dies_and_returns_empty_loses_nothing_of_what_happened_meanwhile(
    server: RedisServer, network: Buses
) -> None:
    here, there = await network.make(), await network.make()
    mine, theirs, worker = Listener(), Listener(), Listener()
    await here.subscribe("a", mine)
    await there.subscribe("a", theirs)
    await here.subscribe("a", worker, group="g")
    await here.publish("a", 0)
    await until(lambda: theirs.events and worker.events)
    server.kill()
    for number in range(1, 201):
        await here.publish("a", number)
    await until(lambda: here.mode == there.mode == "memory")
    await until(lambda: len(mine.events) == 201 and len(worker.events) == 201)
    server.start()
    await until(lambda: here.mode == there.mode == "redis")
    for number in range(201, 211):
        await here.publish("a", number)
    await until(lambda: len(theirs.events) == 211 and len(worker.events) == 211)
    assert mine.data == theirs.data == sorted(worker.data) == list(range(211))


async def test_a_group_does_not_do_again_what_it_did_while_redis_was_away(server: RedisServer, network: Buses) -> None:
    here, there = await network.make(), await network.make()
    mine, theirs = Listener(), Listener()
    await here.subscribe("a", mine, group="g")
    await there.subscribe("a", theirs, group="g")
    server.kill()
    await until(lambda: here.mode == there.mode == "memory")
    for number in range(50):
        await here.publish("a", number)
    await until(lambda: len(mine.events) == 50)
    server.start()
    await until(lambda: here.mode == there.mode == "redis" and here.waiting == 0)
    await here.publish("a", "last")
    await until(lambda: "last" in mine.data + theirs.data)
    assert len(mine.events) + len(theirs.events) == 51


async def test_more_than_fits_while_redis_is_away_loses_the_oldest_and_counts_them(
    server: RedisServer, network: Buses
) -> None:
    here, there = await network.make(outbox_events=10), await network.make()
    mine, theirs = Listener(), Listener()
    await here.subscribe("a", mine)
    await there.subscribe("a", theirs)
    server.kill()
    await until(lambda: here.mode == "memory")
    for number in range(30):
        await here.publish("a", number)
    await until(lambda: len(mine.events) == 30)
    health = await here.health()
    assert (health.waiting, health.dropped) == (10, 20)
    server.start()
    await until(lambda: len(theirs.events) == 10)
    assert theirs.data == list(range(20, 30))


async def test_a_frozen_redis_holds_up_nobody(server: RedisServer, network: Buses) -> None:
    here, there = await network.make(), await network.make()
    mine, theirs = Listener(), Listener()
    await here.subscribe("a", mine)
    await there.subscribe("a", theirs)
    server.freeze()
    try:
        for number in range(100):
            await here.publish("a", number)
        await until(lambda: len(mine.events) == 100, 1.0)
        await until(lambda: here.mode == "memory")
        assert "in time" in (await here.health()).detail
    finally:
        server.thaw()
    await until(lambda: here.mode == "redis" and len(theirs.events) == 100)
    assert theirs.data == list(range(100))
    assert len(mine.events) == 100


async def test_a_full_redis_holds_up_nobody(server: RedisServer, network: Buses, redis: Redis) -> None:
    here, there = await network.make(), await network.make()
    mine, theirs = Listener(), Listener()
    await here.subscribe("a", mine)
    await there.subscribe("a", theirs)
    await redis.set("other", b"x" * 2_000_000)
    await redis.config_set("maxmemory", "1mb")
    for number in range(50):
        await here.publish("a", number)
    await until(lambda: len(mine.events) == 50, 1.0)
    await until(lambda: here.mode == "memory")
    assert "full" in (await here.health()).detail
    await redis.config_set("maxmemory", "0")
    await until(lambda: len(theirs.events) == 50)
    assert theirs.data == list(range(50))
    assert len(mine.events) == 50


async def test_a_flushed_redis_is_used_on(network: Buses, redis: Redis) -> None:
    here, there = await network.make(), await network.make()
    theirs, worker = Listener(), Listener()
    await there.subscribe("a", theirs)
    await there.subscribe("a", worker, group="g")
    await here.publish("a", 1)
    await until(lambda: theirs.events and worker.events)
    await redis.flushall()
    for number in range(2, 52):
        await here.publish("a", number)
    await until(lambda: len(theirs.events) == 51 and len(worker.events) == 51)
    assert theirs.data == worker.data == list(range(1, 52))


async def test_a_restarted_redis_whose_clock_is_behind_is_read_from_its_beginning(network: Buses, redis: Redis) -> None:
    here, there = await network.make(), await network.make()
    theirs = Listener()
    await there.subscribe("a", theirs)
    await redis.xadd(STREAM, {"x": "y"}, id="9999999999999-0")
    await until(lambda: there.counts.skipped)
    await redis.delete(STREAM)
    await here.publish("a", 1)
    await until(lambda: theirs.events)
