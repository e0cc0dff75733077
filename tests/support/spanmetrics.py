"""The `spanmetrics` connector without its timer, between a test and a pipeline that keeps what it gets."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

from ares_otel.connectors.spanmetrics.config import SpanMetricsConfig
from ares_otel.connectors.spanmetrics.connector import FACTORY, SpanMetrics
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.telemetry import Telemetry
from tests.support.parts import make_batch, plain, traces

SECOND = 1_000_000_000
CALLS, DURATION = "traces.span.metrics.calls", "traces.span.metrics.duration"


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * SECOND

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / SECOND


class Pipe:
    """A metrics pipeline that keeps what it gets, and can be told to fail."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.errors: list[Exception] = []
        self.came = asyncio.Event()

    async def consume(self, batch: Batch) -> Accepted:
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(batch)
        self.came.set()
        return Accepted(batch.items)


class Place:
    """A connector without its timer: `flush` is what the timer does."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.pipe, self.telemetry = Hand(), Pipe(), Telemetry()
        context = BuildContext(
            "spanmetrics",
            self.telemetry,
            Admission(),
            clock=self.clock,
            log=logging.getLogger("ares_otel.test"),
            services={Identity: Identity("ares-1", 2)},
        )
        config = SpanMetricsConfig.model_validate(options)
        self.connector: SpanMetrics = FACTORY.build(context, config, {METRICS: self.pipe})  # type: ignore[assignment]

    async def see(self, *spans: dict[str, Any], resource: dict[str, Any] | None = None, seconds: float = 0) -> None:
        await self.connector.observe(make_batch(traces(*(span(**one) for one in spans), resource=resource)))
        self.clock.now_ns += int(seconds * SECOND)

    async def flush(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Data points by metric, each with its attributes, of this hand-over."""
        self.pipe.batches.clear()
        await self.connector.emitter.flush()
        return points(self.pipe.batches)


def points(batches: list[Batch]) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    for batch in batches:
        for group in batch.message().resource_metrics:
            for metric in group.scope_metrics[0].metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                found.setdefault(metric.name, []).extend((plain(one.attributes), one) for one in data.data_points)
    return found


_ids = itertools.count(1)


def span(milliseconds: float = 5, **fields: Any) -> dict[str, Any]:
    start = 1_600_000_000 * SECOND
    number = next(_ids)
    return {
        "name": "GET /",
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "kind": 2,
        "start_time_unix_nano": start,
        "end_time_unix_nano": start + round(milliseconds * 1e6),
    } | fields
