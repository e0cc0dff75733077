"""What the exporters of the three signals have in common."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
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

    def _hand_over(
        self, encode: Callable[[Any], bytes], data: Any, items: int, one_by_one: Callable[[Any], Iterable[Any]]
    ) -> bool:
        """Encodes and hands over; False, and counted, when that is not possible.

        Args:
            one_by_one: the data in the smallest pieces that can be encoded, each with the number of its items.
        """
        if self._closed:
            if not self._warned:
                self._warned = True
                log.warning("The exporter of %s was shut down, and takes no more.", self._signal.name)
            self._box.refuse(items, SHUTDOWN)
            return False
        try:
            payload = encode(data)
        except Exception:
            payload, good = self._encode_what_can_be(encode, one_by_one(data))
            self._worker.refuse(self._box, items - good, UNENCODABLE)
            return good > 0 and self._worker.put(self._box, payload, good) and good == items
        return self._worker.put(self._box, payload, items)

    def _encode_what_can_be(self, encode: Callable[[Any], bytes], pieces: Iterable[Any]) -> tuple[bytes, int]:
        """One request of those pieces that can be encoded, and how many items it has: requests of OTLP one after the
        other are one request with all that they hold."""
        good: list[bytes] = []
        items = 0
        for piece, count in pieces:
            try:
                good.append(encode(piece))
                items += count
            except Exception as error:
                if not self._complained:  # the others are counted, and said with what else is dropped
                    self._complained = True
                    text = " ".join(str(error).split())[:300]
                    log.error("%d %s cannot be encoded: %s", count, self._signal.items.replace("_", " "), text)
        return b"".join(good), items

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


def singly(items: Sequence[Any]) -> Iterable[Any]:
    """Spans or log records one by one."""
    return (([item], 1) for item in items)
