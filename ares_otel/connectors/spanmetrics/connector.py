"""The `spanmetrics` connector: takes spans, and hands on how many there were and how long they took."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ares_otel.connectors.decoding import decoded
from ares_otel.connectors.emitter import Emitter
from ares_otel.connectors.spanmetrics.book import Book
from ares_otel.connectors.spanmetrics.config import SpanMetricsConfig
from ares_otel.model.batch import Batch, Consumer
from ares_otel.model.signal import METRICS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ConnectorFactory
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.occasional import Occasional

SCOPE = "spanmetricsconnector"
"""The Collector's name for itself here."""


class SpanMetrics:
    """Counts spans, and hands data points on in intervals and once more at the end."""

    def __init__(self, context: BuildContext, config: SpanMetricsConfig, consumers: Mapping[Signal, Consumer]) -> None:
        self._clock = context.clock
        self._book = Book(config, context.services.get(Identity, Identity()).writer)
        self._warnings = Occasional(context)
        self.emitter = Emitter(
            context,
            consumers[METRICS],
            self._book.series,
            scope=SCOPE,
            interval=config.metrics_flush_interval,
            cumulative=config.cumulative,
            resource_seconds=config.metrics_expiration,
            series_seconds=config.series_expiration,
        )

    async def start(self) -> None:
        """Begins to hand on."""
        await self.emitter.start()

    async def stop(self) -> None:
        """Hands on what is left."""
        await self.emitter.stop()

    async def observe(self, batch: Batch) -> None:
        """Counts the spans of a batch.

        Raises:
            Rejected: it cannot be decoded.
        """
        invalid = 0
        for in_slice in self._book.add(await decoded(batch), self._clock.time_ns()):
            invalid += in_slice
            await asyncio.sleep(0)
        if invalid:
            self._warnings.warn("%d spans with invalid ids are not counted", invalid)


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
