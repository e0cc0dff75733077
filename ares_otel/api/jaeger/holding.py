"""Memory for traces that are held as a whole until a viewer has taken them, who may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ares_otel.query.reader import DatabaseUnavailable

WAIT_SECONDS = 15.0
"""How long a trace waits for room."""


class Room:
    """What one trace may take."""

    def __init__(self, holding: Holding, size: int) -> None:
        self._holding = holding
        self._size = size

    def keep(self, size: int) -> None:
        """So many bytes are needed from now on, but no more than before; the rest is for others."""
        size = min(size, self._size)
        self._holding.give_back(self._size - size)
        self._size = size


class Holding:
    """Bytes for the traces of a door."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[Room]:
        """Room for so many bytes, until the end of the block.

        Raises DatabaseUnavailable: there is none in time.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self._free < size:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise DatabaseUnavailable(
                "Too many large traces are being looked at already; try again when they have been taken, or ask for "
                "the trace as it is stored (raw)."
            ) from None
        self._free -= size
        room = Room(self, size)
        try:
            yield room
        finally:
            room.keep(0)

    def give_back(self, size: int) -> None:
        """So many bytes are free again."""
        self._free += size
        self._freed.set()
