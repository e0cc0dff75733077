"""One page of a list, gathered from several ranges of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Page:
    """At most `limit` records, and no more bytes of text than `max_bytes` (the record that crosses the line is in it).

    The records have the columns `row_bytes`, and `found`: how many the statement found before it left some out for
    their size.
    """

    limit: int
    max_bytes: int
    records: list[Any] = field(default_factory=list)
    more: bool = False
    """Whether there is more than the page holds: then it is done."""
    _size: int = 0

    @property
    def bounds(self) -> dict[str, int]:
        """The statement's `limit` and `max_bytes` for the next range."""
        if self._size >= self.max_bytes:  # only whether there is more is still to be known
            return {"limit": 1, "max_bytes": 1}
        return {"limit": self.limit + 1 - len(self.records), "max_bytes": self.max_bytes - self._size}

    def add(self, found: list[Any]) -> None:
        """Takes what a range had."""
        if self._size >= self.max_bytes:
            self.more = bool(found)
            return
        left_out = bool(found) and len(found) < found[0]["found"]
        self.records += found
        self._size += sum(record["row_bytes"] for record in found)
        self.more = left_out or len(self.records) > self.limit
        del self.records[self.limit :]
