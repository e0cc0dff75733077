"""Places for gRPC messages on their way in."""

from __future__ import annotations

import asyncio

import pytest

from ares_otel.model.errors import Overloaded, TooLarge
from ares_otel.pipeline import grpc_reading as reading
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.grpc_reading import Reading
from tests.support.toys import some_turns


async def never() -> bytes:
    await asyncio.Event().wait()
    raise AssertionError


async def read(places: Reading, admission: Admission, message: object = b"12345") -> object:
    async def receive() -> object:
        return message

    with admission.reservation() as reservation:
        result = await places.read(reservation, receive)
        assert reservation.held_bytes == (len(message) if isinstance(message, bytes) else 0)
        return result


async def stalled(places: Reading, admission: Admission) -> None:
    with admission.reservation() as reservation:
        await places.read(reservation, never)


def test_the_places_fit_into_half_of_the_budget() -> None:
    assert Reading(Admission(256), 4).places == 32
    assert (Reading(Admission(256), 1000).places, Reading(Admission(256), 1000).place_bytes) == (1, 128)


async def test_a_place_reserves_the_largest_message_and_then_what_has_come() -> None:
    admission = Admission(100)
    places = Reading(admission, 25)
    waiting = asyncio.create_task(stalled(places, admission))
    await some_turns()
    assert admission.used_bytes == 25
    assert await read(places, admission) == b"12345"
    assert await read(places, admission, None) is None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert admission.used_bytes == 0


async def test_a_message_that_does_not_arrive_in_time_is_refused_with_a_retry() -> None:
    admission = Admission(100)
    with pytest.raises(Overloaded, match="in time"):
        await stalled(Reading(admission, 25, seconds=0.01), admission)
    assert admission.used_bytes == 0


async def test_nothing_is_read_when_the_budget_is_used_up() -> None:
    admission = Admission(100)
    with admission.reservation() as other:
        other.grow(80)
        with pytest.raises(Overloaded, match="used up"):
            await read(Reading(admission, 25), admission)


async def test_a_call_waits_for_a_place_and_gets_the_one_that_is_free_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STALLED_SECONDS", 30.0)
    admission = Admission(100)
    places = Reading(admission, 50)
    blocked = asyncio.create_task(stalled(places, admission))
    await some_turns()
    calls = [asyncio.create_task(read(places, admission)) for _ in range(5)]
    await some_turns()
    assert not any(call.done() for call in calls)
    blocked.cancel()
    assert await asyncio.gather(*calls) == [b"12345"] * 5


async def test_too_many_that_wait_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STALLED_SECONDS", 30.0)
    admission = Admission(100)
    places = Reading(admission, 50)
    blocked = asyncio.create_task(stalled(places, admission))
    await some_turns()
    calls = [asyncio.create_task(read(places, admission)) for _ in range(reading.WAITING_A_PLACE)]
    await some_turns()
    with pytest.raises(Overloaded):
        await read(places, admission)
    calls.pop().cancel()  # who leaves makes room for another one, and takes no place with it
    blocked.cancel()
    assert await asyncio.gather(*calls) == [b"12345"] * len(calls)
    assert await read(places, admission) == b"12345"


async def test_messages_that_have_stalled_lose_their_places_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STALLED_SECONDS", 0.05)
    admission = Admission(100)
    places = Reading(admission, 25)
    slow = [asyncio.create_task(stalled(places, admission)) for _ in range(2)]
    await some_turns()
    assert await asyncio.gather(*(read(places, admission) for _ in range(4))) == [b"12345"] * 4
    errors = await asyncio.gather(*slow, return_exceptions=True) if all(task.done() for task in slow) else []
    assert all(isinstance(error, Overloaded) for error in errors)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert admission.used_bytes == 0


async def test_a_message_over_the_whole_budget_is_too_large() -> None:
    admission = Admission(100)
    with pytest.raises(TooLarge):
        await read(Reading(admission, 1000), admission, b"x" * 101)
    assert admission.used_bytes == 0
