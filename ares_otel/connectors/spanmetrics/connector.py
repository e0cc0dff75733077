"""The `spanmetrics` connector: takes spans, and hands on how many there were and how long they took."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from ares_otel.connectors.handover import Handover
from ares_otel.connectors.spanmetrics.book import Book
from ares_otel.connectors.spanmetrics.config import SpanMetricsConfig
from ares_otel.connectors.spanmetrics.request import metrics_request
from ares_otel.model.batch import Batch, Consumer
from ares_otel.model.signal import METRICS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ConnectorFactory
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.occasional import Occasional

OFF_LOOP_BYTES = 256 * 1024
"""Larger requests are decoded in a thread."""
REQUEST_POINTS = 500
"""Data points of one metrics request."""
FINAL_SECONDS = 5.0
"""How long `stop` tries to hand on what is left."""
PAUSE_SECONDS = 0.2
"""Between two attempts of these."""


class SpanMetrics:
    """Counts spans, and hands data points on in intervals and once more at the end."""

    def __init__(self, context: BuildContext, config: SpanMetricsConfig, consumers: Mapping[Signal, Consumer]) -> None:
        self._context = context
        self._config = config
        identity = context.services.get(Identity, Identity())
        self._book = Book(config, identity.writer)
        self._handover = Handover(context, consumers[METRICS])
        self._boundary_ns = context.clock.time_ns()
        """Where deltas begin: when the last ones ended."""
        self._ending = asyncio.Event()
        self._job: asyncio.Task[None] | None = None
        self._warnings = Occasional(context)
        self._errors = ErrorLog(context.log, context.clock, told="; it is tried again")

    async def start(self) -> None:
        """Begins to hand on in intervals."""
        self._job = asyncio.create_task(self._run(), name=f"{self._context.id} hands on")

    async def stop(self) -> None:
        """Hands on what is left, for `FINAL_SECONDS` at most. Safe without `start` and twice."""
        if self._job is None:
            return
        self._ending.set()
        job, self._job = self._job, None
        await job
        clock = self._context.clock
        give_up = clock.monotonic() + FINAL_SECONDS
        while not await self._flush():
            if clock.monotonic() > give_up:
                points = self._handover.waiting + len(self._book)
                self._context.log.warning("%s ended with %d data points not handed on", self._context.id, points)
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def observe(self, batch: Batch) -> None:
        """Counts the spans of a batch.

        Raises:
            Rejected: it cannot be decoded.
        """
        decode = batch.message
        request = await asyncio.to_thread(decode) if len(batch.payload) > OFF_LOOP_BYTES else decode()
        invalid = 0
        for in_slice in self._book.add(request, self._context.clock.time_ns()):
            invalid += in_slice
            await asyncio.sleep(0)
        if invalid:
            self._warnings.warn("%d spans with invalid ids are not counted", invalid)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._config.metrics_flush_interval):
                    await self._ending.wait()
            except TimeoutError:
                try:
                    await self._flush()
                except Exception as error:
                    self._errors.unexpected(error, f"{self._context.id}: handing on data points")
            else:
                return

    async def _flush(self) -> bool:
        """Hands on a data point for each series. False when something has to wait for another attempt."""
        if not await self._handover.again():
            return False
        book, cumulative = self._book, self._config.cumulative
        now_ns = self._context.clock.time_ns()
        boundary_ns, self._boundary_ns = self._boundary_ns, now_ns
        series = book.listed()
        temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            if cumulative
            else AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        )
        for begin in range(0, len(series), REQUEST_POINTS):
            part = series[begin : begin + REQUEST_POINTS]
            if not cumulative:
                for group, family, key, _ in part:
                    book.take(group, family, key)
            starts = (
                (group, family, point, point.start_ns if cumulative else min(boundary_ns, point.start_ns))
                for group, family, _, point in part
            )
            if not await self._handover.give(metrics_request(starts, temporality, now_ns), now_ns):
                return False
        book.forget(now_ns)
        return True


FACTORY = ConnectorFactory(
    type="spanmetrics",
    config=SpanMetricsConfig,
    build=SpanMetrics,
    signals=frozenset({TRACES}),
    emits=frozenset({METRICS}),
)
NEW_NAME_FACTORY = ConnectorFactory(
    type="span_metrics",
    config=SpanMetricsConfig,
    build=SpanMetrics,
    signals=frozenset({TRACES}),
    emits=frozenset({METRICS}),
)
"""The same under the name that newer Collectors prefer."""
