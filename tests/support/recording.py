"""A consumer for tests of receivers: keeps what it gets and answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ares_otel.model.batch import Accepted, Batch

Answer = Callable[[Batch], Accepted]


def stored(batch: Batch) -> Accepted:
    """Everything is stored."""
    return Accepted(batch.items)


class Recording:
    """Keeps every batch. `answer` makes the answer or raises; `gate`, when given, is waited for before it."""

    def __init__(self, answer: Answer = stored) -> None:
        self.answer = answer
        self.gate: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.batches: list[Batch] = []

    async def consume(self, batch: Batch) -> Accepted:
        self.batches.append(batch)
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.answer(batch)

    def fail_with(self, error: BaseException) -> None:
        """From now on every batch is answered with this error."""

        def fail(batch: Batch) -> Accepted:
            raise error

        self.answer = fail
