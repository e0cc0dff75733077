"""Rows that come from an application directly are those that come by OTLP: every column of every table."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import pytest
from opentelemetry.exporter.otlp.proto.common import _log_encoder, metrics_encoder, trace_encoder
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode

from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.storage.store import Store
from tests.support.postgres import copied_database
from tests.support.sdk_application import application

OF_THE_REQUEST = {"id", "received_at", "first_seen", "last_seen", "stored_at", "merged_at"}
"""Columns that tell two requests with the same items apart."""
TABLES = (
    "service_spans",
    "service_logs",
    "metric_samples",
    "metric_distributions",
    "otel_resources",
    "otel_scopes",
    "metric_series",
    "span_rollup_increments",
    "log_rollup_increments",
)


@pytest.fixture
def other_url(postgres_server: str) -> Iterator[str]:
    """A second database."""
    with copied_database(postgres_server) as url:
        yield url


def spans_and_logs(resource: Resource) -> tuple[Sequence[ReadableSpan], Sequence[ReadableLogRecord]]:
    spans = InMemorySpanExporter()
    logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    logger = logging.Logger("shop", logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=loggers, log_code_attributes=True))
    tracer = tracers.get_tracer("shop.orders", "4", "https://example.org/scope", {"part": "orders"})
    more: Any = {"list": ["a", 1], "object": {"x": None}}
    with tracer.start_as_current_span(
        "GET /orders", kind=SpanKind.SERVER, attributes={"list": [1, 2], "x": 1.5}
    ) as one:
        with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, links=[Link(one.get_span_context())]) as two:
            two.add_event("row", {"number": 1})
            two.record_exception(ValueError("no such order"))
            two.set_status(StatusCode.ERROR, "failed")
        logger.error("Order %d failed", 7, extra=more)
    try:
        raise KeyError("order")
    except KeyError:
        logger.exception("It went wrong")
    return spans.get_finished_spans(), logs.get_finished_logs()


def points() -> MetricsData:
    reader = InMemoryMetricReader()
    view = View(instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation())
    meters = MeterProvider(metric_readers=[reader], views=[view], shutdown_on_exit=False)
    meter = meters.get_meter("shop.orders", "4")
    meter.create_counter("orders", "1", "How many").add(3, {"kind": "new"})
    meter.create_up_down_counter("open").add(-2)
    meter.create_gauge("load").set(0.5)
    meter.create_histogram("seconds", "s").record(0.25)
    meter.create_histogram("sizes", "By").record(1234)
    data = reader.get_metrics_data()
    assert data is not None
    return data


async def rows(url: str) -> dict[str, list[dict[str, Any]]]:
    connection = await asyncpg.connect(url)
    try:
        found = {}
        for table in TABLES:
            every = [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
            kept = [{name: value for name, value in row.items() if name not in OF_THE_REQUEST} for row in every]
            found[table] = sorted(kept, key=repr)
        return found
    finally:
        await connection.close()


async def test_every_column_is_the_same(database_url: str, other_url: str) -> None:
    with application(database_url) as app:
        (spans, logs), data = spans_and_logs(app.tracers.resource), points()
        app.spans.export(spans)
        app.logs.export(logs)
        app.metrics.export(data)
        assert app.flush()
        assert [exporter.stats().rejected for exporter in app.exporters] == [0, 0, 0]

        server = Store(other_url)
        await server.start()
        for signal, message in (
            (TRACES, trace_encoder.encode_spans(spans)),
            (LOGS, _log_encoder.encode_logs(logs)),
            (METRICS, metrics_encoder.encode_metrics(data)),
        ):
            body = message.SerializeToString()
            await server.consume(Batch(signal, body, received_ns=time.time_ns(), receiver="otlp", transport="grpc"))
        await server.stop()
    direct, by_otlp = await rows(database_url), await rows(other_url)
    assert {table: len(found) for table, found in direct.items()} == {
        table: len(found) for table, found in by_otlp.items()
    }
    assert all(direct.values()), "every table has something"
    assert direct == by_otlp
