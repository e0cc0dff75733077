"""What can be said of a request's body without decoding it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from ares_otel.model.signal import Signal


class BodySize(NamedTuple):
    """How much a body holds."""

    items: int
    """Spans, log records or data points; more than the limit that was asked for where there are more."""
    memory_bytes: int
    """What the decoded message may take, at most about: a body of two bytes can be an empty message."""


class BodyScanner(ABC):
    """Walks the outer messages of a protobuf body."""

    @abstractmethod
    def scan(self, signal: Signal, body: bytes, limit: int) -> BodySize | None:
        """How much the body holds. None where that takes decoding: the body is malformed, or written in an unusual way.

        A body that is walked through may still be refused later, for what stands inside an item.

        Args:
            limit: items after which counting may end.
        """
