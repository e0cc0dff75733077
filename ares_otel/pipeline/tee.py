"""The end of a pipeline: who decides the answer, and who gets the data after that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.pipeline.sending import Sending


class Tee:
    """Hands a batch to the deciding consumer, and once that has it, to the others.

    The others get the batch whenever the decider answered `Accepted`, also when it knew the batch already: a sender
    that repeats a batch may do so because the first attempt broke off before the others were fed. Their destination
    may thus see a batch twice, but never misses one without a counter saying so.
    """

    def __init__(self, decider: Consumer, others: Sequence[Sending]) -> None:
        self._decider = decider
        self._others = tuple(others)

    async def consume(self, batch: Batch) -> Accepted:
        """The decider's answer, and nothing else's. Raises what the decider raises; the others then get nothing."""
        answer = await self._decider.consume(batch)
        if len(self._others) == 1:
            await self._others[0].feed(batch)
        else:
            await asyncio.gather(*(other.feed(batch) for other in self._others))
        return answer
