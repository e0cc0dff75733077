"""A consumer that stays while what stands behind it is exchanged."""

from __future__ import annotations

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.errors import Retryable


class Switch:
    """What a receiver or a connector feeds: one object for its whole life."""

    def __init__(self, target: Consumer) -> None:
        self.target = target

    async def consume(self, batch: Batch) -> Accepted:
        """Hands on to whatever stands behind it now; a batch on its way finishes where it began."""
        return await self.target.consume(batch)


class Closed:
    """Behind the switches where nothing runs: before the start, and after the stop."""

    async def consume(self, batch: Batch) -> Accepted:
        raise Retryable("Ares is stopping; send the data again later.")
