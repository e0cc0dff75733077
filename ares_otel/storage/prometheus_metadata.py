"""Keeps what Prometheus tells of metrics beside their samples: a few rows, written beside the samples' way.

Nobody waits for it, and nobody is promised it: a Prometheus tells it again every minute, or with every sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from hashlib import blake2b

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.prometheus.metadata import MetadataBook, MetricMetadata
from ares_otel.storage.pruning import PACE, Pace, Pruner
from ares_otel.storage.sqlstate import DATABASE_ERRORS

TOUCH_SECONDS = 6 * 3600.0
"""What is told again is written again after this, for `last_seen`."""
MAX_ROWS = 100_000
"""In the table; what is new beyond it is left out until old rows are gone."""
MAX_WAITING = 10_000
MAX_KNOWN = 50_000
MAX_NAME, MAX_UNIT, MAX_HELP = 512, 128, 4096
"""Characters. A metric with a longer name has no metadata; units and descriptions are cut."""
RETRY_SECONDS = 5.0
STOP_SECONDS = 2.0
_BATCH = 1000

_SAVE = """
INSERT INTO prometheus_metadata AS p (tenant_id, metric_name, digest, type, unit, help)
SELECT given.* FROM unnest($1::integer[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[])
    AS given (tenant_id, metric_name, digest, type, unit, help)
WHERE (SELECT count(*) FROM (SELECT FROM prometheus_metadata LIMIT $7) counted) < $7
   OR EXISTS (SELECT FROM prometheus_metadata k
              WHERE (k.tenant_id, k.metric_name, k.digest) = (given.tenant_id, given.metric_name, given.digest))
ORDER BY 1, 2, 3
ON CONFLICT (tenant_id, metric_name, digest) DO UPDATE SET last_seen = now()
"""
_PRUNE = """
DELETE FROM prometheus_metadata WHERE (tenant_id, metric_name, digest) IN (
    SELECT tenant_id, metric_name, digest FROM prometheus_metadata WHERE last_seen < $1 ORDER BY last_seen LIMIT $2)
"""

log = logging.getLogger("ares_otel.storage")

_Row = tuple[int, MetricMetadata]


class MetadataKeeper(MetadataBook):
    """Writes what is new, one short transaction for all that has come meanwhile."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], clock: Clock = SYSTEM_CLOCK) -> None:
        self._connect = connect
        self._clock = clock
        self._known: dict[_Row, float] = {}
        """When it was told last, in seconds of the clock."""
        self._waiting: dict[_Row, None] = {}
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def note(self, tenant_id: int, metadata: Iterable[MetricMetadata]) -> None:
        now = self._clock.monotonic()
        for one in metadata:
            row = tenant_id, one
            known = self._known.get(row)
            if (known is not None and now - known < TOUCH_SECONDS) or len(one.metric_name) > MAX_NAME:
                continue
            if len(self._waiting) >= MAX_WAITING:
                break
            self._waiting[row] = None
        if self._waiting and not self._stopped:
            self._filled.set()
            if self._task is None:
                self._task = asyncio.create_task(self._keep(), name="metadata of metrics")

    async def stop(self) -> None:
        """Writes what waits, if the database takes it soon. Safe twice, and without anything noted."""
        self._stopped = True
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(*DATABASE_ERRORS):
            async with asyncio.timeout(STOP_SECONDS):
                await self._save()

    async def _keep(self) -> None:
        said = False
        while True:
            await self._filled.wait()
            self._filled.clear()
            try:
                await self._save()
                said = False
            except DATABASE_ERRORS as error:
                if not said:
                    log.warning("Metadata of metrics waits for the database: %s: %s", type(error).__name__, error)
                    said = True
                self._filled.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _save(self) -> None:
        """Raises one of `DATABASE_ERRORS`; what is not written waits on."""
        if not self._waiting:
            return
        connection = await self._connect()
        try:
            while self._waiting:
                rows = list(self._waiting)[:_BATCH]
                await connection.execute(_SAVE, *_columns(rows), MAX_ROWS)
                now = self._clock.monotonic()
                if len(self._known) + len(rows) > MAX_KNOWN:
                    self._known.clear()
                for row in rows:
                    self._known[row] = now
                    self._waiting.pop(row, None)
        finally:
            await connection.close(timeout=5)


async def prune_metadata(connection: asyncpg.Connection, oldest: datetime, pace: Pace = PACE) -> int:
    """Deletes what nobody has told since the time of the oldest samples; how many rows. Raises asyncpg.PostgresError.

    Args:
        oldest: where the oldest partition begins.
    """
    return await Pruner(connection, pace).delete(_PRUNE, oldest - timedelta(seconds=2 * TOUCH_SECONDS))


def _columns(rows: list[_Row]) -> tuple[list[object], ...]:
    """The columns of the rows, without two of one key: texts that are cut can be equal."""
    found: dict[tuple[int, str, bytes], tuple[object, ...]] = {}
    for tenant_id, metadata in rows:
        name, type_ = _clean(metadata.metric_name), metadata.type
        unit, help_ = _clean(metadata.unit)[:MAX_UNIT], _clean(metadata.help)[:MAX_HELP]
        digest = blake2b("\0".join((type_, unit, help_)).encode(), digest_size=16).digest()
        found[tenant_id, name, digest] = (tenant_id, name, digest, type_, unit, help_)
    return tuple(list(column) for column in zip(*found.values(), strict=True))


def _clean(text: str) -> str:
    """PostgreSQL's text holds no NUL."""
    return text.replace("\0", "\ufffd")
