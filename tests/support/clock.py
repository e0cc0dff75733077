"""A clock that goes when a test says so."""

from __future__ import annotations


class FakeClock:
    """Starts at 1000 s; moves by `advance` only."""

    def __init__(self) -> None:
        self._seconds = 1000.0

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    def monotonic(self) -> float:
        return self._seconds

    def time_ns(self) -> int:
        return int(self._seconds * 1e9)
