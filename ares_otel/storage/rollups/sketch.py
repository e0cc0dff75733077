"""Sketches of sets of traces: the smallest hashes of their ids, from which the number of traces follows.

While nothing was left out the number is exact. After that the hashes are known to be all those below a threshold, and
as hashes spread evenly over 63 bits, there are 2**63 / threshold times as many traces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

HASHES = 512
"""Hashes that a minute keeps."""
HOUR_HASHES = 2048
"""Hashes that an hour keeps: the number of more traces has a standard error of 2.2 %."""
_MOST = 8 * HOUR_HASHES
"""Hashes in memory: of more, those that nobody keeps are let go of while others are added."""
_ALL = 2**63


@dataclass(slots=True)
class Sketch:
    """A set of traces."""

    hashes: set[int] = field(default_factory=set)
    threshold: int | None = None
    """Hashes from here on were left out; None when none was."""

    def add(self, hashes: Iterable[int], threshold: int | None) -> None:
        """Adds the traces of another sketch."""
        self.hashes.update(hashes)
        if threshold is not None and (self.threshold is None or threshold < self.threshold):
            self.threshold = threshold
        if len(self.hashes) > _MOST:
            smallest, self.threshold = self.kept(HOUR_HASHES)
            self.hashes = set(smallest)

    def kept(self, most: int) -> tuple[list[int], int | None]:
        """At most so many hashes, ascending, and the threshold."""
        limit = self.threshold
        hashes = sorted(self.hashes if limit is None else (one for one in self.hashes if one < limit))
        if len(hashes) > most:
            return hashes[:most], hashes[most]
        return hashes, limit

    @property
    def traces(self) -> int:
        """How many there are: exact, or an estimate where there is a threshold."""
        if self.threshold is None:
            return len(self.hashes)
        limit = self.threshold
        return self.estimate(sum(one < limit for one in self.hashes), limit)

    @staticmethod
    def estimate(hashes: int, threshold: int | None) -> int:
        """How many traces there are when so many of them have a hash below the threshold."""
        return hashes if not threshold else round(hashes * _ALL / threshold)
