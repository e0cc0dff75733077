"""Random choices that can be repeated: all of them follow from the run's seed."""

from __future__ import annotations

import asyncio
import random
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Random moments and choices of one test."""

    def __init__(self, seed: int, test: str) -> None:
        self._random = random.Random(f"{seed}/{test}")

    async def moment(self, longest: float) -> None:
        """Waits for a random time, up to `longest` seconds, for a fault to strike then. It synchronises nothing."""
        await asyncio.sleep(self._random.uniform(0.0, longest))

    def pick(self, *choices: T) -> T:
        """One of the choices."""
        return self._random.choice(choices)
