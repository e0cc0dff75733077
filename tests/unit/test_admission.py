"""The byte budget, and what becomes of requests that hold it and do not get on."""

from __future__ import annotations

import pytest

from ares_otel.model.errors import Overloaded, TooLarge
from ares_otel.pipeline.admission import PROGRESS_BYTES, STALLED_SECONDS, Admission, Reservation
from tests.support.clock import FakeClock


def arriving(admission: Admission, size: int, told: list[str], name: str) -> Reservation:
    """A request of which `size` bytes have come."""
    reservation = admission.reservation()
    reservation.grow(size)
    reservation.arriving(lambda: told.append(name))
    return reservation


def test_what_is_over_the_budget_is_refused_and_given_back_bytes_are_free_again() -> None:
    admission = Admission(100)
    with admission.reservation() as first:
        first.grow(80)
        with admission.reservation() as second, pytest.raises(Overloaded):
            second.grow(21)
        first.shrink(30)
        with admission.reservation() as third:
            third.grow(50)
    assert admission.used_bytes == 0


def test_more_than_the_whole_budget_is_too_large_for_ever() -> None:
    with Admission(100).reservation() as reservation, pytest.raises(TooLarge):
        reservation.grow(101)


def test_a_request_that_has_stalled_loses_its_bytes_to_one_that_is_there() -> None:
    clock, told = FakeClock(), list[str]()
    admission = Admission(100, clock)
    oldest = arriving(admission, 60, told, "oldest")
    clock.advance(STALLED_SECONDS / 2)
    younger = arriving(admission, 40, told, "younger")
    with admission.reservation() as other:
        with pytest.raises(Overloaded):
            other.grow(50)  # neither has stalled yet
        clock.advance(STALLED_SECONDS / 2)
        other.grow(50)
        assert told == ["oldest"]
        assert (oldest.held_bytes, younger.held_bytes, admission.used_bytes) == (0, 40, 90)
        with pytest.raises(Overloaded, match="too slowly"):
            oldest.grow(1)


def test_a_byte_now_and_then_is_no_progress() -> None:
    clock, told = FakeClock(), list[str]()
    admission = Admission(100, clock)
    slow, quick = arriving(admission, 50, told, "slow"), arriving(admission, 50, told, "quick")
    for _ in range(10):
        clock.advance(STALLED_SECONDS / 10)
        slow.progress(1)
        quick.progress(PROGRESS_BYTES)
    with admission.reservation() as other:
        other.grow(50)
        assert told == ["slow"]
        with pytest.raises(Overloaded):
            other.grow(50)


def test_a_request_that_is_here_keeps_its_bytes_however_long_it_takes() -> None:
    clock, told = FakeClock(), list[str]()
    admission = Admission(100, clock)
    arriving(admission, 100, told, "here").arrived()
    clock.advance(1000)
    with admission.reservation() as other, pytest.raises(Overloaded):
        other.grow(1)
    assert told == []


def test_one_that_makes_room_for_itself_is_refused_too() -> None:
    clock, told = FakeClock(), list[str]()
    admission = Admission(100, clock)
    alone = arriving(admission, 90, told, "alone")
    with admission.reservation() as here:
        here.grow(10)
        clock.advance(STALLED_SECONDS)
        with pytest.raises(Overloaded):
            alone.grow(10)
    assert admission.used_bytes == 0
