"""Sealing: a partition whose time is over gets the indexes that searching needs and ingest could not afford, and is
vacuumed. The indexes that it has are built anew, which makes them smaller. Late rows may still come; they cost a little
more from then on.

Everything here is CONCURRENTLY: inserts and reads go on. What is broken off leaves an index that is not valid; it is
dropped and built again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from ares_otel.storage.partitions.catalog import Partition, list_partitions, quoted
from ares_otel.storage.partitions.jobs import read_jobs, record_failure, remember
from ares_otel.storage.partitions.observer import MaintenanceObserver
from ares_otel.storage.partitions.packing import pack, packs_of
from ares_otel.storage.partitions.settings import SealSettings
from ares_otel.storage.rows.encoded import LOGS, SAMPLES, SPANS

RETRY_FIRST, RETRY_MOST = timedelta(minutes=1), timedelta(hours=6)
"""Time until a partition is tried again after a failure; doubled each time."""
LATE_AFTER, LATE_BYTES = timedelta(days=1), 8 * 1024 * 1024
"""A sealed partition in which so much of late samples lies is sealed again, so long after it was."""
_PACKED = """
EXISTS (SELECT FROM partition_jobs p
        WHERE p.table_name = 'metric_packs' AND (p.range_start, p.range_end) = (j.range_start, j.range_end))
"""
_LARGE = (
    "pg_total_relation_size(to_regclass(quote_ident(partition_name))) >= "
    "{day_bytes} * extract(epoch FROM range_end - range_start) / 86400"
)
"""Whether there is so much in a partition, by its length, as this makes in a day."""
_LATE = f"""
SELECT partition_name FROM partition_jobs j
WHERE table_name = $1 AND sealed_at < now() - $2::interval AND leaving_since IS NULL
  AND pg_relation_size(to_regclass(quote_ident(partition_name))) > $3
  AND ({_PACKED} OR {_LARGE.format(day_bytes="$4::bigint")})
"""  # noqa: S608 - nothing in it comes from outside
_WORTH_PACKING = f"""
SELECT {_PACKED} OR {_LARGE.format(day_bytes="$2::bigint")}
FROM (SELECT $1::text AS partition_name, $3::timestamptz AS range_start, $4::timestamptz AS range_end) j
"""  # noqa: S608
_NAME_BYTES = 63
"""What PostgreSQL keeps of a name."""
_REBUILT_BYTES = 1024 * 1024
"""An index that is smaller is not worth a rebuild."""
_GROWN = """
SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND x.relispartition AND a.amname = 'btree'
  AND pg_relation_size(x.oid) >= $2
ORDER BY x.relname
"""
_BROKEN_OFF = """
SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indrelid = to_regclass($1) AND NOT i.indisvalid AND x.relname ~ '_cc(new|old)[0-9]*$'
"""

log = logging.getLogger("ares_otel.storage.maintenance")


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index that a closed partition gets."""

    suffix: str
    definition: str
    """What follows `ON table`. No column of unbounded length: an entry of more than 2,704 bytes fails (54000)."""

    def name(self, partition: str) -> str:
        """Its name on a partition."""
        name = f"{partition}_{self.suffix}"
        if len(name.encode()) <= _NAME_BYTES:
            return name
        return f"{hashlib.blake2b(partition.encode(), digest_size=12).hexdigest()}_{self.suffix}"


DURATION_BUCKET = "floor(4 * ln(greatest(duration_ns, 1)::double precision))::smallint"
"""What stands in the index for a duration. `query/sql/spans.sql` asks with the same words."""

SEARCH_INDEXES: dict[str, tuple[SearchIndex, ...]] = {
    SPANS: (
        # jsonb_path_ops keeps a hash of each path and value: small, and a value of a megabyte is no trouble.
        SearchIndex("attributes_gin", "USING gin (attributes jsonb_path_ops)"),
        SearchIndex("errors_idx", "(service_name, start_time) WHERE status = 'error'"),
        # Most spans have no events and no links, and cost nothing here.
        SearchIndex("events_gin", "USING gin (events jsonb_path_ops) WHERE events <> '[]'"),
        SearchIndex("links_gin", "USING gin (links jsonb_path_ops) WHERE links <> '[]'"),
        # Four buckets for each factor of e: rows of a bucket share an entry, so that it is a fifth of the exact one.
        SearchIndex("duration_idx", f"(service_name, ({DURATION_BUCKET}))"),
    ),
    LOGS: (
        SearchIndex("metadata_gin", "USING gin (metadata jsonb_path_ops)"),
        SearchIndex("errors_idx", "(\"timestamp\", timestamp_ns, id) WHERE log_level = 'ERROR'"),
    ),
}
"""Samples are found by their series; they need no more than they have, and are packed."""
_INDEX_SETS = {SAMPLES: 4}
"""Table → what counts instead of the next."""
INDEX_SET = 3
"""Number of this set: partitions that were sealed with an earlier one are sealed again."""


def index_set(table: str) -> int:
    """The number of the set that a sealed partition of the table has."""
    return _INDEX_SETS.get(table, INDEX_SET)


def sealable(partitions: list[Partition], sealed: set[str], settings: SealSettings, now: datetime) -> list[Partition]:
    """The partitions to seal, the newest first: that is where people search."""
    due = (p for p in partitions if p.name not in sealed and p.end + grace_of(p, settings) <= now)
    return sorted(due, reverse=True, key=_age)


def grace_of(partition: Partition, settings: SealSettings) -> timedelta:
    """How long late rows are waited for; for one that is shorter than a day no longer than it is, since it is full."""
    grace, length = timedelta(hours=settings.grace_hours), partition.end - partition.start
    return grace if length >= timedelta(days=1) else min(grace, length)


def _age(partition: Partition) -> tuple[datetime, str]:
    return partition.end, partition.table


class Sealer:
    """Seals one partition after the other, with the lock held."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        settings: Callable[[], SealSettings],
        now: datetime,
        *,
        observer: MaintenanceObserver,
        busy: Callable[[], bool] = lambda: False,
        pooled: bool = False,
    ) -> None:
        """
        Args:
            settings: what is asked for; read again before each step, for a round may take hours.
            now: the current time; the grace is reckoned from it.
            busy: whether ingest has no room for this now: then the rest is left to the next run.
            pooled: whether a pooler stands between: then memory and workers are the server's own.
        """
        self._connection = connection
        self._settings = settings
        self._now = now
        self._observer = observer
        self._busy = busy
        self._pooled = pooled

    async def run(self) -> None:
        """Seals what is due. What fails for one partition is counted, logged once, and tried again later.

        Raises OSError or asyncpg.InterfaceError when the database is not there.
        """
        jobs = {job.partition.name: job for job in await read_jobs(self._connection)}
        done = {
            name
            for name, job in jobs.items()
            if job.sealed_with == index_set(job.partition.table) or job.leaving_reason is not None
        }
        if self._settings().pack:
            late = await self._connection.fetch(_LATE, SAMPLES, LATE_AFTER, LATE_BYTES, self._pack_bytes)
            done.difference_update(row["partition_name"] for row in late)
        there: datetime = await self._connection.fetchval("SELECT now()")
        for partition in sealable(await list_partitions(self._connection), done, self._settings(), self._now):
            job = jobs.get(partition.name)
            if job is not None and job.failed_at is not None and there < job.failed_at + _delay(job.failures):
                continue
            if self._busy() or not self._settings().enabled:
                return
            await self._try(partition, first=job is None or not job.failures)

    async def _try(self, partition: Partition, *, first: bool) -> None:
        try:
            if not await self.seal(partition):
                return
        except asyncpg.UndefinedTableError:
            return  # retention was faster
        except (asyncpg.PostgresError, TimeoutError) as error:
            self._observer.failed("seal")
            level = logging.WARNING if first else logging.DEBUG
            log.log(
                level,
                "%s could not be sealed, and is tried again later: %s: %s",
                partition.name,
                type(error).__name__,
                error,
            )
            await record_failure(self._connection, partition, error)
        else:
            self._observer.sealed(partition.table)
            log.info("Sealed %s.", partition.name)

    async def seal(self, partition: Partition, *, pack_any: bool = False) -> bool:
        """Seals one partition, whatever its age; False when ingest had no room for all of it.

        Args:
            pack_any: whether samples are packed however few they are.

        Raises asyncpg.PostgresError or TimeoutError; what was built or packed stays."""
        await self._set_budget()
        for index in SEARCH_INDEXES.get(partition.table, ()):
            await self._build(partition, index)
        if (
            partition.table == SAMPLES
            and self._settings().pack
            and (pack_any or await self._worth_packing(partition))
            and not await self._pack(partition)
        ):
            return False
        await self._rebuild(partition)
        await self._slowly(f"VACUUM (FREEZE, ANALYZE, TRUNCATE false, PARALLEL 0) {quoted(partition.name)}")
        await self._mark(partition)
        return True

    async def _mark(self, partition: Partition) -> None:
        await remember(self._connection, partition)
        await self._connection.execute(
            "UPDATE partition_jobs SET sealed_at = now(), sealed_with = $2, failures = 0, failed_at = NULL, "
            "last_error = NULL WHERE partition_name = $1",
            partition.name,
            index_set(partition.table),
        )

    @property
    def _pack_bytes(self) -> int:
        return self._settings().pack_mib * 1024 * 1024

    async def _worth_packing(self, partition: Partition) -> bool:
        """Whether there is so much in it, or packs of its time already, which readers have to look at anyway."""
        worth = await self._connection.fetchval(
            _WORTH_PACKING, partition.name, self._pack_bytes, partition.start, partition.end
        )
        return bool(worth)

    async def _pack(self, partition: Partition) -> bool:
        """Packs samples; False when ingest has no room for all of them now."""
        settings = self._settings()
        try:
            packed = await pack(
                self._connection,
                partition,
                timeout=settings.timeout_minutes * 60,
                go_on=lambda: not self._busy(),
                rest=settings.pause_seconds / 20,
            )
        except asyncpg.FeatureNotSupportedError as error:
            log.debug("Samples of %s stay rows, for this server does not pack them: %s", partition.name, error)
            return True
        self._observer.packed(packed.samples, packed.duplicates)
        if packed.samples or packed.duplicates:
            log.info(
                "Packed %d samples of %s; %d were there already.", packed.samples, partition.name, packed.duplicates
            )
            # Here what is empty is given back: waiting for the lock of that ends when anybody else wants the table.
            await self._slowly(f"VACUUM (PARALLEL 0) {quoted(partition.name)}")
            packs = packs_of(partition)
            await self._slowly(f"VACUUM (FREEZE, ANALYZE, TRUNCATE false, PARALLEL 0) {quoted(packs.name)}")
            await self._mark(packs)
        return packed.done

    async def _build(self, partition: Partition, index: SearchIndex) -> None:
        name = index.name(partition.name)
        valid = await self._connection.fetchval(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", quoted(name)
        )
        if valid:
            return
        if valid is False:
            await self._slowly(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(name)}")
        await self._slowly(f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {quoted(partition.name)} {index.definition}")

    async def _rebuild(self, partition: Partition) -> None:
        """Builds the B-trees anew that grew row by row: pages that were split are a third empty. The room that
        PostgreSQL leaves in a new page is for late rows."""
        for row in await self._connection.fetch(_BROKEN_OFF, quoted(partition.name)):
            await self._slowly(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(row['relname'])}")
        if self._settings().rebuild:
            for row in await self._connection.fetch(_GROWN, quoted(partition.name), _REBUILT_BYTES):
                await self._slowly(f"REINDEX INDEX CONCURRENTLY {quoted(row['relname'])}")

    async def _set_budget(self) -> None:
        if not self._pooled:
            settings = self._settings()
            await self._connection.execute(
                f"SET maintenance_work_mem = '{settings.memory_mb}MB'; SET vacuum_cost_delay = '1ms'; "
                f"SET max_parallel_maintenance_workers = {settings.workers}"
            )

    async def _slowly(self, statement: str) -> None:
        """A statement that may take long, and a rest after it."""
        await self._connection.execute(statement, timeout=self._settings().timeout_minutes * 60)
        await asyncio.sleep(self._settings().pause_seconds)


def _delay(failures: int) -> timedelta:
    return min(RETRY_FIRST * 2 ** min(failures - 1, 20), RETRY_MOST) if failures else timedelta(0)
