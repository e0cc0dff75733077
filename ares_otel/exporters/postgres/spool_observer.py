"""Turns what the spool tells into Ares's own metrics."""

from __future__ import annotations

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.spool.spool import Spool


class TelemetrySpoolObserver:
    """A `SpoolObserver` that counts. What waits is asked of the spool when somebody looks: see `watch`."""

    def __init__(self, telemetry: Telemetry, clock: Clock = SYSTEM_CLOCK) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._spools: list[Spool] = []
        self._items = telemetry.counter("ares_otel_spool_items")
        self._refused = telemetry.counter("ares_otel_spool_refused")
        self._seconds = telemetry.histogram("ares_otel_spool_sync_seconds")
        self._quarantined = telemetry.counter("ares_otel_spool_quarantined_segments")
        self._torn = telemetry.counter("ares_otel_spool_torn_bytes")

    def watch(self, spool: Spool) -> None:
        """Shows the figures of this spool from now on, together with those that are watched already."""
        if not self._spools:
            self._show()
        self._spools.append(spool)

    def forget(self, spool: Spool) -> None:
        """Shows the figures of this spool no more: it is empty and is about to be closed."""
        self._spools.remove(spool)

    def _show(self) -> None:
        spools, gauge = self._spools, self._telemetry.gauge

        def age() -> float:
            oldest = min((one.oldest_ns for one in spools if one.oldest_ns is not None), default=None)
            return 0.0 if oldest is None else max(0.0, (self._clock.time_ns() - oldest) / 1e9)

        gauge("ares_otel_spool_limit_bytes").set_function(lambda: sum(one.limit_bytes for one in spools))
        gauge("ares_otel_spool_bytes").set_function(lambda: sum(one.bytes_used for one in spools))
        gauge("ares_otel_spool_oldest_seconds").set_function(age)
        for signal in SIGNALS.values():
            self._show_signal(signal)

    def _show_signal(self, signal: Signal) -> None:
        spools, gauge = self._spools, self._telemetry.gauge
        items = gauge("ares_otel_spool_waiting_items").labels(signal=signal.name)
        items.set_function(lambda: sum(one.waiting(signal).items for one in spools))
        requests = gauge("ares_otel_spool_waiting_requests").labels(signal=signal.name)
        requests.set_function(lambda: sum(one.waiting(signal).records for one in spools))

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
