"""When one more connection takes from what waits for the writer."""

from __future__ import annotations

import asyncio

import pytest

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import METRICS
from ares_otel.storage.lane import ANOTHER_BYTES, ANOTHER_SECONDS, AT_ONCE, Lane, Waiting
from ares_otel.storage.rows.encoded import SAMPLES, EncodedBatch, TableRows

NOW = 1000.0


@pytest.fixture
def lane() -> Lane:
    return Lane(METRICS, connections=4)


def put(lane: Lane, size: int, key: bytes = b"k" * 16) -> None:
    batch = EncodedBatch(key, METRICS, 0, 0, tables={SAMPLES: TableRows(b"x" * size, 1)})
    loop = asyncio.new_event_loop()
    done: asyncio.Future[Accepted] = loop.create_future()
    loop.close()
    lane.put(Waiting(batch, done, NOW))


def test_an_idle_writer_takes_at_once_however_little_it_is(lane: Lane) -> None:
    for _ in range(AT_ONCE):
        put(lane, 1)
        assert lane.wants_another(NOW)
        lane.free -= 1
    assert not lane.wants_another(NOW)


def test_more_connections_take_when_there_is_enough_to_do_for_them(lane: Lane) -> None:
    lane.free -= AT_ONCE
    put(lane, ANOTHER_BYTES - 1)
    assert not lane.wants_another(NOW)
    put(lane, 1)
    assert lane.wants_another(NOW)


def test_more_connections_take_when_something_waits_for_too_long(lane: Lane) -> None:
    lane.free -= AT_ONCE
    put(lane, 1)
    assert not lane.wants_another(NOW + ANOTHER_SECONDS / 2)
    assert lane.wants_another(NOW + ANOTHER_SECONDS)


def test_nobody_else_is_called_before_who_was_called_has_come(lane: Lane) -> None:
    put(lane, ANOTHER_BYTES)
    lane.called = True
    assert not lane.wants_another(NOW)


def test_there_are_no_more_connections_than_there_are(lane: Lane) -> None:
    lane.free = 0
    put(lane, ANOTHER_BYTES)
    assert not lane.wants_another(NOW + 60)
