"""Metrics of spans as Jaeger's monitor asks for them: latencies, calls and errors over time, from roll-ups.

Names, labels, texts and units are those of Jaeger's metrics over Prometheus (`metricstore/prometheus`): a rate of calls
a second and latencies in milliseconds over `rate_per` before each point, errors as a part of the calls.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any, Literal

import asyncpg

from ares_otel.query.reader import reading
from ares_otel.query.rollups import MOST_WAITING, RollupsBehind, from_minute
from ares_otel.query.statements import load_statements
from ares_otel.storage.rollups.columns import int2_array, int8_array
from ares_otel.storage.rollups.histogram import Histogram, add, arrays, percentiles, take

_STATEMENTS = load_statements("spm.sql")

Kind = Literal["latencies", "calls", "errors"]

MIN_STEP = timedelta(minutes=1)
"""Points closer to each other say the same: roll-ups count by minute."""
MOST_POINTS = 11_000
"""Points of one series, as Prometheus has it."""
MOST_VALUES = 200_000
"""Points of all series together."""
MOST_ROWS = 100_000
"""Roll-ups that one answer is made of."""
SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")

_MINUTE = timedelta(minutes=1)
_NAMES = {"latencies": "service_latencies", "calls": "service_call_rate", "errors": "service_error_rate"}
_TEXTS = {
    "latencies": "{quantile:.2f}th quantile latency, grouped by service",
    "calls": "calls/sec, grouped by service",
    "errors": "error rate, computed as a fraction of errors/sec over calls/sec, grouped by service",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time."""

    at: datetime
    value: float
    """Milliseconds, calls a second, or errors as a part of the calls (0 to 1). Where there were no calls: 0 for calls,
    NaN for the others, as Prometheus has it; Jaeger's JSON writes "NaN"."""


@dataclass(frozen=True, slots=True)
class Series:
    """The points of a service, or of an operation of it."""

    labels: dict[str, str]
    """`service_name`, and `operation` when grouped by it."""
    points: list[Point]


@dataclass(frozen=True, slots=True)
class SpanMetrics:
    """A family of gauges."""

    name: str
    help: str
    series: list[Series]
    """By service and operation. What had no calls in all that time is not there."""


class OutOfRange(ValueError):
    """A parameter that cannot be served; the message is a sentence that names it and says what to do."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a minute, or an hour, says."""

    start: datetime
    end: datetime
    calls: int = 0
    errors: int = 0
    longest: int = 0
    buckets: Sequence[int] = ()
    counts: Sequence[int] = ()


@dataclass(slots=True)
class _Times:
    """The times of the points, and how long before each of them counts: whole minutes."""

    first: datetime
    step: timedelta
    number: int
    rate_per: timedelta

    def points(self) -> Iterator[tuple[datetime, datetime, datetime]]:
        """Each point, with the beginning and the end of what counts for it."""
        for number in range(self.number):
            at = self.first + number * self.step
            upper = _whole_minute(at)
            yield at, upper - self.rate_per, upper

    @property
    def start(self) -> datetime:
        return _whole_minute(self.first) - self.rate_per

    @property
    def end(self) -> datetime:
        return _whole_minute(self.first + (self.number - 1) * self.step)


async def span_metrics(
    pool: asyncpg.Pool,
    kind: Kind,
    services: Sequence[str],
    *,
    quantile: float = 0.95,
    group_by_operation: bool = False,
    end: datetime,
    lookback: timedelta = timedelta(hours=1),
    step: timedelta = timedelta(minutes=1),
    rate_per: timedelta = timedelta(minutes=10),
    span_kinds: Sequence[str] = ("server",),
) -> SpanMetrics:
    """How fast, how often, how wrong the services were.

    Points are at `end - lookback` and each `step` after it, up to `end`. Each is about the whole minutes before it, so
    many as `rate_per` holds. Of what is older than two days only hours are known: calls are then spread evenly over
    them, and a percentile is that of the hours that `rate_per` touches.

    Args:
        quantile: for latencies, above 0 and at most 1. Within 0.55 % of the exact value.
        end: of the last point, at the latest.
        lookback: from the first point to `end`.
        step: from one point to the next.
        rate_per: each point is about so much time before it, rounded up to whole minutes.
        span_kinds: kinds of spans that count, as in `service_spans.kind` or like SPAN_KIND_SERVER; none for all.

    Raises OutOfRange, DatabaseUnavailable, QueryTooSlow, RollupsBehind.
    """
    times = _times(end, lookback, step, rate_per)
    if not services:
        raise OutOfRange("No service is given; name at least one with `service`.")
    if not (0 < quantile <= 1):
        raise OutOfRange("The value of `quantile` must be above 0 and at most 1, for example 0.95.")
    kinds = [_span_kind(one) for one in span_kinds] or None
    names = sorted({service[:255] for service in services})
    wanted = {"start": times.start, "end": times.end, "services": names, "kinds": kinds, "limit": MOST_ROWS + 1}
    wanted |= from_minute(times.start)
    async with reading(pool, heavy=True) as reader:
        if (await reader.fetch(_STATEMENTS["waiting"], most_waiting=MOST_WAITING + 1))[0]["waiting"] > MOST_WAITING:
            raise RollupsBehind
        if kind == "latencies":
            records = await reader.fetch(_STATEMENTS["histograms"], **wanted)
        else:
            records = await reader.fetch(_STATEMENTS["counts"], by_operation=group_by_operation, **wanted)
    if len(records) > MOST_ROWS:
        raise OutOfRange("These are too many operations and minutes; give a shorter `lookback`, or fewer services.")
    series = await asyncio.to_thread(_series, kind, records, times, quantile, group_by_operation)
    name, text = _NAMES[kind], _TEXTS[kind].format(quantile=quantile)
    if group_by_operation:
        name, text = name.replace("service", "service_operation", 1), f"{text} & operation"
    return SpanMetrics(name, text, series)


def _times(end: datetime, lookback: timedelta, step: timedelta, rate_per: timedelta) -> _Times:
    for name, value in (("lookback", lookback), ("step", step), ("ratePer", rate_per)):
        if value <= timedelta(0):
            raise OutOfRange(f"The value of `{name}` must be more than 0.")
    number = lookback // step + 1
    if number > MOST_POINTS:
        raise OutOfRange(f"These are more than {MOST_POINTS} points; give a longer `step`, or a shorter `lookback`.")
    whole = -(-rate_per // _MINUTE) * _MINUTE
    try:
        first = end.astimezone(UTC) - lookback
        times = _Times(first, step, number, whole)
        times.start, times.end  # noqa: B018 - they exist
    except OverflowError:
        raise OutOfRange(
            "The time is out of range; give a later `endTs`, or a shorter `lookback` and `ratePer`."
        ) from None
    return times


def _span_kind(text: str) -> str:
    kind = text.removeprefix("SPAN_KIND_").lower()
    if kind not in SPAN_KINDS:
        raise OutOfRange(f"The value of `spanKind` must be one of {', '.join(SPAN_KINDS)}.")
    return kind


def _whole_minute(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def _series(kind: Kind, records: Sequence[Any], times: _Times, quantile: float, by_operation: bool) -> list[Series]:
    parts: dict[tuple[str, str], list[_Part]] = defaultdict(list)
    for record in records:
        key = (record["service_name"], record["operation_name"] if by_operation else "")
        parts[key].append(_part(kind, record))
    if len(parts) * times.number > MOST_VALUES:
        raise OutOfRange("These are too many points; give a longer `step`, a shorter `lookback`, or fewer services.")
    made = []
    for (service, operation), found in sorted(parts.items()):
        points = _latencies(found, times, quantile) if kind == "latencies" else _rates(kind, found, times)
        labels = {"service_name": service} | ({"operation": operation} if by_operation else {})
        made.append(Series(labels, points))
    return made


def _part(kind: Kind, record: Any) -> _Part:
    start = record["minute"]
    end = start + record["minutes"] * _MINUTE
    if kind != "latencies":
        return _Part(start, end, record["calls"], record["errors"])
    buckets, counts = int2_array(record["buckets"]), int8_array(record["counts"])
    return _Part(start, end, longest=record["duration_ns_max"], buckets=buckets, counts=counts)


def _rates(kind: Kind, parts: Sequence[_Part], times: _Times) -> list[Point]:
    starts = [part.start for part in parts]
    calls = list(accumulate((part.calls for part in parts), initial=0))
    errors = list(accumulate((part.errors for part in parts), initial=0))

    def before(sums: Sequence[int], time: datetime) -> float:
        """Of the parts before a time; of the one that it cuts, by its share."""
        number = bisect_left(starts, time)
        if number == 0 or parts[number - 1].end <= time:
            return sums[number]
        last = parts[number - 1]
        share = (time - last.start) / (last.end - last.start)
        return sums[number - 1] + share * (sums[number] - sums[number - 1])

    points = []
    for at, lower, upper in times.points():
        value = round(before(calls, upper) - before(calls, lower), 6)  # shares of hours leave dust
        if kind == "calls":
            value /= times.rate_per.total_seconds()
        else:
            value = (before(errors, upper) - before(errors, lower)) / value if value else math.nan
        points.append(Point(at, value))
    return points


def _latencies(parts: Sequence[_Part], times: _Times, quantile: float) -> list[Point]:
    """Histograms are added as time moves on over their beginning, and taken out when it leaves them behind."""
    cells: Histogram = {}
    longest: list[tuple[int, int]] = []
    low = high = 0
    points: list[Point] = []
    for at, lower, upper in times.points():
        before = low, high
        while high < len(parts) and parts[high].start < upper:
            add(cells, parts[high].buckets, parts[high].counts)
            heappush(longest, (-parts[high].longest, high))
            high += 1
        while low < high and parts[low].end <= lower:
            take(cells, parts[low].buckets, parts[low].counts)
            low += 1
        while longest and longest[0][1] < low:
            heappop(longest)
        if points and before == (low, high):
            value = points[-1].value
        elif not cells:
            value = math.nan
        else:
            value = percentiles(*arrays(cells), -longest[0][0], (quantile,))[0] / 1e6
        points.append(Point(at, value))
    return points
