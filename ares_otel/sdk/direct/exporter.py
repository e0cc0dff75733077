"""What the exporters of the three signals have in common."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import MeterProvider

from ares_otel.model.signal import Signal
from ares_otel.sdk.direct.bounds import Bounds, Limits
from ares_otel.sdk.direct.outbox import Outbox
from ares_otel.sdk.direct.self_metrics import SelfMetrics
from ares_otel.sdk.direct.stats import SHUTDOWN, UNENCODABLE, ExporterStats
from ares_otel.sdk.direct.worker import worker_for

VARIABLE = "ARES_OTEL_DATABASE_URL"

log = logging.getLogger("ares_otel.sdk.direct")


class DirectExporter:
    """The way of one exporter into PostgreSQL.

    `export` hands over to a thread that the exporters of the process share when their database is the same; it never
    waits, raises or makes telemetry. What that means when the database is slow or away: docs/direct-exporters.md.
    """

    def __init__(
        self, signal: Signal, database_url: str | None, meter_provider: MeterProvider | None, limits: Limits
    ) -> None:
        url = database_url or os.environ.get(VARIABLE, "").strip()
        if not url:
            raise ValueError(
                f"An exporter into PostgreSQL needs a database: give database_url, or set {VARIABLE} to "
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
            )
        self._signal = signal
        self._box = Outbox(signal, Bounds.of(limits), SelfMetrics(signal, meter_provider))
        self._worker = worker_for(url)
        self._closed = self._warned = self._complained = False

    def _hand_over(self, encode: Callable[[Any], bytes], data: Any, items: int) -> bool:
        """Encodes and hands over; False, and counted, when that is not possible."""
        if self._closed:
            if not self._warned:
                self._warned = True
                log.warning("The exporter of %s was shut down, and takes no more.", self._signal.name)
            self._box.refuse(items, SHUTDOWN)
            return False
        try:
            payload = encode(data)
        except Exception as error:
            if not self._complained:  # the others are counted, and said with what else is dropped
                self._complained = True
                log.error("%d %s cannot be encoded: %s", items, self._signal.items.replace("_", " "), error)
            self._worker.refuse(self._box, items, UNENCODABLE)
            return False
        return self._worker.put(self._box, payload, items)

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Waits, at most so long, until what was exported has an answer; True when all of it is stored."""
        return self._closed or self._worker.flush(self._box, max(0.0, timeout_millis / 1000))

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        """Stores what waits, at most so long and at most `shutdown_seconds`; what is left then is dropped and counted.
        A database that is away is asked once more, and no longer waited for. Safe twice."""
        timeout_millis = options.get("timeout", timeout_millis)  # so PeriodicExportingMetricReader calls it
        if not self._closed:
            self._closed = True
            self._worker.close(self._box, min(max(0.0, timeout_millis / 1000), self._box.bounds.shutdown_seconds))

    def stats(self) -> ExporterStats:
        """What became of the items."""
        return self._box.stats
