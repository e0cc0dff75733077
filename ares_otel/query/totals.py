"""Deltas as cumulative points: what their series counted altogether, which a job keeps (`storage/totals`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from ares_otel.model.prometheus.kinds import DELTA
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.restore_values import unix_nano

_SQL = load_statements("totals.sql")
_ADDED_UP = ("counter", "histogram", "exponential_histogram")


def has_total(metric_type: str, temporality: str | None) -> bool:
    """Whether deltas of this type are added up: a sum that is not monotonic is not."""
    return temporality == DELTA and metric_type in _ADDED_UP


async def totals_of(reader: Reader, series: Sequence[UUID], *, buckets: bool, max_bytes: int) -> dict[UUID, Any]:
    """The totals of series, those that have one: rows for `cumulative_point`.

    Args:
        buckets: whether exponential histograms come with their buckets.
        max_bytes: of the buckets of a total; a larger one has `too_large`, and none of them.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    rows = await reader.fetch(_SQL["totals"], ids=list(series), buckets=buckets, max_bytes=max_bytes)
    return {row["series_id"]: row for row in rows}


def cumulative_point(point: Any, total: Mapping[str, Any]) -> Any:
    """The point with the total in place of its delta, since counting began. Time, flags and exemplars stay."""
    made = type(point)(
        time_unix_nano=point.time_unix_nano,
        start_time_unix_nano=unix_nano(total["since"], 0),
        flags=point.flags,
        exemplars=point.exemplars,
    )
    if isinstance(made, NumberDataPoint):
        made.as_double = total["value"] or 0.0
        return made
    made.count = total["count"] or 0
    if total["sum"] is not None:
        made.sum = total["sum"]
    if isinstance(made, HistogramDataPoint):
        made.explicit_bounds.extend(total["explicit_bounds"] or ())
        made.bucket_counts.extend(total["bucket_counts"] or ())
    elif isinstance(made, ExponentialHistogramDataPoint):
        made.scale = total["scale"] or 0
        made.zero_count = total["zero_count"] or 0
        made.zero_threshold = total["zero_threshold"] or 0.0
        for side in ("positive", "negative"):
            if total[f"{side}_counts"]:
                buckets = getattr(made, side)
                buckets.offset = total[f"{side}_offset"]
                buckets.bucket_counts.extend(total[f"{side}_counts"])
    return made
