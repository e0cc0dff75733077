"""Counts what is inside."""

from __future__ import annotations

import asyncio

from ares_otel.model.batch import Accepted, Batch, Consumer


class Gate:
    """Counts the batches that are inside a graph, so that it can be stopped when the last one has left."""

    def __init__(self) -> None:
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def entrance(self, consumer: Consumer) -> Consumer:
        """The consumer, with every batch on its way through it counted."""
        return _Entrance(self, consumer)

    def enter(self) -> None:
        self._inside += 1
        self._empty.clear()

    def leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def wait_empty(self, seconds: float) -> bool:
        """Waits until no batch is inside; False when some still are after that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True


class _Entrance:
    def __init__(self, gate: Gate, consumer: Consumer) -> None:
        self._gate = gate
        self._consumer = consumer

    async def consume(self, batch: Batch) -> Accepted:
        self._gate.enter()
        try:
            return await self._consumer.consume(batch)
        finally:
            self._gate.leave()
