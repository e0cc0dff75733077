"""The process that makes instrumented calls: `python -m ares_otel.cli.bench.sdk_calls TARGET CALLS ROUNDS`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, SpanKind, Tracer

SERVICE = "bench-sdk"
NAMES = {
    "plain": "not instrumented",
    "api": "instrumented, no SDK",
    "sdk": "SDK, no exporter",
    "otlp": "SDK, stock OTLP/gRPC exporter to Ares",
}


def handle(number: int) -> int:
    """The work that is instrumented: next to nothing, so that what is around it shows."""
    return number * 7 % 13


def traced(tracer: Tracer) -> Callable[[int], int]:
    """The same in a span with the attributes of an HTTP server."""

    def call(number: int) -> int:
        with tracer.start_as_current_span("GET /orders/{id}", kind=SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", "GET")
            span.set_attribute("http.route", "/orders/{id}")
            span.set_attribute("url.path", f"/orders/{number}")
            span.set_attribute("url.scheme", "https")
            span.set_attribute("http.response.status_code", 200)
            return handle(number)

    return call


def main(target: str, calls: int, rounds: int) -> None:
    resource = Resource.create({"service.name": SERVICE})
    bare = TracerProvider(resource=resource)
    provider = TracerProvider(resource=resource)
    # Nothing may be dropped: a dropped span is cheap.
    exporter = OTLPSpanExporter(endpoint=target, insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * calls + 512))
    kinds: dict[str, Callable[[int], int]] = {
        "plain": handle,
        "api": traced(NoOpTracer()),
        "sdk": traced(bare.get_tracer("bench")),
        "otlp": traced(provider.get_tracer("bench")),
    }
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    cpu: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, call in kinds.items():
            used, started = time.process_time(), time.perf_counter()
            for number in range(calls):
                call(number)
            wall[name].append((time.perf_counter() - started) / calls * 1e6)
            provider.force_flush(60_000)
            cpu[name].append((time.process_time() - used) / calls * 1e6)
    provider.shutdown()
    sys.stdout.write(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
