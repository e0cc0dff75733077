"""Who is told what becomes of remote reads."""

from __future__ import annotations

from typing import Protocol

ANSWERED, REFUSED, TOO_MANY, UNAVAILABLE, LEFT, FAILED = (
    "answered",
    "refused",
    "too_many",
    "unavailable",
    "left",
    "failed",
)
"""What becomes of a request: it is answered; it is wrong; it would get more than it may; the database or a turn was not
to be had in time; its reader left before; an error of Ares."""


class ReadObserver(Protocol):
    """Told about remote reads. Must not raise."""

    def ended(self, outcome: str) -> None:
        """What became of a request; an answer may still have to be sent."""

    def read(self, series: int, samples: int, seconds: float) -> None:
        """Series and samples that a request gets, and how long it took to wait for a turn and to read them."""


class SilentReadObserver:
    """Tells nobody."""

    def ended(self, outcome: str) -> None: ...
    def read(self, series: int, samples: int, seconds: float) -> None: ...
