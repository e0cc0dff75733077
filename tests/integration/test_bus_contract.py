"""What every event bus does, in memory and over Redis."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ares_otel.model.bus import DATA_LIMIT, Event
from tests.support.bus import Buses, Listener, buses, until
from tests.support.redis import needs_redis, redis_server


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[Buses]:
    if request.param == "memory":
        async with buses(None) as made:
            yield made
        return
    with redis_server() as server:
        async with buses(server) as made:
            yield made


async def test_a_subscriber_gets_what_is_published_to_its_topic(adapter: Buses) -> None:
    bus = await adapter.make(source="me")
    listener, other = Listener(), Listener()
    await bus.subscribe("trade.*", listener)
    await bus.subscribe("other", other)
    event = await bus.publish("trade.executed", {"price": 1.5, "list": [1, None, True, "ä"]})
    await until(lambda: listener.events)
    assert listener.events == [event]
    assert event.topic == "trade.executed"
    assert event.data == {"price": 1.5, "list": [1, None, True, "ä"]}
    assert event.source == "me"
    assert event.published_at.tzinfo is not None
    assert not other.events


async def test_ten_thousand_events_arrive_all_and_in_order(adapter: Buses) -> None:
    bus = await adapter.make()
    first, second = Listener(), Listener()
    await bus.subscribe("n.**", first, queue_size=10_000)
    subscription = await bus.subscribe("n.even", second, queue_size=10_000)
    for number in range(10_000):
        await bus.publish("n.odd" if number % 2 else "n.even", number)
    await until(lambda: len(first.events) == 10_000)
    assert first.data == list(range(10_000))
    assert second.data == list(range(0, 10_000, 2))
    assert subscription.dropped == 0
    health = await bus.health()
    assert (health.published, health.delivered, health.dropped) == (10_000, 15_000, 0)
    assert health.topics == {"n.odd": 5000, "n.even": 5000}


async def test_nobody_gets_anything_after_unsubscribing_which_may_be_done_twice(adapter: Buses) -> None:
    bus = await adapter.make()
    gone, stays = Listener(), Listener()
    subscription = await bus.subscribe("a", gone)
    await bus.subscribe("a", stays)
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    await bus.publish("a", 1)
    await until(lambda: stays.events)
    assert not gone.events


async def test_a_handler_may_unsubscribe_itself(adapter: Buses) -> None:
    bus = await adapter.make()
    got: list[Event] = []

    async def once(event: Event) -> None:
        got.append(event)
        await subscription.unsubscribe()

    subscription = await bus.subscribe("a", once)
    stays = Listener()
    await bus.subscribe("a", stays)
    for number in range(3):
        await bus.publish("a", number)
    await until(lambda: len(stays.events) == 3)
    assert len(got) == 1


async def test_a_handler_that_raises_hurts_nobody_and_gets_the_next_event(adapter: Buses) -> None:
    bus = await adapter.make()
    seen: list[Any] = []

    async def bad(event: Event) -> None:
        seen.append(event.data)
        raise RuntimeError("a mistake of the handler")

    async def cancels(event: Event) -> None:
        seen.append(event.data)
        raise asyncio.CancelledError

    good = Listener()
    for handler in (bad, cancels, good):
        await bus.subscribe("a", handler)
    for number in range(3):
        await bus.publish("a", number)
    await until(lambda: len(seen) == 6 and len(good.events) == 3)
    assert (await bus.health()).failed == 6


async def test_a_handler_that_hangs_loses_its_oldest_events_and_holds_up_nobody(adapter: Buses) -> None:
    bus = await adapter.make()
    go_on = asyncio.Event()
    slow: list[Any] = []

    async def hangs(event: Event) -> None:
        slow.append(event.data)
        await go_on.wait()

    good = Listener()
    subscription = await bus.subscribe("a", hangs, queue_size=5)
    await bus.subscribe("a", good)
    await bus.publish("a", 0)
    await until(lambda: slow)
    for number in range(1, 21):
        await bus.publish("a", number)
    await until(lambda: len(good.events) == 21)
    assert subscription.dropped == 15
    assert (await bus.health()).dropped == 15
    go_on.set()
    await until(lambda: len(slow) == 6)
    assert slow == [0, 16, 17, 18, 19, 20]


async def test_a_sync_handler_runs_beside_the_event_loop(adapter: Buses) -> None:
    bus = await adapter.make()
    go_on = threading.Event()
    got: list[Any] = []

    def blocks(event: Event) -> None:
        go_on.wait()
        got.append((event.data, threading.current_thread() is threading.main_thread()))

    other = Listener()
    await bus.subscribe("a", blocks)
    await bus.subscribe("a", other)
    await bus.publish("a", 1)
    await bus.publish("a", 2)
    await until(lambda: len(other.events) == 2)  # although the other handler blocks
    go_on.set()
    await until(lambda: len(got) == 2)
    assert got == [(1, False), (2, False)]


async def test_a_group_shares_the_events_without_doubles(adapter: Buses) -> None:
    bus = await adapter.make()
    members = [Listener() for _ in range(3)]
    audit, everybody = Listener(), Listener()
    for member in members:
        await bus.subscribe("job.*", member, group="workers")
    await bus.subscribe("job.*", audit, group="audit")
    await bus.subscribe("job.*", everybody)
    for number in range(300):
        await bus.publish("job.new", number)
        await bus.publish("other", number)
    await until(lambda: sum(len(member.events) for member in members) >= 300 and len(audit.events) >= 300)
    await bus.close()
    assert sorted(number for member in members for number in member.data) == list(range(300))
    assert audit.data == list(range(300))
    assert len(everybody.events) == 300


async def test_an_event_with_an_id_of_its_own_is_delivered_once(adapter: Buses) -> None:
    bus = await adapter.make()
    listener = Listener()
    await bus.subscribe("config.changed", listener)
    for _ in range(3):
        await bus.publish("config.changed", {"version": 2}, id="config-7")
    await bus.publish("config.changed", {"version": 3}, id="config-8")
    await until(lambda: len(listener.events) == 2)
    assert [event.id for event in listener.events] == ["config-7", "config-8"]


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("", 1),
        ("a.*", 1),
        ("a b", 1),
        ("a", object()),
        ("a", {1: 2}),
        ("a", 2**64),
        ("a", "\ud800"),
        ("a", "x" * DATA_LIMIT),
        ("a", [set()]),
    ],
)
async def test_what_is_no_topic_or_no_json_is_refused(adapter: Buses, topic: str, data: Any) -> None:
    bus = await adapter.make()
    with pytest.raises(ValueError, match=r"topic|JSON"):
        await bus.publish(topic, data)
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValueError, match="JSON"):
        await bus.publish("a", deep)
    assert (await bus.health()).published == 0


async def test_subscribers_see_a_copy_of_what_was_published(adapter: Buses) -> None:
    bus = await adapter.make()
    listener = Listener()
    await bus.subscribe("a", listener)
    data = {"list": [1]}
    await bus.publish("a", data)
    data["list"].append(2)
    await until(lambda: listener.events)
    assert listener.data == [{"list": [1]}]


async def test_closing_delivers_what_is_queued_and_may_be_done_twice(adapter: Buses) -> None:
    bus = await adapter.make()
    listener = Listener()

    async def slowly(event: Event) -> None:
        await asyncio.sleep(0)
        await listener(event)

    await bus.subscribe("a", slowly)
    for number in range(500):
        await bus.publish("a", number)
    await bus.close()
    await bus.close()
    assert len(listener.events) == 500
    await bus.publish("a", "too late")
    with pytest.raises(ValueError, match="closed"):
        await bus.subscribe("a", listener)
    assert len(listener.events) == 500


async def test_what_is_wanted_is_what_somebody_subscribed_to(adapter: Buses) -> None:
    bus = await adapter.make()
    assert not bus.wanted_by_anyone("spans.error")
    await bus.subscribe("**", Listener(), passive=True)
    assert not bus.wanted_by_anyone("spans.error")
    subscription = await bus.subscribe("spans.*", Listener())
    assert bus.wanted_by_anyone("spans.error")
    assert not bus.wanted_by_anyone("tail.spans")
    await subscription.unsubscribe()
    await until(lambda: not bus.wanted_by_anyone("spans.error"))


async def test_who_comes_back_gets_what_was_missed(adapter: Buses) -> None:
    bus = await adapter.make()
    events = [await bus.publish(f"trade.{number % 2}", number) for number in range(10)]
    missed = bus.replay("trade.0", events[4].id)
    assert missed is not None
    assert [event.data for event in missed] == [6, 8]
    assert bus.replay("**", "never-seen") is None
