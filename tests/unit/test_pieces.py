"""Parts of a request: together they are the request, each with all that stands around its items."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.storage.rows.pieces import piece
from tests.support import otlp_strategies
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import SAMPLES

NOW = time.time_ns()
REQUESTS: dict[Signal, st.SearchStrategy[Any]] = {
    TRACES: otlp_strategies.trace_requests(NOW),
    LOGS: otlp_strategies.logs_requests(NOW),
    METRICS: otlp_strategies.metrics_requests(NOW),
}


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_two_parts_hold_what_the_request_holds(signal: Signal, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[signal])
    count = signal.count(request)
    middle = data.draw(st.integers(0, count))
    left, right = piece(signal, request, 0, middle), piece(signal, request, middle, count)
    assert (signal.count(left), signal.count(right)) == (middle, count - middle)
    assert items_of(left) + items_of(right) == items_of(request)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_single_items_are_the_items_of_the_request_in_its_order(signal: Signal, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[signal])
    singles = [piece(signal, request, number, number + 1) for number in range(signal.count(request))]
    assert all(signal.count(single) == 1 for single in singles)
    joined = signal.request()
    for single in singles:
        joined.MergeFrom(single)
    assert items_of(joined) == items_of(request)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
def test_a_part_beyond_the_end_is_empty(signal: Signal) -> None:
    request = SAMPLES[signal]()
    count = signal.count(request)
    assert signal.count(piece(signal, request, count, count + 5)) == 0
