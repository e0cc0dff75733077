"""What became of what an exporter was given."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

QUEUE_FULL, EXPIRED, SHUTDOWN, UNENCODABLE = "queue_full", "expired", "shutdown", "unencodable"
"""Why something is dropped: no room while the database is slow or away; it waited too long; the process ended before
it was stored; the SDK's objects hold what OTLP has no form for."""


@dataclass(frozen=True, slots=True)
class ExporterStats:
    """Counts of items (spans, log records or data points) since the exporter was made, or since the fork.

    `exported = stored + rejected + sum(dropped.values()) + waiting`.
    """

    exported: int = 0
    """Given to `export`."""
    stored: int = 0
    """Committed, each once."""
    rejected: int = 0
    """Not storable: invalid, or refused by the database for what they hold; the latter are in `ingest_rejected`."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Lost, by reason: `queue_full`, `expired`, `shutdown`, `unencodable`."""
    waiting: int = 0
    """Neither yet."""
    waiting_bytes: int = 0
    """Encoded bytes of them."""


class Tally:
    """Counts for one exporter. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins anew: the process is the child of a fork."""
        self._lock = threading.Lock()
        self._exported = self._stored = self._rejected = 0
        self._dropped: dict[str, int] = {}
        self._unsaid: dict[str, int] = {}
        self.said_at = float("-inf")
        """When drops were last said, by `time.monotonic()`."""

    def exported(self, items: int) -> None:
        with self._lock:
            self._exported += items

    def settled(self, stored: int, rejected: int) -> None:
        with self._lock:
            self._stored += stored
            self._rejected += rejected

    def dropped(self, items: int, reason: str) -> None:
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + items
            self._unsaid[reason] = self._unsaid.get(reason, 0) + items

    def take_unsaid(self) -> dict[str, int]:
        """Drops by reason since the last call."""
        with self._lock:
            unsaid, self._unsaid = self._unsaid, {}
        return unsaid

    def stats(self, waiting: int, waiting_bytes: int) -> ExporterStats:
        with self._lock:
            return ExporterStats(
                self._exported, self._stored, self._rejected, dict(self._dropped), waiting, waiting_bytes
            )
