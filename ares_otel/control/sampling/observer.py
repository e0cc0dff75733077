"""What adaptive sampling tells about its work. How that is measured is not known here."""

from __future__ import annotations

from typing import Protocol


class SamplingObserver(Protocol):
    """Told what was counted and changed. Must not raise."""

    def counted(self, services: int, operations: int, seconds: float) -> None:
        """A round is done: so many services and operations with a target, in that time."""
        ...

    def changed(self, direction: str) -> None:
        """A probability went `up` or `down`, or is that of a `new` operation."""
        ...

    def elsewhere(self) -> None:
        """Nothing is calculated here: another process does it, or there is nothing to do."""
        ...

    def failed(self) -> None:
        """A round failed; it is tried again."""
        ...


class SilentSamplingObserver:
    """Tells nobody."""

    def counted(self, services: int, operations: int, seconds: float) -> None: ...
    def changed(self, direction: str) -> None: ...
    def elsewhere(self) -> None: ...
    def failed(self) -> None: ...
