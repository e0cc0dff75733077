"""How long matchers are tried for one question: whoever asks chooses how slow an expression is."""

from __future__ import annotations

import time
from types import TracebackType

from ares_otel.query.reader import QueryTooSlow

SECONDS = 30.0
"""A hundred thousand values of ordinary expressions take less than one."""


class Patience:
    """Ends work in threads, which nothing else ends: when it has taken too long, or when nobody waits for it any more.

    RE2 takes time in proportion to the length of a text, and of the expression; both may be long, and there are many
    texts. So it is looked at between two of them.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._until = time.monotonic() + seconds
        self._over = False

    def __enter__(self) -> Patience:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True

    def check(self) -> None:
        """Raises QueryTooSlow where the work is to end."""
        if self._over or time.monotonic() > self._until:
            raise QueryTooSlow("Trying the matchers takes too long; make expressions shorter, or texts equal (=).")
