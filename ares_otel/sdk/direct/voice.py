"""What the exporters say to the people who run the application: little, and each thing once."""

from __future__ import annotations

import logging
import time

from ares_otel.model.signal import Signal
from ares_otel.sdk.direct.stats import EXPIRED, QUEUE_FULL, SHUTDOWN, UNENCODABLE, Tally

INTERVAL = 60.0
"""Seconds between two sentences of one kind."""
THREAD = "ares-otel-direct"
"""Name of the worker's thread."""

_WHY = {
    QUEUE_FULL: "no room, the limit is queue_mib or queue_items (ARES_OTEL_SDK_QUEUE_MIB, ARES_OTEL_SDK_QUEUE_ITEMS)",
    EXPIRED: "not stored in time, the limit is retry_seconds (ARES_OTEL_SDK_RETRY_SECONDS)",
    SHUTDOWN: "the process ended before the database took them",
    UNENCODABLE: "OTLP has no form for what they hold",
}

log = logging.getLogger("ares_otel.sdk.direct")


class Voice:
    """Says when the database takes nothing and when it does again, and how much was dropped. Only the worker's loop and
    whoever ends it speak: logging may take its time, and `export` has none."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._sentence = ""
        self._said_at = float("-inf")

    def away(self, sentence: str) -> None:
        """Nothing can be stored now."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if sentence != self._sentence and now - self._said_at >= INTERVAL:
            self._sentence, self._said_at = sentence, now
            log.warning("Telemetry cannot be stored now, and is kept for a while and tried again: %s", sentence)

    def away_at_the_end(self, sentence: str) -> None:
        """Nothing can be stored, and the process ends."""
        if sentence != self._sentence:
            self._sentence = sentence
            log.warning("Telemetry could not be stored at the end: %s", sentence)

    @property
    def wants_a_sentence(self) -> bool:
        """Whether `away` would say something: finding out why takes a connection."""
        return time.monotonic() - self._said_at >= INTERVAL

    def back(self) -> None:
        """Something was stored."""
        if self._away_since is not None:
            if self._sentence:
                log.warning("Telemetry is stored again, after %.0f s.", time.monotonic() - self._away_since)
            self._away_since, self._sentence = None, ""

    def drops(self, signal: Signal, tally: Tally, *, last: bool = False) -> float | None:
        """Says what was dropped, if the last time is long enough ago or `last`; else in how many seconds it may."""
        since = time.monotonic() - tally.said_at
        if since < INTERVAL and not last:
            return INTERVAL - since
        unsaid = tally.take_unsaid()
        if unsaid:
            tally.said_at = time.monotonic()
            reasons = "; ".join(f"{count}: {_WHY[reason]}" for reason, count in unsaid.items())
            log.warning("Dropped %d %s (%s).", sum(unsaid.values()), signal.items.replace("_", " "), reasons)
        return None


class _StorageIsQuiet(logging.Filter):
    """On this thread the storage speaks through `Voice`, in sentences that an application's people can use."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD or record.levelno >= logging.ERROR or log.isEnabledFor(logging.DEBUG)


_quiet = _StorageIsQuiet()


def quiet_storage() -> None:
    """Only those of the worker's thread, and not those of a real error. Safe twice."""
    for name in ("ares_otel.storage", "ares_otel.storage.writer"):
        logging.getLogger(name).addFilter(_quiet)
