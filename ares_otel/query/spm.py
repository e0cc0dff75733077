"""Metrics of spans as Jaeger's monitor asks for them: latencies, calls and errors over time, from roll-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import asyncpg

Kind = Literal["latencies", "calls", "errors"]

MIN_STEP = timedelta(minutes=1)
"""The shortest time between two points: roll-ups count by minute."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time."""

    at: datetime
    value: float
    """Milliseconds, calls a second, or errors as a part of the calls (0 to 1); NaN where there were no calls."""


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


class OutOfRange(ValueError):
    """A parameter that cannot be served; the message is a sentence that names it and says what to do."""


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

    Args:
        quantile: for latencies, above 0 and at most 1.
        end: of the last point.
        lookback: from the first point to the last one.
        step: from one point to the next.
        rate_per: each point is about so much time before it.
        span_kinds: kinds of spans that count, as in `service_spans.kind`; none for all.

    Raises OutOfRange, DatabaseUnavailable, QueryTooSlow.
    """
    raise NotImplementedError
