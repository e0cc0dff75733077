"""What the job on roll-ups tells about its work. The storage does not know how that is measured."""

from __future__ import annotations

from typing import Protocol


class RollupObserver(Protocol):
    """Told what was merged, found and removed. Must not raise."""

    def waiting(self, table: str, rows: int) -> None:
        """So many increments wait in the table now."""
        ...

    def merged(self, table: str, rows: int, seconds: float) -> None:
        """So many increments were merged, in one transaction of that length."""
        ...

    def merged_all(self) -> None:
        """Everything that was stored before this round began is merged."""
        ...

    def elsewhere(self) -> None:
        """Another process does the job."""
        ...

    def edges_found(self, seconds: float) -> None:
        """The edges of one minute were found in that time."""
        ...

    def edges_waiting(self, minutes: int) -> None:
        """The edges of so many minutes should have been found by now."""
        ...

    def pruned(self, table: str, rows: int) -> None:
        """Rows of the table were deleted for their age."""
        ...

    def failed(self, step: str) -> None:
        """A step failed: merge, totals, edges or age."""
        ...


class SilentRollupObserver:
    """Tells nobody."""

    def waiting(self, table: str, rows: int) -> None: ...
    def merged(self, table: str, rows: int, seconds: float) -> None: ...
    def merged_all(self) -> None: ...
    def elsewhere(self) -> None: ...
    def edges_found(self, seconds: float) -> None: ...
    def edges_waiting(self, minutes: int) -> None: ...
    def pruned(self, table: str, rows: int) -> None: ...
    def failed(self, step: str) -> None: ...
