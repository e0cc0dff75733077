"""What the jobs on partitions tell about their work. The storage does not know how that is measured."""

from __future__ import annotations

from typing import Protocol


class MaintenanceObserver(Protocol):
    """Told what retention, archive and seal did. Must not raise."""

    def dropped(self, table: str, reason: str, size: int) -> None:
        """A partition of the table was dropped, for one of the reasons of `plan`, and freed `size` bytes."""
        ...

    def archived(self, table: str, rows: int, size: int) -> None:
        """A partition was written to a file of `size` bytes and verified."""
        ...

    def sealed(self, table: str) -> None:
        """A closed partition has its search indexes."""
        ...

    def packed(self, samples: int, duplicates: int) -> None:
        """Samples were packed, and left out because there was one of their series and time already."""
        ...

    def pruned(self, what: str, rows: int) -> None:
        """Rows of the table `what` were deleted one by one."""
        ...

    def failed(self, job: str) -> None:
        """A job failed: drop, archive, seal or prune; retention when a whole run did."""
        ...

    def disk_nearly_full(self, full: bool) -> None:
        """Whether the disk that holds the data is nearly full now."""
        ...


class SilentMaintenanceObserver:
    """Tells nobody."""

    def dropped(self, table: str, reason: str, size: int) -> None: ...
    def archived(self, table: str, rows: int, size: int) -> None: ...
    def sealed(self, table: str) -> None: ...
    def packed(self, samples: int, duplicates: int) -> None: ...
    def pruned(self, what: str, rows: int) -> None: ...
    def failed(self, job: str) -> None: ...
    def disk_nearly_full(self, full: bool) -> None: ...
