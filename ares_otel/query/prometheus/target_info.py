"""`target_info`: while a resource's series have samples, it has some too.

OpenTelemetry, "Prometheus and OpenMetrics Compatibility", resource attributes; Prometheus makes one for each two and a
half minutes of what it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.prometheus.native_histogram import is_stale_bits
from ares_otel.query.prometheus.columns import TooManySamples, newest_columns, statement_ranges
from ares_otel.query.prometheus.distributions import labels_of
from ares_otel.query.prometheus.index import Entry
from ares_otel.query.prometheus.pieces import Piece
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, SAMPLES

STEP_MS = 150_000
"""Between two samples: half of the five minutes for which a Prometheus looks back."""
RESOURCE_SERIES = 200_000
"""Series that are looked at to know when their resources lived."""
SERIES_AT_ONCE = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_SQL = load_statements("prometheus_select.sql")
_Rows = Sequence[Any]


async def target_info(
    reader: Reader, entries: Sequence[Entry], start_ms: int, end_ms: int, *, most: int, newest_only: bool
) -> list[Piece]:
    """A sample of 1 at the first and at the last time of the range at which a series of the resource has one, and
    between them every `STEP_MS`, at times that do not depend on the range.

    Args:
        most: samples that there may be.
        newest_only: the last one alone, of resources with a series that did not end.

    Raises:
        TooManySamples: there are more, or the resources have too many series.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    ids = [entry.series_id for entry in entries]
    rows = await reader.fetch(_SQL["of_resources"], ids=ids, limit=RESOURCE_SERIES + 1)
    if len(rows) > RESOURCE_SERIES:
        raise TooManySamples("The resources of target_info have too many series; choose fewer of them.")
    numbers = [row for row in rows if not row["distribution"]]
    others = [row for row in rows if row["distribution"]]
    last = _latest(
        await _last_numbers(reader, numbers, start_ms, end_ms, alive=newest_only),
        await _ends(reader, "ends_distributions", others, start_ms, end_ms, last=True, alive=newest_only or None),
    )
    first: dict[UUID, int] = {}
    if not newest_only:
        found = await _ends(reader, "ends_distributions", others, start_ms, end_ms, last=None, alive=None)
        first = _earliest(await _ends(reader, "first_numbers", numbers, start_ms, end_ms), found)
    made = []
    for entry in entries:
        id_ = entry.series_id
        if id_ in last:
            times = np.array([last[id_]], np.int64) if newest_only else _times(first.get(id_, last[id_]), last[id_])
            most -= len(times)
            if most < 0:
                raise TooManySamples
            age = (entry.first_seen, entry.series_id)
            made.append(Piece(labels_of(entry), entry.kind, age, times, np.ones(len(times))))
    return made


async def _last_numbers(reader: Reader, rows: _Rows, start: int, end: int, *, alive: bool) -> dict[UUID, int]:
    """When the series of each resource have their last sample; `alive`: of those that did not end."""
    found: dict[UUID, int] = {}
    for begin in range(0, len(rows), SERIES_AT_ONCE):
        some = rows[begin : begin + SERIES_AT_ONCE]
        columns = await newest_columns(reader, [row["series_id"] for row in some], start, end)
        for row, place, after in zip(some, columns.offsets[:-1], columns.offsets[1:], strict=True):
            if place < after and not (alive and is_stale_bits(float(columns.values[place]))):
                moment = int(columns.timestamps[place])
                found[row["resource_id"]] = max(moment, found.get(row["resource_id"], moment))
    return found


async def _ends(
    reader: Reader, name: str, rows: _Rows, start: int, end: int, **options: bool | None
) -> dict[UUID, int]:
    """When the series of each resource have their first sample, or their last one. The partitions of that end are
    looked at first; of a resource that was found there the others are not.

    Args:
        name: of a statement.
        options: its own parameters; `last` says which end.
    """
    if not rows:
        return {}
    if name == "ends_distributions":
        options["first"] = not options["last"] or None
    ranges = await statement_ranges(reader, SAMPLES if name == "first_numbers" else DISTRIBUTIONS, start, end)
    found: dict[UUID, int] = {}
    for lower, upper in ranges if options.get("last") else reversed(ranges):  # they come with the newest first
        missing = [row for row in rows if row["resource_id"] not in found]
        if not missing:
            break
        owners = list(dict.fromkeys(row["resource_id"] for row in missing))
        numbers = {id_: number for number, id_ in enumerate(owners)}
        for row in await reader.fetch(
            _SQL[name],
            series=[row["series_id"] for row in missing],
            owners=[numbers[row["resource_id"]] for row in missing],
            lower=lower,
            upper=upper,
            **options,
        ):
            found[owners[row["owner"]]] = (row["moment"] - _EPOCH) // _MS
    return found


def _earliest(one: Mapping[UUID, int], other: Mapping[UUID, int]) -> dict[UUID, int]:
    return {id_: min(found[id_] for found in (one, other) if id_ in found) for id_ in {**one, **other}}


def _latest(one: Mapping[UUID, int], other: Mapping[UUID, int]) -> dict[UUID, int]:
    return {id_: max(found[id_] for found in (one, other) if id_ in found) for id_ in {**one, **other}}


def _times(first: int, last: int) -> NDArray[np.int64]:
    between = np.arange(first // STEP_MS + 1, -(-last // STEP_MS), dtype=np.int64) * STEP_MS
    return np.unique(np.concatenate([[first], between, [last]]).astype(np.int64))
