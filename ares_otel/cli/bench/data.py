"""Realistic spans in the shape of the official exporters' requests, from a fixed seed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_A_REQUEST = 512
"""`max_export_batch_size` of the SDK's batch processor, OpenTelemetry specification, "Batching processor"."""
SPANS_A_TRACE = 8

_SERVICES = ("storefront", "orders", "payments", "inventory", "search", "profile", "shipping", "mail")
_ROUTES = ("/", "/cart", "/orders/{id}", "/products/{sku}", "/checkout", "/search", "/profile", "/login")
_TABLES = ("orders", "customers", "stock", "sessions", "prices")


@dataclass(frozen=True, slots=True)
class Requests:
    """Ready-made request bodies, every one different."""

    bodies: list[bytes]
    spans: int


def make_requests(count: int, *, seed: int) -> Requests:
    """`count` requests of 512 spans: HTTP servers, HTTP clients and databases with semantic-convention attributes,
    skewed towards a few services; every request is one service's, as an SDK sends it."""
    source = random.Random(seed)
    now = time.time_ns()
    weights = [1 / rank for rank in range(1, len(_SERVICES) + 1)]
    bodies = [_request(source, source.choices(_SERVICES, weights)[0], now) for _ in range(count)]
    return Requests(bodies, count * SPANS_A_REQUEST)


def _request(source: random.Random, service: str, now: int) -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(
        [
            _text("service.name", service),
            _text("service.version", "2.4.1"),
            _text("service.instance.id", f"{service}-{source.randrange(4)}"),
            _text("service.namespace", "shop"),
            _text("deployment.environment.name", "production"),
            _text("telemetry.sdk.language", "python"),
            _text("telemetry.sdk.name", "opentelemetry"),
            _text("telemetry.sdk.version", "1.45.2"),
            _text("host.name", f"node-{source.randrange(12)}"),
            _number("process.pid", source.randrange(1, 99_999)),
        ]
    )
    makers = (("opentelemetry.instrumentation.fastapi", _server), ("opentelemetry.instrumentation.asyncpg", _database))
    for name, make in makers:
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = name
        scope_spans.scope.version = "0.66b2"
        for _ in range(SPANS_A_REQUEST // len(makers)):
            make(source, scope_spans.spans.add(), now - source.randrange(60_000_000_000))
    return request.SerializeToString()


def _common(source: random.Random, span: Span, start: int) -> None:
    span.trace_id = source.randbytes(16)
    span.span_id = source.randbytes(8)
    if source.randrange(SPANS_A_TRACE):
        span.parent_span_id = source.randbytes(8)
    span.start_time_unix_nano = start
    span.end_time_unix_nano = start + int(source.lognormvariate(15, 1.2))
    span.flags = 0x101


def _server(source: random.Random, span: Span, start: int) -> None:
    _common(source, span, start)
    route = source.choice(_ROUTES)
    failed = source.random() < 0.02
    span.name = f"GET {route}"
    span.kind = Span.SPAN_KIND_SERVER
    span.attributes.extend(
        [
            _text("http.request.method", "GET"),
            _text("http.route", route),
            _text("url.scheme", "https"),
            _text("url.path", f"{route}?page={source.randrange(1000)}"),
            _number("http.response.status_code", 500 if failed else 200),
            _text("server.address", "shop.example"),
            _number("server.port", 443),
            _text("client.address", f"10.0.{source.randrange(256)}.{source.randrange(256)}"),
            _text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"),
            _text("network.protocol.version", "1.1"),
        ]
    )
    if failed:
        span.status.code = Status.STATUS_CODE_ERROR
        event = span.events.add(name="exception", time_unix_nano=start + 1_000_000)
        event.attributes.extend(
            [_text("exception.type", "TimeoutError"), _text("exception.message", "the payment took too long")]
        )


def _database(source: random.Random, span: Span, start: int) -> None:
    _common(source, span, start)
    table = source.choice(_TABLES)
    span.name = f"SELECT {table}"
    span.kind = Span.SPAN_KIND_CLIENT
    span.attributes.extend(
        [
            _text("db.system.name", "postgresql"),
            _text("db.namespace", "shop"),
            _text("db.operation.name", "SELECT"),
            _text("db.collection.name", table),
            _text("db.query.text", f"SELECT * FROM {table} WHERE id = $1 AND deleted_at IS NULL"),  # noqa: S608 - only text
            _text("server.address", "db.internal"),
            _number("server.port", 5432),
            _number("db.response.returned_rows", source.randrange(50)),
        ]
    )


def _text(key: str, value: str) -> KeyValue:
    made = KeyValue(key=key)
    made.value.string_value = value
    return made


def _number(key: str, value: int) -> KeyValue:
    made = KeyValue(key=key)
    made.value.int_value = value
    return made
