"""One batch to several consumers, and one answer out of several."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.errors import Rejected, Retryable


class FanOut:
    """Gives each batch to all consumers at once and waits for all of them.

    The answer, so that the sender repeats whatever is not safe everywhere:

    1. one `Retryable` (or an unexpected exception) wins: the sender sends again, and who has the batch already
       recognises it by its key;
    2. else one `Rejected` wins: the data is invalid somewhere, and repeating cannot help;
    3. else the merged `Accepted`, see `merge`.
    """

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = tuple(consumers)

    async def consume(self, batch: Batch) -> Accepted:
        """Raises `Retryable` or `Rejected` by the rule above."""
        results = await asyncio.gather(*(one.consume(batch) for one in self._consumers), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise min(errors, key=_rank)
        return merge([result for result in results if isinstance(result, Accepted)])


def fan_out(consumers: Sequence[Consumer]) -> Consumer:
    """One consumer for all of them; a single one is returned as it is."""
    return consumers[0] if len(consumers) == 1 else FanOut(consumers)


def _rank(error: BaseException) -> tuple[int, float]:
    """Cancellation before unexpected before retryable (longest delay first) before rejected."""
    if not isinstance(error, Exception):
        return (0, 0.0)
    if isinstance(error, Retryable):
        return (2, -error.retry_after)
    return (3, 0.0) if isinstance(error, Rejected) else (1, 0.0)


def merge(answers: Sequence[Accepted]) -> Accepted:
    """One answer from several about the same items: an item counts as rejected when one consumer rejected it, else as
    stored when one stored it, else as spooled, else as deduplicated, else as dropped. Which items they were is not
    known, only how many, so each number is the largest that was given, as far as the numbers before it leave room."""
    room = max(one.stored + one.spooled + one.deduplicated + one.rejected + one.dropped for one in answers)
    counts: dict[str, int] = {}
    for name in ("rejected", "stored", "spooled", "deduplicated"):
        counts[name] = min(room, max(getattr(one, name) for one in answers))
        room -= counts[name]
    reasons = dict.fromkeys(one.reason for one in answers if one.reason)
    return Accepted(dropped=room, reason="; ".join(reasons), **counts)
