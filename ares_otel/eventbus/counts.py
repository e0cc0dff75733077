"""What the bus counts, told to whoever measures."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, int], None]
"""Told the name of a count and by how much it grew; must be quick and must not raise."""

NAMES = ("published", "delivered", "dropped", "failed", "skipped")
"""`dropped`: a bounded queue was full; `failed`: a handler raised; `skipped`: an entry in Redis that is no event."""

_MAX_TOPICS = 1000


class Counts:
    """The counts of one bus since it was made."""

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell
        self.published = 0
        self.delivered = 0
        self.dropped = 0
        self.failed = 0
        self.skipped = 0
        self.topics: dict[str, int] = {}
        """Events published by this process, by topic; the first thousand topics."""

    def add(self, name: str, amount: int = 1) -> None:
        setattr(self, name, getattr(self, name) + amount)
        if self._tell is not None:
            self._tell(name, amount)

    def published_to(self, topic: str) -> None:
        self.add("published")
        if topic in self.topics or len(self.topics) < _MAX_TOPICS:
            self.topics[topic] = self.topics.get(topic, 0) + 1
