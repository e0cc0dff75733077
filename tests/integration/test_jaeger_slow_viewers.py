"""Large traces that are held for viewers who do not take them: memory is bounded, and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import pytest

from ares_otel.api.jaeger import holding, trace_reading
from ares_otel.api.jaeger.trace_reading import MAX_BYTES, TraceReading
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from tests.support.jaeger_http import JaegerHttp, jaeger_http
from tests.support.jaeger_traces import TRACE_ID, here, trace

SPANS = 1_200
ID = UUID(bytes=TRACE_ID)


@pytest.fixture
async def reading(database_url: str) -> AsyncIterator[TraceReading]:
    async with jaeger_http(database_url) as api:
        await send_large(api)
        yield TraceReading(api.pool)


async def send_large(api: JaegerHttp) -> None:
    """A trace of two pieces."""
    await api.send(trace({"web/shop": [here(number, min(number - 1, 1)) for number in range(1, SPANS + 1)]}))


async def pieces_of(reading: TraceReading) -> int:
    return len([piece async for piece in reading.trace(ID, raw=False)])


async def test_who_does_not_take_a_trace_holds_room_that_others_wait_for(
    reading: TraceReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "WAIT_SECONDS", 0.05)
    reading._holding = holding.Holding(MAX_BYTES)
    async with aclosing(reading.trace(ID, raw=False)) as slow:
        await anext(slow)
        with pytest.raises(DatabaseUnavailable, match="Too many large traces"):
            await pieces_of(reading)
        assert len([piece async for piece in reading.trace(ID, raw=True)]) == 2
    assert await pieces_of(reading) == 2


async def test_a_trace_keeps_room_for_what_it_is_only(reading: TraceReading) -> None:
    async with aclosing(reading.trace(ID, raw=False)) as one, aclosing(reading.trace(ID, raw=False)) as other:
        await anext(one)
        await anext(other)
        assert [await pieces_of(reading) for _ in range(3)] == [2, 2, 2]
    assert reading._holding._free == trace_reading.ALL_BYTES


async def test_who_takes_a_trace_too_slowly_loses_it(reading: TraceReading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_reading, "ALL_WAITS_SECONDS", -1.0)
    async with aclosing(reading.trace(ID, raw=False)) as slow:
        await anext(slow)
        with pytest.raises(QueryTooSlow, match="taken too slowly"):
            await anext(slow)
    assert reading._holding._free == trace_reading.ALL_BYTES
