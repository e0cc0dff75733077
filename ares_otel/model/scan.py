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
    """What the decoded message may take: see `decoded_bytes`."""


def decoded_bytes(size: int, empty_messages: int) -> int:
    """What the decoded message of a body may take in memory, at most about: three times the body, and a hundred bytes
    for what may be an empty message.

    Args:
        size: bytes of the body.
        empty_messages: places where an empty message may stand in it.
    """
    return 3 * size + 100 * empty_messages


class BodyScanner(ABC):
    """Walks the outer messages of a protobuf body."""

    @abstractmethod
    def scan(self, signal: Signal, body: bytes, limit: int) -> BodySize | None:
        """How much the body holds. None where that takes decoding: the body is malformed, or written in an unusual way.

        A body that is walked through may still be refused later, for what stands inside an item.

        Args:
            limit: items after which counting may end.
        """
