"""Keeps every trade event in the table `event_audit`, once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import asyncpg

from ares_otel.eventbus.connection import Backoff
from ares_otel.model.bus import Event, EventBus, Subscription
from ares_otel.storage.rows.values import clean_text, json_text
from ares_otel.storage.sqlstate import DATABASE_ERRORS, is_poison

PATTERN = "trade.**"
GROUP = "trade-audit"
QUEUE_SIZE = 10_000
"""Events that may wait while the database is away."""

_INSERT = """
INSERT INTO event_audit (event_id, topic, data, source, published_at) VALUES ($1, $2, $3::jsonb, $4, $5)
ON CONFLICT (event_id) DO NOTHING
"""

log = logging.getLogger("ares_otel.eventbus.audit")


class TradeAuditSubscriber:
    """Stores `trade.**` in `event_audit`, exactly once by event id.

    It is a member of the group `trade-audit`: over Redis the processes share the work, and what one of them did not
    finish another one does. The handler returns when the row is committed; while the database is away it tries again,
    and what comes meanwhile waits in the subscription's bounded queue.
    """

    def __init__(self, bus: EventBus, pool: asyncpg.Pool) -> None:
        self._bus = bus
        self._pool = pool
        self._subscription: Subscription | None = None
        self.stored = 0
        """Events that this process wrote."""
        self.refused = 0
        """Events that the database refused for what they hold; they are in the log."""

    async def start(self) -> None:
        self._subscription = await self._bus.subscribe(PATTERN, self._store, group=GROUP, queue_size=QUEUE_SIZE)

    async def stop(self) -> None:
        """Safe without `start` and twice."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    @property
    def dropped(self) -> int:
        """Events that found no room while the database was away."""
        return self._subscription.dropped if self._subscription is not None else 0

    async def _store(self, event: Event) -> None:
        replaced: Counter[str] = Counter()
        data = json_text(event.data, "data", replaced)[0].decode()
        source = clean_text(event.source, "source", replaced)
        backoff = Backoff()
        failures = 0
        while True:
            try:
                result = await self._pool.execute(_INSERT, event.id, event.topic, data, source, event.published_at)
            except DATABASE_ERRORS as error:
                if is_poison(error):
                    self.refused += 1
                    log.error("The database refuses the event %s of %s: %s", event.id, event.topic, error)
                    return
                failures += 1
                if failures == 1:
                    log.warning("Trade events wait for the database: %s: %s", type(error).__name__, error)
                await asyncio.sleep(backoff.pause())
                continue
            self.stored += result == "INSERT 0 1"
            if failures:
                log.warning("The database takes trade events again.")
            return
