"""A look at a protobuf body before it is decoded: it has to agree with the decoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.errors import TooLarge
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.receivers.otlp import wire
from tests.support.otlp_samples import logs_request, metrics_request, trace_request

FULL = {TRACES: trace_request(spans=300), LOGS: logs_request(records=300), METRICS: metrics_request()}


@pytest.fixture(autouse=True)
def _look_at_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SCAN_BYTES", 0)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
def test_a_body_with_as_many_items_as_allowed_passes_and_one_more_does_not(signal: Signal) -> None:
    body = FULL[signal].SerializeToString()
    items = signal.count(FULL[signal])
    assert items > 2
    wire.check_items(body, signal, items)
    with pytest.raises(TooLarge, match="send smaller batches"):
        wire.check_items(body, signal, items - 1)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
def test_empty_envelopes_count_too(signal: Signal) -> None:
    with pytest.raises(TooLarge):
        wire.check_items(b"\x0a\x00" * 1001, signal, 1000)


@given(st.binary(max_size=500), st.sampled_from(list(SIGNALS.values())))
def test_any_bytes_are_looked_at_without_an_error(body: bytes, signal: Signal) -> None:
    wire.check_items(body, signal, 1000)


@given(st.integers(0, 400), st.sampled_from(list(SIGNALS.values())))
def test_a_body_that_is_cut_off_is_left_to_the_decoder(cut: int, signal: Signal) -> None:
    wire.check_items(FULL[signal].SerializeToString()[:cut], signal, 1000)


def test_a_body_of_empty_messages_is_worth_what_it_becomes() -> None:
    hollow = b"\x0a\x04\x12\x02\x12\x00" * 100_000
    assert wire.memory_estimate(hollow) > 100 * 100_000
    text = trace_request(spans=300).SerializeToString()
    assert wire.memory_estimate(text) < 4 * len(text)
    assert wire.memory_estimate(bytes(1000)) == 3000
