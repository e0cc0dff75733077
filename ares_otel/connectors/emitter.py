"""When a connector hands data points on: in intervals, and once more at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from ares_otel.connectors.handover import Handover
from ares_otel.connectors.request import metrics_request
from ares_otel.connectors.series import Series
from ares_otel.model.batch import Consumer
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.error_log import ErrorLog

REQUEST_POINTS = 250
"""Data points of one metrics request."""
FINAL_SECONDS = 5.0
"""How long `stop` tries to hand on what is left."""
PAUSE_SECONDS = 0.2
"""Between two attempts of these."""


class Emitter:
    """Hands on a data point for each series of a connector."""

    def __init__(
        self,
        context: BuildContext,
        consumer: Consumer,
        series: Series,
        *,
        scope: str,
        interval: float,
        cumulative: bool = True,
        resource_seconds: float = 0.0,
        series_seconds: float = 0.0,
        offset_seconds: float = 0.0,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            scope: name of the instrumentation scope.
            interval: seconds between two hand-overs.
            cumulative: whether data points count since the start, not since the ones before.
            resource_seconds, series_seconds: after which what got nothing is forgotten; 0 for never.
            offset_seconds: how much earlier the times of the data points are.
            before: called at the beginning of each hand-over.
        """
        self._context = context
        self._series = series
        self._handover = Handover(context, consumer)
        self._scope = scope
        self._interval = interval
        self._cumulative = cumulative
        self._forget_after = {"resource_seconds": resource_seconds, "series_seconds": series_seconds}
        self._offset_ns = round(offset_seconds * 1e9)
        self._before = before
        self._boundary_ns = context.clock.time_ns()
        """Where deltas begin: when the last ones ended."""
        self._ending = asyncio.Event()
        self._job: asyncio.Task[None] | None = None
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
        while not await self.flush():
            if clock.monotonic() > give_up:
                points = self._handover.waiting + len(self._series)
                self._context.log.warning("%s ended with %d data points not handed on", self._context.id, points)
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def flush(self) -> bool:
        """Hands on a data point for each series. False when something has to wait for another attempt."""
        self._before()
        if not await self._handover.again():
            return False
        now_ns = self._context.clock.time_ns()
        boundary_ns, self._boundary_ns = self._boundary_ns, now_ns
        series, cumulative, offset_ns = self._series.listed(), self._cumulative, self._offset_ns
        temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            if cumulative
            else AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        )
        for begin in range(0, len(series), REQUEST_POINTS):
            part = series[begin : begin + REQUEST_POINTS]
            if not cumulative:
                for group, family, key, _ in part:
                    self._series.take(group, family, key)
            starts = (
                (group, family, point, (point.start_ns if cumulative else min(boundary_ns, point.start_ns)) - offset_ns)
                for group, family, _, point in part
            )
            request = metrics_request(self._scope, starts, temporality, now_ns - offset_ns)
            if not await self._handover.give(request, now_ns):
                return False
        for _ in self._series.forget(now_ns, **self._forget_after):
            await asyncio.sleep(0)
        return True

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._ending.wait()
            except TimeoutError:
                try:
                    await self.flush()
                except Exception as error:
                    self._errors.unexpected(error, f"{self._context.id}: handing on data points")
            else:
                return
