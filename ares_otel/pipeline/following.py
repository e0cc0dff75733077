"""What runs behind an answer: connectors are told of the batches that are new and safe, each once.

A connector counts, so it must see a batch that was stored exactly when it was stored: not when the sender repeats it,
and also when the sender went away while it was being stored. So the batch is carried by a task of its own, which nobody
cancels, and the answer of the exporters says whether it is new.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.errors import Unavailable
from ares_otel.pipeline.component import BuildContext, Connector
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.gate import Gate

REMEMBERED_KEYS = 50_000
"""Requests that are recognised when nobody else recognises them."""


class Keys:
    """The keys that were added last."""

    def __init__(self, limit: int = REMEMBERED_KEYS) -> None:
        self._limit = limit
        self._order: deque[bytes] = deque()
        self._known: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def add(self, key: bytes) -> None:
        """Remembers it; forgets the oldest beyond the limit."""
        if key in self._known:
            return
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > self._limit:
            self._known.discard(self._order.popleft())


class ConnectorEnd:
    """A connector as the end of pipelines. Its answer is that everything was taken: a connector refuses nothing."""

    def __init__(self, context: BuildContext, connector: Connector) -> None:
        self._context = context
        self._connector = connector
        self._seen = Keys()
        self._errors = ErrorLog(context.log, context.clock, told="; the answer to the sender is not affected")

    async def consume(self, batch: Batch) -> Accepted:
        """Lets the connector see the batch, unless it has seen one with this key.

        Raises:
            Rejected: it cannot be decoded.
        """
        items = batch.items
        if batch.key in self._seen:
            self._count(batch, "repeated", items)
            return Accepted(items)
        self._seen.add(batch.key)
        try:
            await self._connector.observe(batch)
        except Exception as error:
            self._errors.unexpected(error, f"The connector {self._context.id}")
            self._count(batch, "failed", items)
        else:
            self._count(batch, "taken", items)
        return Accepted(items)

    def _count(self, batch: Batch, outcome: str, items: int) -> None:
        counter = self._context.telemetry.counter("ares_otel_connector_items")
        counter.labels(connector=self._context.id, signal=batch.signal.name, outcome=outcome).inc(items)


class Following:
    """Hands a batch to the deciding consumer, and when its answer says that the batch is new, to the followers."""

    def __init__(
        self, decider: Consumer, followers: Sequence[Consumer], gate: Gate, unsure: Keys, errors: ErrorLog
    ) -> None:
        """
        Args:
            gate: counts a batch as inside while it is carried, also when its sender is gone.
            unsure: keys of batches of which nobody knows whether they were stored.
        """
        self._decider = decider
        self._followers = tuple(followers)
        self._gate = gate
        self._unsure = unsure
        self._errors = errors
        self._carried: set[asyncio.Task[Accepted]] = set()

    async def consume(self, batch: Batch) -> Accepted:
        """The decider's answer, and nothing else's. Raises what the decider raises; the followers then get nothing."""
        self._gate.enter()
        task = asyncio.create_task(self._carry(batch))
        self._carried.add(task)
        task.add_done_callback(self._arrived)
        await asyncio.wait({task})  # a wait that is cancelled leaves the task alone
        return task.result()

    async def give_up(self) -> None:
        """Cancels what is still being carried: nobody waits for it, and time is over."""
        for task in self._carried:
            task.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)

    def _arrived(self, task: asyncio.Task[Accepted]) -> None:
        self._carried.discard(task)
        self._gate.leave()
        if not task.cancelled():
            task.exception()  # looked at: whoever waited for it may be gone

    async def _carry(self, batch: Batch) -> Accepted:
        try:
            answer = await self._decider.consume(batch)
        except Unavailable:
            self._unsure.add(batch.key)
            raise
        if self._is_new(batch, answer):
            for follower in self._followers:
                try:
                    await follower.consume(batch)
                except Exception as error:  # a processor before a connector refused it
                    self._errors.unexpected(error, "A pipeline that ends in a connector")
        return answer

    def _is_new(self, batch: Batch, answer: Accepted) -> bool:
        """Something of it was kept, or left out on purpose, and nothing of it was known before. A batch whose storing
        broke off here counts as new when it turns out to be stored: by the attempt of which nobody knew."""
        if answer.deduplicated:
            return batch.key in self._unsure
        return answer.stored + answer.spooled + answer.dropped > 0
