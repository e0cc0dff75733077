"""Tests of instrumented code: spans, logs and metrics to assert on, and a real Ares to send to.

The fixtures `otel` and `ares` come with the pytest plugin; the names here are for annotations, and `capture()` for
tests that have no fixtures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ares_otel.testing.ares import Ares
    from ares_otel.testing.captured_log import CapturedLog
    from ares_otel.testing.captured_metric import CapturedMetric, CapturedPoint
    from ares_otel.testing.captured_span import CapturedEvent, CapturedLink, CapturedSpan
    from ares_otel.testing.captured_trace import CapturedTrace
    from ares_otel.testing.otel import Otel, capture

__all__ = [
    "Ares",
    "CapturedEvent",
    "CapturedLink",
    "CapturedLog",
    "CapturedMetric",
    "CapturedPoint",
    "CapturedSpan",
    "CapturedTrace",
    "Otel",
    "capture",
]

_HOMES = {
    "Ares": "ares",
    "CapturedEvent": "captured_span",
    "CapturedLink": "captured_span",
    "CapturedLog": "captured_log",
    "CapturedMetric": "captured_metric",
    "CapturedPoint": "captured_metric",
    "CapturedSpan": "captured_span",
    "CapturedTrace": "captured_trace",
    "Otel": "otel",
    "capture": "otel",
}
"""Name → the module that has it. pytest imports this package in every run, and most runs need none of them."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ares_otel.testing' has no attribute {name!r}")
    return getattr(import_module(f"ares_otel.testing.{home}"), name)
