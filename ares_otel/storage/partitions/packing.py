"""Packing: samples of a closed partition become rows of `metric_packs`, some hundred of a series in each.

A batch is one statement: it takes rows out of the partition and puts their packs into the partition of packs, so that
every sample is in exactly one place whenever it is broken off. What cannot be packed exactly stays a row, and so do
samples that come later, until the partition is sealed again. Readers see both (`v_metric_samples`); who reads them in
two statements reads the rows first, for what is packed in between is then seen twice, and not lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from ares_otel.storage.partitions.attach import LOCK, attach
from ares_otel.storage.partitions.catalog import Partition, quoted, read_floors
from ares_otel.storage.partitions.jobs import remember
from ares_otel.storage.rows.encoded import PACKS

PACK_SAMPLES = 480
"""Samples of a series in one row, at most: who reads a short time reads one or two rows whole. Shorter ones are not
compressed less, longer ones not more."""
BATCH_ROWS = 40_000
"""Rows that one statement packs."""
_COLUMNS = (
    *("tenant_id", "id", "series_id", "timestamp", "timestamp_ns", "value", "value_int", "start_time", "start_ns"),
    *("flags", "exemplars", "point_raw", "received_at", "original_time_unix_nano"),
)
"""What packs have a place for. A table to which somebody added a column keeps its rows."""
_ADDED = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
               AND attname <> ALL ($2))
"""
_SUFFIX = "_packed"
_NAME_BYTES = 63

# Points with flags, without a value or with an encoding of their own are few, and stay what they are. Numbers up to
# 2^61 and times within ten years leave room for differences, and for seconds as a double that are exact to the
# microsecond.
_PACKABLE = """
value IS NOT NULL AND flags IS NULL AND point_raw IS NULL AND original_time_unix_nano IS NULL
AND (value_int IS NULL OR value_int BETWEEN -2305843009213693952 AND 2305843009213693952
     AND value_int::double precision = value)
AND (start_time IS NULL) = (start_ns IS NULL)
AND coalesce(start_time, "timestamp") BETWEEN "timestamp" - interval '10 years' AND "timestamp" + interval '10 years'
AND received_at BETWEEN "timestamp" - interval '10 years' AND "timestamp" + interval '10 years'
AND coalesce(octet_length(exemplars::text), 0) <= 8192
"""

# A delta that is not in its total yet waits: were it left out as a second one of its time, nobody would see later that
# it was one (storage/totals/adding.py), and it would count.
_ADDED_UP = """
(tenant_id, series_id, "timestamp", timestamp_ns) NOT IN
    (SELECT tenant_id, series_id, "timestamp", timestamp_ns FROM metric_delta_arrivals)
"""

# A double of at most three decimals is a whole number divided by a power of ten, exactly: both are the double that is
# nearest to the same fraction. -0.0, NaN and infinities are not.
_DIGITS = """
CASE
    WHEN value_int IS NOT NULL THEN 0
    WHEN value NOT BETWEEN -1e15 AND 1e15 OR value = 0 AND float8send(value) <> float8send(0) THEN 9
    WHEN round(value) = value THEN 0
    WHEN value NOT BETWEEN -1e11 AND 1e11 THEN 9
    WHEN round(value * 10) / 10 = value THEN 1
    WHEN round(value * 100) / 100 = value THEN 2
    WHEN round(value * 1000) / 1000 = value THEN 3
    ELSE 9
END
"""

# {rows} is the partition, {packs} that of the packs. $1, $2: where the last batch ended; $3: rows; $4: rows of a pack.
_PACK = f"""
WITH batch AS MATERIALIZED (
    SELECT ctid AS place FROM {{rows}}
    WHERE (series_id, "timestamp") >= ($1::uuid, $2::timestamptz) AND {_PACKABLE} AND {_ADDED_UP}
    ORDER BY series_id, "timestamp" LIMIT $3
), taken AS (
    DELETE FROM {{rows}} WHERE ctid = ANY (ARRAY(SELECT place FROM batch)) RETURNING *
), told AS (
    SELECT t.*,
           row_number() OVER (PARTITION BY tenant_id, series_id, "timestamp", timestamp_ns ORDER BY id) = 1
           AND NOT EXISTS (
               SELECT FROM {{packs}} k CROSS JOIN LATERAL unpacked(k) s
               WHERE k.tenant_id = t.tenant_id AND k.series_id = t.series_id AND k."timestamp" <= t."timestamp"
                 AND k.last_timestamp >= t."timestamp" AND s."timestamp" = t."timestamp"
                 AND s.timestamp_ns = t.timestamp_ns
           ) AS first,
           value_int IS NULL AS is_double, start_time IS NULL AS is_startless,
           floor(date_part('epoch', "timestamp") / 86400)::bigint AS day
    FROM taken t
), placed AS (
    SELECT t.*, {_DIGITS} AS digits,
           row_number() OVER (
               PARTITION BY tenant_id, series_id, is_double, is_startless, day ORDER BY "timestamp", timestamp_ns
           ) - 1 AS place
    FROM told t WHERE first
), grouped AS (
    SELECT p.*, place / $4 AS pack, place % $4 AS n,
           -- Large ones beside decimals would be too large when they are multiplied.
           CASE WHEN max(digits) OVER g BETWEEN 1 AND 3 AND max(abs(value)) OVER g > 1e11 THEN 9
                ELSE max(digits) OVER g END AS most_digits
    FROM placed p
    WINDOW g AS (PARTITION BY tenant_id, series_id, is_double, is_startless, day, place / $4)
), numbered AS (
    SELECT g.*,
           CASE
               WHEN most_digits = 9 THEN NULL
               WHEN is_double THEN round(value * 10 ^ most_digits)::bigint
               ELSE value_int
           END AS number,
           round(date_part('epoch', "timestamp" - first_value("timestamp") OVER w) * 1e6)::bigint AS time_us,
           round(date_part('epoch', start_time - first_value(start_time) OVER w) * 1e6)::bigint AS start_us,
           (floor(date_part('epoch', received_at)) - floor(date_part('epoch', "timestamp")))::integer AS delay
    FROM grouped g
    WINDOW w AS (PARTITION BY tenant_id, series_id, is_double, is_startless, day, pack ORDER BY n)
), lined AS (
    SELECT m.*, first_value(id) OVER w AS id_0, first_value(number) OVER w AS number_0,
           (last_value(id) OVER w - first_value(id) OVER w) / greatest(count(*) OVER w - 1, 1) AS id_step,
           (last_value(number) OVER w - first_value(number) OVER w) / greatest(count(*) OVER w - 1, 1) AS number_step,
           last_value(time_us) OVER w / greatest(count(*) OVER w - 1, 1) AS time_step,
           last_value(start_us) OVER w / greatest(count(*) OVER w - 1, 1) AS start_step
    FROM numbered m
    WINDOW w AS (
        PARTITION BY tenant_id, series_id, is_double, is_startless, day, pack ORDER BY n
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
), shifted AS (
    SELECT l.*, id - id_0 - n * id_step AS id_shift, time_us - n * time_step AS time_shift,
           start_us - n * start_step AS start_shift, number - number_0 - n * number_step AS number_shift
    FROM lined l
), packs AS (
    SELECT tenant_id, series_id, is_double, min("timestamp") AS first, max("timestamp") AS last,
           max(received_at) AS last_received_at, count(*) AS count,
           min(id_0) AS id_0, min(id_step) AS id_step, max(abs(id_shift)) AS id_most,
           array_agg(id_shift ORDER BY n) AS id_shifts,
           min(time_step) AS time_step, max(abs(time_shift)) AS time_most,
           array_agg(time_shift ORDER BY n) AS time_shifts,
           max(timestamp_ns) AS ns_most, array_agg(timestamp_ns ORDER BY n) AS nss,
           max(most_digits) AS digits, min(number_0) AS number_0, min(number_step) AS number_step,
           max(abs(number_shift)) AS number_most, array_agg(number_shift ORDER BY n) AS number_shifts,
           array_agg(value ORDER BY n) AS doubles,
           min(start_time) FILTER (WHERE n = 0) AS start_time, min(start_step) AS start_step,
           max(abs(start_shift)) AS start_most, array_agg(start_shift ORDER BY n) AS start_shifts,
           max(start_ns) AS start_ns_most, array_agg(start_ns ORDER BY n) AS start_nss,
           min(delay) AS delay, max(delay) AS delay_most, array_agg(delay ORDER BY n) AS delays,
           count(exemplars) AS with_exemplars, array_agg(exemplars ORDER BY n) AS exemplars
    FROM shifted GROUP BY tenant_id, series_id, is_double, is_startless, day, pack
), kept AS (
    INSERT INTO {{packs}} (
        tenant_id, series_id, "timestamp", last_timestamp, last_received_at, count,
        first_id, id_step, id_shifts, id_long_shifts, time_step, time_shifts, time_long_shifts, nanoseconds,
        integers, first_number, number_step, divisor, number_short_shifts, number_shifts, number_long_shifts, doubles,
        start_time, start_step, start_shifts, start_long_shifts, start_nanoseconds,
        received_delay, received_delays, exemplars, duplicates
    )
    SELECT tenant_id, series_id, first, last, last_received_at, count,
           id_0, id_step,
           CASE WHEN id_most BETWEEN 1 AND 2147483647 THEN id_shifts::integer[] END,
           CASE WHEN id_most > 2147483647 THEN id_shifts END,
           time_step,
           CASE WHEN time_most BETWEEN 1 AND 2147483647 THEN time_shifts::integer[] END,
           CASE WHEN time_most > 2147483647 THEN time_shifts END,
           CASE WHEN ns_most > 0 THEN nss END,
           NOT is_double, number_0, number_step, CASE WHEN digits < 9 THEN (10 ^ digits)::integer END,
           CASE WHEN number_most BETWEEN 1 AND 32767 THEN number_shifts::smallint[] END,
           CASE WHEN number_most BETWEEN 32768 AND 2147483647 THEN number_shifts::integer[] END,
           CASE WHEN number_most > 2147483647 THEN number_shifts END,
           CASE WHEN digits = 9 THEN doubles END,
           start_time, start_step,
           CASE WHEN start_most BETWEEN 1 AND 2147483647 THEN start_shifts::integer[] END,
           CASE WHEN start_most > 2147483647 THEN start_shifts END,
           CASE WHEN start_ns_most > 0 THEN start_nss END,
           CASE WHEN delay = delay_most THEN delay END,
           CASE WHEN delay <> delay_most THEN delays END,
           CASE WHEN with_exemplars > 0 THEN exemplars END,
           NULL
    FROM packs
    UNION ALL
    SELECT tenant_id, series_id, min("timestamp"), max("timestamp"), max(received_at), 0,
           min(id), 0, NULL, NULL, 0, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, array_agg(received_at)
    FROM told WHERE NOT first GROUP BY tenant_id, series_id
)
SELECT count(*) AS rows, count(*) FILTER (WHERE NOT first) AS duplicates,
       (SELECT max(series_id::text)::uuid FROM told) AS last_series
FROM told
"""  # noqa: S608 - nothing in it comes from outside


log = logging.getLogger("ares_otel.storage.maintenance")


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of rows."""

    samples: int = 0
    """Samples that are in packs now."""
    duplicates: int = 0
    """Samples that were left out: there was one of their series and time already."""
    done: bool = True
    """Whether nothing is left to pack."""


def packs_name(partition: Partition) -> str:
    """The name of the partition that has the packs of a partition of samples."""
    name = f"{partition.name}{_SUFFIX}"
    if len(name.encode()) <= _NAME_BYTES:
        return name
    return f"{hashlib.blake2b(partition.name.encode(), digest_size=12).hexdigest()}{_SUFFIX}"


def packs_of(partition: Partition) -> Partition:
    """The partition that has, or would have, the packs of a partition of samples."""
    return Partition(PACKS, partition.start, partition.end, packs_name(partition))


async def pack(
    connection: asyncpg.Connection,
    partition: Partition,
    *,
    timeout: float,
    go_on: Callable[[], bool] = lambda: True,
    rest: float = 0.0,
) -> Packed:
    """Packs what of a partition can be packed.

    Args:
        timeout: seconds for one statement.
        go_on: asked before each batch; when it says no, the rest stays rows.
        rest: seconds between two batches.

    Raises asyncpg.PostgresError or TimeoutError; what was packed before stays so.
    """
    rows = quoted(partition.name)
    there = f"SELECT EXISTS (SELECT FROM {rows} WHERE {_PACKABLE})"  # noqa: S608 - quoted
    if not await connection.fetchval(there, timeout=timeout):
        return Packed()
    if await connection.fetchval(_ADDED, rows, list(_COLUMNS)):
        log.debug("%s has columns that packs have no place for, and stays as it is.", partition.name)
        return Packed()
    target = packs_of(partition)
    if not await _make(connection, target):
        return Packed()
    statement = _PACK.format(rows=rows, packs=quoted(target.name))
    samples = duplicates = 0
    after: tuple[UUID, datetime] = (UUID(int=0), partition.start)
    while go_on():
        done = await connection.fetchrow(statement, *after, BATCH_ROWS, PACK_SAMPLES, timeout=timeout)
        duplicates += done["duplicates"]
        samples += done["rows"] - done["duplicates"]
        if done["rows"] < BATCH_ROWS:
            return Packed(samples, duplicates)
        # Rows of the last series may be left, and those of series before it are late: they wait for the next time.
        after = (done["last_series"], partition.start)
        await asyncio.sleep(rest)
    return Packed(samples, duplicates, done=False)


async def _make(connection: asyncpg.Connection, target: Partition) -> bool:
    """Makes sure that there is a partition for packs; False when one of its time leaves, or has left."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if target.start < (await read_floors(connection)).get(PACKS, target.start):
            return False
        if not await connection.fetchval(
            "SELECT relispartition FROM pg_class WHERE oid = to_regclass($1)", quoted(target.name)
        ):
            await attach(connection, PACKS, target.name, target.start, target.end)
        await remember(connection, target)
    return True
