"""Which metric series this process has written already: their definitions are not made again."""

from __future__ import annotations

from collections.abc import Iterable


class KnownSeries:
    """A set of series ids, 16 bytes each (the tenant is part of what they are a hash of).

    Read by encoders in threads while the writer adds to it. When what it knows may not hold any more, all of it is
    forgotten and the generation changes: a batch that was encoded before and relies on it is encoded again.
    """

    __slots__ = ("_ids", "generation")

    def __init__(self) -> None:
        self._ids: set[bytes] = set()
        self.generation = 0

    def __contains__(self, series_id: bytes) -> bool:
        return series_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, series_ids: Iterable[bytes]) -> None:
        """Adds series whose definitions are committed."""
        self._ids.update(series_ids)

    def forget(self) -> None:
        """Forgets all, and begins a new generation."""
        self.generation += 1  # first: whoever looks something up from now on must not rely on what was
        self._ids = set()
