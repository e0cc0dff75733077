"""Points of histograms and summaries as the series that Prometheus has for them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ares_otel.model.prometheus.config import Untranslatable
from ares_otel.model.prometheus.native_from_otlp import from_explicit, from_exponential_row
from ares_otel.model.prometheus.native_histogram import STALE_NAN_BITS, NativeHistogram, is_stale_bits
from ares_otel.model.prometheus.points import NO_RECORDED_VALUE
from ares_otel.model.prometheus.values import bound_text, canonical_bound_text
from ares_otel.query.prometheus.index import Entry
from ares_otel.query.prometheus.pieces import Labels, Piece, Times, Values
from ares_otel.query.prometheus.translation import COUNT, CUSTOM_NATIVE, NATIVE, QUANTILE, RESERVED, SUM
from ares_otel.storage.rows.restore_metrics import histogram_point, summary_point
from ares_otel.storage.rows.restore_values import unix_nano

Columns = tuple[Times, Values]


@dataclass(frozen=True, slots=True)
class _Point:
    """What the series of a point need of it: by `le` or `quantile`, and of the whole."""

    places: tuple[float, ...]
    """Bounds of buckets but infinity, or quantiles; ascending."""
    counts: tuple[float, ...]
    """Measurements up to each bound, or the value at each quantile."""
    sum: float | None
    count: float


def pieces_of(entries: Sequence[Entry], rows: Sequence[Any]) -> list[Piece]:
    """The series that one stored series has in Prometheus.

    A point without a recorded value ends each series that had a sample before.

    Args:
        entries: its wanted members.
        rows: of metric_distributions, by time.
    """
    times = np.array([unix_nano(row["timestamp"], row["timestamp_ns"]) // 1_000_000 for row in rows], np.int64)
    made: list[Piece] = []
    if entries[0].part in (NATIVE, CUSTOM_NATIVE):
        return [_native(entry, rows, times) for entry in entries]
    read = (
        _summary if any(entry.part == QUANTILE for entry in entries) or rows[0]["quantiles"] is not None else _histogram
    )
    stale = np.array([bool((row["flags"] or 0) & NO_RECORDED_VALUE) for row in rows], np.bool_)
    points = [None if ended else read(row) for row, ended in zip(rows, stale, strict=True)]
    ends = times[stale]
    for entry in entries:
        if entry.part == SUM:
            made.append(_piece(entry, (), _numbers(points, times, ends, lambda point: point.sum)))
        elif entry.part == COUNT:
            made.append(_piece(entry, (), _numbers(points, times, ends, lambda point: point.count)))
        else:
            by_place = _by_place(points, times, ends, entry)
            made += [_piece(entry, ((RESERVED[entry.part], text),), columns) for text, columns in by_place.items()]
    return made


def samples_of(entries: Sequence[Entry], rows: Sequence[Any]) -> int:
    """How many samples `pieces_of` makes, at most."""
    places = sum(
        len(row["explicit_bounds"] or ()) + len(row["quantiles"] or ()) + 1 if row["point_raw"] is None
        else len(row["point_raw"]) // 8
        for row in rows
    )  # fmt: skip
    return sum(places if entry.part in RESERVED else len(rows) for entry in entries)


def _native(entry: Entry, rows: Sequence[Any], times: Times) -> Piece:
    histograms: list[NativeHistogram] = []
    kept = np.ones(len(rows), np.bool_)
    for place, row in enumerate(rows):
        try:
            gauge = entry.kind == "gaugehistogram"
            if entry.part == CUSTOM_NATIVE:
                histograms.append(from_explicit(histogram_point(row), delta=gauge))
            else:
                histograms.append(from_exponential_row(row, delta=gauge, verbatim=entry.verbatim))
        except Untranslatable:
            kept[place] = False
    values = np.full(len(histograms), np.nan)
    for place, histogram in enumerate(histograms):
        if is_stale_bits(histogram.sum):
            values.view(np.uint64)[place] = STALE_NAN_BITS
    return Piece(labels_of(entry), entry.kind, (entry.first_seen, entry.series_id), times[kept], values, histograms)


def _histogram(row: Any) -> _Point:
    """Bounds that do not ascend are left out, and so are counts without a bound, as in `/metrics/ingested`."""
    raw = row["point_raw"] is not None
    point: Any = histogram_point(row) if raw else None
    bounds = point.explicit_bounds if raw else row["explicit_bounds"] or ()
    counts = point.bucket_counts if raw else row["bucket_counts"] or ()
    places, sums = [], []
    total, last = 0, -math.inf
    for bound, count in zip(bounds, counts, strict=False):
        total += count
        if last < bound < math.inf:
            places.append(bound)
            sums.append(float(total))
            last = bound
    whole = point.count if raw else row["count"]
    sum_ = (point.sum if point.HasField("sum") else None) if raw else row["sum"]
    return _Point((*places, math.inf), (*sums, float(whole)), sum_, float(whole))


def _summary(row: Any) -> _Point:
    point = summary_point(row)
    quantiles = {q.quantile: q.value for q in point.quantile_values if 0.0 <= q.quantile <= 1.0}
    places = tuple(sorted(quantiles))
    return _Point(places, tuple(quantiles[place] for place in places), point.sum, float(point.count))


def _numbers(
    points: Sequence[_Point | None], times: Times, ends: Times, of: Callable[[_Point], float | None]
) -> Columns:
    found = [
        (time, value) for time, point in zip(times, points, strict=True) if point and (value := of(point)) is not None
    ]
    return _ended(
        np.array([time for time, _ in found], np.int64), np.array([value for _, value in found], np.float64), ends
    )


def _by_place(points: Sequence[_Point | None], times: Times, ends: Times, entry: Entry) -> dict[str, Columns]:
    """The columns of each `le` or `quantile` that is wanted, by its text. Points with the same bounds, which are nearly
    all of a series, are looked at together."""
    alike: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for number, point in enumerate(points):
        if point is not None:
            alike[point.places].append(number)
    parts: dict[str, list[Columns]] = defaultdict(list)
    for places, numbers in alike.items():
        table = np.array([points[number].counts for number in numbers], np.float64)  # type: ignore[union-attr]
        for column, place in enumerate(places):
            text = canonical_bound_text(place) if entry.verbatim else bound_text(place)
            if entry.wants(text):
                parts[text].append((times[numbers], table[:, column]))
    return {text: _ended(*_in_order(columns), ends) for text, columns in parts.items()}


def _in_order(columns: list[Columns]) -> Columns:
    if len(columns) == 1:
        return columns[0]
    times = np.concatenate([times for times, _ in columns])
    order = np.argsort(times, kind="stable")
    return times[order], np.concatenate([values for _, values in columns])[order]


def _ended(times: Times, values: Values, ends: Times) -> Columns:
    """With the times at which the series ended, but those before its first sample."""
    if len(ends) and len(times):
        ends = ends[ends > times[0]]
    if not len(ends) or not len(times):
        return times, values
    bits = np.concatenate([values.view(np.uint64), np.full(len(ends), STALE_NAN_BITS, np.uint64)])
    every = np.concatenate([times, ends])
    order = np.argsort(every, kind="stable")
    return every[order], bits[order].view(np.float64)


def _piece(entry: Entry, more: Labels, columns: Columns) -> Piece:
    return Piece(labels_of(entry, more), entry.kind, (entry.first_seen, entry.series_id), *columns)


def labels_of(entry: Entry, more: Labels = ()) -> Labels:
    """The labels of an entry and those that its samples add."""
    return tuple(sorted((*entry.labels.items(), *more)))
