"""How many spans one stands for that a sampler has kept.

Source: OpenTelemetry specification, "TraceState: Probability Sampling": of spans with the threshold T, one in
2^56 / (2^56 - T) is kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ares_otel.model.thresholds import NEVER, SamplingError, TraceState


class AdjustedCounts:
    """Reads the sampling threshold of trace states."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        """
        Args:
            draw: gives numbers from 0 to 1.
        """
        self._draw = draw
        self._last: tuple[str, int, float, bool] = ("", 1, 0.0, False)

    def of(self, trace_state: str) -> tuple[int, bool]:
        """How many spans one with this trace state stands for, and whether that is known from a threshold. What cannot
        be read counts one. A fraction is rounded up as often as it is large, so that sums come right."""
        if not trace_state:
            return 1, False
        if trace_state != self._last[0]:  # those of one trace have the same
            self._last = (trace_state, *_read(trace_state))
        _, whole, rest, known = self._last
        return whole + (rest > 0 and self._draw() < rest), known


def _read(trace_state: str) -> tuple[int, float, bool]:
    """The whole spans, the rest, and whether there is a threshold."""
    if "ot=" in trace_state:
        try:
            threshold = TraceState(trace_state).threshold
        except SamplingError:
            threshold = None
        if threshold is not None:
            whole, rest = divmod(NEVER, NEVER - threshold)
            return whole, rest / (NEVER - threshold), True
    return 1, 0.0, False
