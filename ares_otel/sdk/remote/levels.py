"""Levels of loggers by settings, and back.

What the application sets itself is respected: it stays until the setting changes, and then the setting counts again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class _Held:
    """A logger whose level is set by a setting."""

    before: int
    """Its level without the setting."""
    ours: int


class Levels:
    """The loggers whose levels are set; "" is the root. One thread calls."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def apply(self, wanted: Mapping[str, int]) -> None:
        """From now on these loggers have these levels; those that are not named any more get back what they had, unless
        somebody else has set another meanwhile."""
        for name in [name for name in self._held if name not in wanted]:
            last, logger = self._held.pop(name), logging.getLogger(name or None)
            if logger.level == last.ours:
                logger.setLevel(last.before)
        for name, level in wanted.items():
            held = self._held.get(name)
            if held is not None and held.ours == level:
                continue  # nothing changed here: who set another level since then meant it
            logger = logging.getLogger(name or None)
            before = held.before if held is not None and logger.level == held.ours else logger.level
            self._held[name] = _Held(before, level)
            logger.setLevel(level)
