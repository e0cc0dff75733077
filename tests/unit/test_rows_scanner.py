"""Counting the items of a request without decoding it."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.receivers.otlp import wire
from tests.support.encoders import NATIVE_ENCODER, needs_native
from tests.support.otlp_samples import SAMPLES, metrics_request, trace_request
from tests.support.otlp_strategies import logs_requests, metrics_requests, trace_requests

pytestmark = needs_native

SCANNER: Any = import_module("ares_otel.storage.rows.scanner").NativeScanner() if NATIVE_ENCODER else None
MAX = 200_000
NOW = time.time_ns()


@pytest.mark.parametrize("signal", SAMPLES, ids=lambda signal: signal.name)
def test_it_counts_what_the_decoder_counts(signal: Signal) -> None:
    request = SAMPLES[signal]()
    assert SCANNER.scan(signal, request.SerializeToString(), MAX).items == signal.count(request)


@pytest.mark.parametrize(
    ("signal", "requests"), [(TRACES, trace_requests), (LOGS, logs_requests), (METRICS, metrics_requests)]
)
def test_it_counts_and_weighs_any_request_as_decoding_does(
    signal: Signal, requests: Callable[[int], st.SearchStrategy[Any]]
) -> None:
    @settings(max_examples=15, deadline=None)
    @given(requests(NOW))
    def check(request: Any) -> None:
        body = request.SerializeToString()
        size = SCANNER.scan(signal, body, MAX)
        assert size.items == signal.count(request)
        assert size.memory_bytes == wire.memory_estimate(body)

    check()


@given(st.binary(max_size=300) | st.lists(st.sampled_from([0, 2, 8, 10, 0x7A, 0x82]), max_size=300).map(bytes))
def test_places_of_empty_messages_are_those_that_a_plain_look_finds(body: bytes) -> None:
    found = sum(size == 0 and tag & 7 == 2 and 8 <= tag < 0x80 for tag, size in pairwise(body))
    assert import_module("ares_otel.storage.rows._native").empty_messages(body) == found


def test_over_the_limit_it_says_more_than_the_limit() -> None:
    assert SCANNER.scan(TRACES, trace_request(spans=5).SerializeToString(), 4).items > 4
    assert SCANNER.scan(METRICS, metrics_request().SerializeToString(), 6).items > 6


@pytest.mark.parametrize("body", [b"\x0a\x00" * 11, b"\x0a\x16" + b"\x12\x00" * 11])
def test_empty_messages_around_the_items_count_too(body: bytes) -> None:
    assert SCANNER.scan(TRACES, body, 10).items > 10
    assert SCANNER.scan(TRACES, body, 11).items == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05",
        b"\x0a\x02\x12\x7f",
        b"\x12\x00",
        b"\x0b\x0c",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x04\x0a\x00\x0a\x00",
    ],
)
def test_what_is_malformed_or_unusual_is_left_to_who_decodes_it(body: bytes) -> None:
    assert SCANNER.scan(TRACES, body, MAX) is None


def test_messages_around_the_items_are_counted_down_to_metrics() -> None:
    envelopes = import_module("ares_otel.storage.rows._native").envelopes
    assert envelopes(0, trace_request(spans=5).SerializeToString(), 100) == 2
    assert envelopes(0, b"\x0a\x04\x12\x00\x12\x00" * 3, 100) == 9
    assert envelopes(2, b"\x0a\x06\x12\x04\x12\x00\x12\x00", 100) == 4
    assert envelopes(0, b"\x0a\x16" + b"\x12\x00" * 11, 4) > 4
    assert envelopes(0, b"\x0a\x7f", 4) == 0
