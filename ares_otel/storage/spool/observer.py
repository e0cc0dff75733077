"""What the spool tells about its work. The spool does not know how that is measured."""

from __future__ import annotations

from typing import Protocol

from ares_otel.model.signal import Signal


class SpoolObserver(Protocol):
    """Told about everything that changes in a spool, from several threads. Must not raise. Items are those of a request
    that its sender was told are safe."""

    def found(self, signal: Signal, records: int, items: int) -> None:
        """At the start so many requests with so many items waited from before."""
        ...

    def appended(self, signal: Signal, records: int, items: int, size: int) -> None:
        """Requests became durable; `size` is their bytes on disk."""
        ...

    def done(self, signal: Signal, records: int, items: int, size: int) -> None:
        """Requests need not wait any longer."""
        ...

    def refused(self, reason: str) -> None:
        """A request was refused: `full` or `disk`."""
        ...

    def synced(self, seconds: float) -> None:
        """A group of requests was written and synced in that time."""
        ...

    def quarantined(self, segments: int, size: int, salvaged: int) -> None:
        """So many segments are damaged or missing; `size` bytes of them could not be read, `salvaged` requests of them
        were kept for replay."""
        ...

    def lost(self, signal: Signal, records: int, items: int) -> None:
        """Acknowledged requests cannot be read any more. Only those whose count of items is still known."""
        ...

    def torn(self, size: int) -> None:
        """An incomplete end of `size` bytes, of requests that were never acknowledged, was cut off."""
        ...


class SilentSpoolObserver:
    """Tells nobody."""

    def found(self, signal: Signal, records: int, items: int) -> None: ...
    def appended(self, signal: Signal, records: int, items: int, size: int) -> None: ...
    def done(self, signal: Signal, records: int, items: int, size: int) -> None: ...
    def refused(self, reason: str) -> None: ...
    def synced(self, seconds: float) -> None: ...
    def quarantined(self, segments: int, size: int, salvaged: int) -> None: ...
    def lost(self, signal: Signal, records: int, items: int) -> None: ...
    def torn(self, size: int) -> None: ...
