"""What the storage tells about its work. The storage does not know how that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class StorageObserver(Protocol):
    """Told about every transaction of the writer and every run of the partition job. Must not raise."""

    def queued(self, batches: int, size: int) -> None:
        """`batches` batches with `size` row bytes wait now."""
        ...

    def committed(self, rows: Mapping[str, int], seconds: float) -> None:
        """A transaction with that many rows by table was committed."""
        ...

    def failed(self, sqlstate: str) -> None:
        """A transaction failed with that SQLSTATE."""
        ...

    def refused(self, signal: str, items: int) -> None:
        """The database refused so many items for what they hold; they are in `ingest_rejected`."""
        ...

    def replaced(self, characters: Mapping[str, int]) -> None:
        """NUL characters were stored as U+FFFD, so many in each column."""
        ...

    def fell_back(self, reason: str) -> None:
        """The native encoder left a request to the reference, for that reason."""
        ...

    def partitions_failed(self) -> None:
        """A run of the partition job failed."""
        ...


class SilentObserver:
    """Tells nobody."""

    def queued(self, batches: int, size: int) -> None: ...
    def committed(self, rows: Mapping[str, int], seconds: float) -> None: ...
    def failed(self, sqlstate: str) -> None: ...
    def refused(self, signal: str, items: int) -> None: ...
    def replaced(self, characters: Mapping[str, int]) -> None: ...
    def fell_back(self, reason: str) -> None: ...
    def partitions_failed(self) -> None: ...
