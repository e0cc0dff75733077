"""Turns what the spool tells into Ares's own metrics."""

from __future__ import annotations

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.spool.spool import Spool


class TelemetrySpoolObserver:
    """A `SpoolObserver` that counts. What waits is asked of the spool when somebody looks: see `watch`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._items = telemetry.counter("ares_otel_spool_items")
        self._refused = telemetry.counter("ares_otel_spool_refused")
        self._seconds = telemetry.histogram("ares_otel_spool_sync_seconds")
        self._quarantined = telemetry.counter("ares_otel_spool_quarantined_segments")
        self._torn = telemetry.counter("ares_otel_spool_torn_bytes")

    def watch(self, spool: Spool, clock: Clock = SYSTEM_CLOCK) -> None:
        """Shows the figures of this spool from now on."""

        def age() -> float:
            oldest = spool.oldest_ns
            return 0.0 if oldest is None else max(0.0, (clock.time_ns() - oldest) / 1e9)

        gauge = self._telemetry.gauge
        gauge("ares_otel_spool_limit_bytes").set(spool.limit_bytes)
        gauge("ares_otel_spool_bytes").set_function(lambda: spool.bytes_used)
        gauge("ares_otel_spool_oldest_seconds").set_function(age)
        for signal in SIGNALS.values():
            self._watch_signal(spool, signal)

    def _watch_signal(self, spool: Spool, signal: Signal) -> None:
        gauge = self._telemetry.gauge
        items = gauge("ares_otel_spool_waiting_items").labels(signal=signal.name)
        items.set_function(lambda: spool.waiting(signal).items)
        requests = gauge("ares_otel_spool_waiting_requests").labels(signal=signal.name)
        requests.set_function(lambda: spool.waiting(signal).records)

    def found(self, signal: Signal, records: int, items: int) -> None:
        self._items.labels(signal=signal.name, outcome="found").inc(items)

    def appended(self, signal: Signal, records: int, items: int, size: int) -> None:
        self._items.labels(signal=signal.name, outcome="spooled").inc(items)

    def done(self, signal: Signal, records: int, items: int, size: int) -> None:
        """Counted by the replayer, which knows what became of them."""

    def refused(self, reason: str) -> None:
        self._refused.labels(reason=reason).inc()

    def synced(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def quarantined(self, segments: int, size: int, salvaged: int) -> None:
        self._quarantined.inc(segments)

    def lost(self, signal: Signal, records: int, items: int) -> None:
        self._items.labels(signal=signal.name, outcome="lost").inc(items)

    def torn(self, size: int) -> None:
        self._torn.inc(size)
