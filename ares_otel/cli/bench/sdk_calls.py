"""The process that makes instrumented calls and requests: `python -m ares_otel.cli.bench.sdk_calls`."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable

from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, SpanKind, Tracer
from opentelemetry.util.types import AnyValue

from ares_otel.cli.bench.sdk_exporters import Exporters, exporters

SERVICE = "bench-sdk"
EXPORTING = ("discard", "grpc", "http", "direct")
NAMES = {
    "plain": "not instrumented",
    "api": "instrumented, no SDK",
    "sdk": "SDK, no exporter",
    "discard": "SDK, batch processors, an exporter that discards",
    "grpc": "SDK, stock OTLP/gRPC exporter to Ares",
    "http": "SDK, stock OTLP/HTTP exporter to Ares",
    "direct": "SDK, Ares's exporter into PostgreSQL",
}
"""Kinds of calls and requests; requests are not made without SDK."""

Call = Callable[[int], object]
Rounds = dict[str, list[float]]
"""Microseconds by kind, one number for each round."""


class Kit:
    """The SDK as an application sets it up, with the exporters of one kind or none."""

    def __init__(self, kind: str, found: Exporters | None, queue: int) -> None:
        """`queue`: items of a round; nothing may be dropped, for a dropped span is cheap."""
        resource = Resource.create({"service.name": f"{SERVICE}-{kind}"})
        self.found = found
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        readers = []
        if found is not None:
            self.tracers.add_span_processor(BatchSpanProcessor(found.spans, max_queue_size=queue))
            self.loggers.add_log_record_processor(BatchLogRecordProcessor(found.logs, max_queue_size=queue))
            readers.append(PeriodicExportingMetricReader(found.metrics))
        self.meters = MeterProvider(resource=resource, metric_readers=readers, shutdown_on_exit=False)
        self.logger = logging.Logger(f"bench.{kind}", logging.INFO)
        self.logger.addHandler(LoggingHandler(logger_provider=self.loggers, log_code_attributes=True))

    def flush(self) -> None:
        """Returns when everything has its answer."""
        for provider in (self.tracers, self.loggers, self.meters):
            provider.force_flush(60_000)
        if self.found is not None:
            self.found.flush()

    def shutdown(self) -> None:
        for provider in (self.tracers, self.loggers, self.meters):
            provider.shutdown()


def handle(number: int) -> int:
    """The work that is instrumented: next to nothing, so that what is around it shows."""
    return number * 7 % 13


def traced(tracer: Tracer) -> Call:
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


def plain_request(number: int) -> int:
    """A request that nobody looks at."""
    return handle(handle(number))


def request_of(kit: Kit) -> Call:
    """What a small FastAPI service makes of a request: a span of the server, one of its SQL, two log lines, a point in
    a histogram."""
    tracer = kit.tracers.get_tracer("bench.http", "1.0")
    histogram = kit.meters.get_meter("bench.http", "1.0").create_histogram("http.server.request.duration", "s")
    logger = kit.logger

    def request(number: int) -> None:
        server: dict[str, AnyValue] = {
            "http.request.method": "GET",
            "http.route": "/orders/{id}",
            "url.path": f"/orders/{number}",
            "url.scheme": "https",
            "server.address": "orders.example",
            "server.port": 443,
            "client.address": "192.0.2.7",
            "user_agent.original": "curl/8.5.0",
            "network.protocol.version": "1.1",
        }
        with tracer.start_as_current_span("GET /orders/{id}", kind=SpanKind.SERVER, attributes=server) as span:
            logger.info("Order %d is asked for", number)
            sql: dict[str, AnyValue] = {
                "db.system.name": "postgresql",
                "db.namespace": "shop",
                "db.query.text": "SELECT id, customer, total FROM orders WHERE id = $1",
                "server.address": "db.example",
                "server.port": 5432,
            }
            with tracer.start_as_current_span("SELECT shop.orders", kind=SpanKind.CLIENT, attributes=sql):
                handle(number)
            logger.info("Order %d has %d lines", number, handle(number))
            span.set_attribute("http.response.status_code", 200)
        histogram.record(handle(number) / 100, {"http.route": "/orders/{id}", "http.response.status_code": 200})

    return request


def main(grpc: str, http: str, database: str, calls: int, rounds: int) -> None:
    kits = {kind: Kit(kind, exporters(kind, grpc, http, database), 4 * calls + 512) for kind in EXPORTING}
    bare = Kit("sdk", None, 0)
    called: dict[str, Call] = {
        "plain": handle,
        "api": traced(NoOpTracer()),
        "sdk": traced(bare.tracers.get_tracer("bench")),
        **{kind: traced(kit.tracers.get_tracer("bench")) for kind, kit in kits.items()},
    }
    requested: dict[str, Call] = {
        "plain": plain_request,
        "sdk": request_of(bare),
        **{kind: request_of(kit) for kind, kit in kits.items()},
    }
    found = {
        "call": _measure(called, kits, calls, rounds),
        "request": _measure(requested, kits, max(1, calls // 4), rounds),
    }
    for kit in kits.values():
        kit.shutdown()
    sys.stdout.write(json.dumps(found))


def _measure(kinds: dict[str, Call], kits: dict[str, Kit], calls: int, rounds: int) -> dict[str, Rounds]:
    """What the caller waits (`wall`) and what the processor does (`cpu`) for each call, the kinds in turns."""
    wall: Rounds = {name: [] for name in kinds}
    cpu: Rounds = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, call in kinds.items():
            used, started = time.process_time(), time.perf_counter()
            for number in range(calls):
                call(number)
            wall[name].append((time.perf_counter() - started) / calls * 1e6)
            if name in kits:
                kits[name].flush()
            cpu[name].append((time.process_time() - used) / calls * 1e6)
    return {"wall": wall, "cpu": cpu}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
