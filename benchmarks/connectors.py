"""What connectors cost: processor time a span, and memory of a series: `python -m benchmarks.connectors`."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ares_otel.cli.bench.data import Source
from ares_otel.connectors.servicegraph import connector as servicegraph
from ares_otel.connectors.spanmetrics import connector as spanmetrics
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import METRICS, TRACES
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext, Connector, ConnectorFactory
from ares_otel.pipeline.telemetry import Telemetry

ROUNDS = 5
REQUESTS = 20
SERIES = 20_000
RECIPE = {
    "histogram": {"unit": "s", "exponential": {}},
    "dimensions": [{"name": "http.request.method"}, {"name": "http.response.status_code"}],
    "exemplars": {"enabled": True},
}


class Nowhere:
    async def consume(self, batch: Batch) -> Accepted:
        return Accepted(batch.items)


def build(factory: ConnectorFactory, options: Mapping[str, Any]) -> Connector:
    context = BuildContext("bench", Telemetry(), Admission())
    return factory.build(context, factory.config.model_validate(options), {METRICS: Nowhere()})


def batch(payload: bytes) -> Batch:
    return Batch(TRACES, payload, received_ns=time.time_ns(), receiver="bench", transport="none")


async def span_cost(factory: ConnectorFactory, options: Mapping[str, Any], bodies: list[bytes]) -> float:
    """Processor time a span, decoding included, in microseconds."""
    connector, batches = build(factory, options), [batch(body) for body in bodies]
    begun = time.process_time()
    for one in batches:
        await connector.observe(one)
    return (time.process_time() - begun) * 1e6 / sum(one.items for one in batches)


async def series_bytes(options: Mapping[str, Any]) -> float:
    """Memory of a series, of `SERIES` operations with two metrics each."""
    connector = build(spanmetrics.FACTORY, options)
    for begin in range(0, SERIES + 1000, 1000):
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add().spans
        for number in range(begin, begin + 1000):
            spans.add(name=f"GET /orders/{number}", trace_id=b"t" * 16, span_id=b"s" * 8, end_time_unix_nano=number)
        await connector.observe(batch(request.SerializeToString()))
        if not begin:
            before = resident()
    return (resident() - before) / SERIES / 2


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def main() -> None:
    bodies = Source(36, REQUESTS).requests(TRACES, REQUESTS, now_ns=time.time_ns()).bodies
    for name, factory, options in (
        ("spanmetrics, defaults", spanmetrics.FACTORY, {}),
        ("spanmetrics, as in collector/spanmetrics.yaml", spanmetrics.FACTORY, RECIPE),
        ("servicegraph", servicegraph.FACTORY, {"store": {"max_items": 100_000}}),
    ):
        rounds = [await span_cost(factory, options, bodies) for _ in range(ROUNDS)]
        print(f"{name}: {median(rounds):.1f} µs a span")
    plain, recipe = await series_bytes({}), await series_bytes(RECIPE)
    print(f"memory of a series: {plain:.0f} bytes with the defaults, {recipe:.0f} as in the recipe")


if __name__ == "__main__":
    asyncio.run(main())
