"""Metrics at an interval that may change while the application runs."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
import weakref
from typing import Any

from opentelemetry.sdk.environment_variables import OTEL_METRIC_EXPORT_INTERVAL, OTEL_METRIC_EXPORT_TIMEOUT
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader

log = logging.getLogger("ares_otel.sdk.remote")


class FlexibleMetricReader(PeriodicExportingMetricReader):
    """The SDK's periodic reader with a clock of its own: the SDK's cannot be set.

    It collects when the interval has passed since the last collection; a shorter interval counts at once. At
    shutdown it collects once more (specification, metrics SDK, periodic exporting MetricReader).
    """

    def __init__(
        self, exporter: MetricExporter, interval_millis: float | None = None, timeout_millis: float | None = None
    ) -> None:
        """
        Args:
            interval_millis: between two collections while nothing else is set; None for `OTEL_METRIC_EXPORT_INTERVAL`,
                which is a minute by default; infinite for never.
            timeout_millis: of an export; None for `OTEL_METRIC_EXPORT_TIMEOUT`, 30 s by default.

        Raises:
            ValueError: the interval is not above 0.
        """
        base = _millis(OTEL_METRIC_EXPORT_INTERVAL, 60_000.0) if interval_millis is None else interval_millis
        if not base > 0:
            raise ValueError(f"The interval between two collections of metrics must be above 0 ms; it is {base:g}.")
        timeout = _millis(OTEL_METRIC_EXPORT_TIMEOUT, 30_000.0) if timeout_millis is None else timeout_millis
        self._timeout_ms = timeout
        self._base = self._interval = base / 1000
        self._changed = threading.Condition()
        self._ended = False
        # Without an interval the SDK's own clock does not run; all else is the SDK's.
        super().__init__(exporter, export_interval_millis=math.inf, export_timeout_millis=timeout)
        self._start()
        if hasattr(os, "register_at_fork"):
            here = weakref.WeakMethod(self._forked)
            os.register_at_fork(after_in_child=lambda: (call := here()) and call())

    @property
    def interval(self) -> float:
        """Seconds between two collections now."""
        return self._interval

    def apply(self, seconds: float | None) -> None:
        """Sets the interval; None for what it was at first. Thread-safe."""
        with self._changed:
            self._interval = self._base if seconds is None else seconds
            self._changed.notify_all()

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        deadline = time.monotonic() + timeout_millis / 1000
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        super().shutdown(timeout_millis=max(0.0, deadline - time.monotonic()) * 1000, **kwargs)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ares-otel metrics", daemon=True)
        self._thread.start()

    def _forked(self) -> None:
        """In the child, where the thread is not, and its lock may be held by nobody."""
        self._changed = threading.Condition()
        if not self._ended:
            self._start()

    def _run(self) -> None:
        while self._wait():
            self._collect_now()
        self._collect_now()

    def _wait(self) -> bool:
        """Until the interval has passed from now on; False at the end."""
        began = time.monotonic()
        with self._changed:
            while not self._ended:
                rest = began + self._interval - time.monotonic()
                if rest <= 0:
                    return True
                self._changed.wait(min(rest, threading.TIMEOUT_MAX))
        return False

    def _collect_now(self) -> None:
        if self._collect is None:
            return  # no provider has it yet, or none any more
        try:
            self.collect(timeout_millis=self._timeout_ms)
        except Exception as error:  # a callback of the application's, or the time-out
            log.warning("Metrics were not collected this time: %s: %s", type(error).__name__, error)


def _millis(variable: str, default: float) -> float:
    with contextlib.suppress(ValueError):
        return float(os.environ.get(variable, "").strip() or default)
    log.warning("%s is no number of milliseconds; %g is used.", variable, default)
    return default
