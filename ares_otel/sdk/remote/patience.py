"""What may stand in the way to Ares, and how long to wait before the next attempt."""

from __future__ import annotations

import random

AWAY_FIRST, AWAY_MOST = 0.1, 5.0
"""Seconds between two attempts while Ares is away."""
WRONG_FIRST, WRONG_MOST = 30.0, 600.0
"""Seconds between two attempts where something else answers."""


class Away(Exception):
    """Nobody answers, or Ares cannot just now. The text says what happened."""


class Busy(Away):
    """Ares answers that it cannot just now."""


class NotAres(Exception):
    """Something answers that is not Ares, or not as it should. The text says how."""


class Patience:
    """How long to wait before the next attempt: not long for an Ares that is away, but where something else answers,
    it will not become Ares soon. Doubled each time."""

    def __init__(self) -> None:
        self._away = self._wrong = 0

    def seconds(self, error: Exception) -> float:
        """To wait after this error."""
        if isinstance(error, Away):
            self._away += 1
            pause = min(AWAY_FIRST * (1 << min(self._away - 1, 20)), AWAY_MOST)
        else:
            self._wrong += 1
            pause = min(WRONG_FIRST * (1 << min(self._wrong - 1, 20)), WRONG_MOST)
        return pause * random.uniform(0.7, 1.3)

    def restore(self) -> None:
        """It went well."""
        self._away = self._wrong = 0
