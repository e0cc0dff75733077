"""The official Python SDK, over gRPC and HTTP, with and without compression: what it sends is in the tables when the
export has been answered, and the REST endpoints show it."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tests.support.ares_process import AresProcess
from tests.support.encoders import left_to_the_reference
from tests.support.eventually import eventually

LINKED_TRACE = 0xABCDEF


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: one trace of two spans, three log records, one point of every kind."""

    service: str
    trace_id: str
    parent: str
    child: str
    began: int
    ended: int
    temporality: str


@dataclass(frozen=True, slots=True)
class Way:
    """How it is sent."""

    protocol: str
    gzip: bool
    delta: bool = False


WAYS = {
    "grpc": Way("grpc", gzip=False),
    "grpc with gzip": Way("grpc", gzip=True, delta=True),
    "http": Way("http", gzip=False),
    "http with gzip": Way("http", gzip=True, delta=True),
}


@pytest.fixture(scope="module", params=list(WAYS.values()), ids=list(WAYS))
def sent(request: pytest.FixtureRequest, ares: AresProcess) -> Sent:
    way: Way = request.param
    service = f"python-{uuid.uuid4().hex[:12]}"
    resource = Resource.create(
        {"service.name": service, "service.version": "1.2.3", "service.instance.id": "first", "deep": ["a", "b"]}
    )
    spans, logs, metrics = _exporters(ares, way)
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
    meters = MeterProvider(
        resource=resource,
        metric_readers=[PeriodicExportingMetricReader(metrics, export_interval_millis=600_000)],
        views=[View(instrument_name="latency.exponential", aggregation=ExponentialBucketHistogramAggregation())],
        shutdown_on_exit=False,
    )
    log = logging.getLogger(f"acceptance.{service}")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(LoggingHandler(logger_provider=loggers, log_code_attributes=True))
    tracer, meter = tracers.get_tracer("acceptance", "0.9"), meters.get_meter("acceptance", "0.9")

    began = time.time_ns()
    attributes: dict[str, Any] = {"text": "grüße 🚀", "integer": 2**62, "double": 2.5, "yes": True, "list": [1, 2, 3]}
    with tracer.start_as_current_span("parent", kind=SpanKind.SERVER, attributes=attributes) as parent:
        own = parent.get_span_context()
        parent.add_event("an event", {"step": 1})
        log.info("inside the parent")
        linked = own.__class__(trace_id=LINKED_TRACE, span_id=0x1234, is_remote=True)
        with tracer.start_as_current_span(
            "child", kind=SpanKind.CLIENT, links=[Link(linked, {"why": "test"})]
        ) as child:
            child.record_exception(ValueError("does not compute"))
            child.set_status(Status(StatusCode.ERROR, "failed on purpose"))
            log.error("inside the child", extra={"attempt": 3, "otel.event.name": "child.failed"})
            meter.create_histogram("latency.explicit", unit="ms").record(12.5, {"route": "/a"})
    ended = time.time_ns()
    log.debug("outside of any span")

    meter.create_counter("requests", unit="{request}").add(3, {"route": "/a"})
    meter.create_up_down_counter("queue").add(-2)
    meter.create_gauge("temperature", unit="Cel").set(21.5, {"room": "north"})
    meter.create_observable_counter("observed.counter", [_seven])
    meter.create_observable_up_down_counter("observed.updown", [_seven])
    meter.create_observable_gauge("observed.gauge", [_seven])
    exponential = meter.create_histogram("latency.exponential", unit="ms")
    for value in (0.5, 5, 50, 0):
        exponential.record(value)

    # Each waits for its answer, and an answer means that the rows are committed: the tests need not wait.
    tracers.shutdown()
    loggers.shutdown()
    meters.shutdown()
    return Sent(
        service=service,
        trace_id=f"{own.trace_id:032x}",
        parent=f"{own.span_id:016x}",
        child=f"{child.get_span_context().span_id:016x}",
        began=began,
        ended=ended,
        temporality="delta" if way.delta else "cumulative",
    )


def _seven(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(7)


def _exporters(ares: AresProcess, way: Way) -> tuple[Any, Any, Any]:
    kinds: tuple[type, ...] = (Counter, ObservableCounter, Histogram) if way.delta else ()
    delta = dict.fromkeys(kinds, AggregationTemporality.DELTA)
    if way.protocol == "grpc":
        packed = grpc.Compression.Gzip if way.gzip else grpc.Compression.NoCompression
        at = ares.otlp_grpc
        return (
            GrpcSpans(endpoint=at, compression=packed),
            GrpcLogs(endpoint=at, compression=packed),
            GrpcMetrics(endpoint=at, compression=packed, preferred_temporality=delta),
        )
    kind = Compression.Gzip if way.gzip else Compression.NoCompression
    return (
        HttpSpans(endpoint=f"{ares.otlp_http}/v1/traces", compression=kind),
        HttpLogs(endpoint=f"{ares.otlp_http}/v1/logs", compression=kind),
        HttpMetrics(endpoint=f"{ares.otlp_http}/v1/metrics", compression=kind, preferred_temporality=delta),
    )


async def test_spans_are_rows_with_attributes_events_links_and_status(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch("SELECT * FROM v_spans WHERE service_name = $1 ORDER BY start_time", sent.service)
    parent, child = rows
    assert (parent["trace_id"], parent["span_id"], parent["parent_span_id"]) == (sent.trace_id, sent.parent, None)
    assert (child["trace_id"], child["span_id"], child["parent_span_id"]) == (sent.trace_id, sent.child, sent.parent)
    assert (parent["operation_name"], parent["kind"], parent["status"]) == ("parent", "server", "unset")
    assert (child["kind"], child["status"], child["status_message"]) == ("client", "error", "failed on purpose")
    assert json.loads(parent["attributes"]) == {
        "text": "grüße 🚀",
        "integer": 2**62,
        "double": 2.5,
        "yes": True,
        "list": [1, 2, 3],
    }
    assert [event["name"] for event in json.loads(parent["events"])] == ["an event"]
    [exception] = json.loads(child["events"])
    assert exception["name"] == "exception"
    assert exception["attributes"]["exception.message"] == "does not compute"
    [link] = json.loads(child["links"])
    assert link["trace_id"] == f"{LINKED_TRACE:032x}"
    assert json.loads(parent["resource_attributes"])["deep"] == ["a", "b"]
    assert (parent["scope_name"], parent["scope_version"]) == ("acceptance", "0.9")


async def test_span_times_are_kept_to_the_nanosecond(sent: Sent, database: asyncpg.Connection) -> None:
    start, duration = await database.fetchrow(
        "SELECT (extract(epoch FROM start_time) * 1000000)::bigint * 1000 + start_ns, duration_ns "
        "FROM service_spans WHERE service_name = $1 AND operation_name = 'parent'",
        sent.service,
    )
    assert sent.began <= start <= start + duration <= sent.ended


async def test_log_records_are_joined_to_their_spans(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch("SELECT * FROM v_logs WHERE service_name = $1 ORDER BY timestamp", sent.service)
    assert [(row["message"], row["log_level"], row["trace_id"], row["span_id"]) for row in rows] == [
        ("inside the parent", "INFO", sent.trace_id, sent.parent),
        ("inside the child", "ERROR", sent.trace_id, sent.child),
        ("outside of any span", "DEBUG", None, None),
    ]
    assert rows[1]["event_name"] == "child.failed"
    assert json.loads(rows[1]["metadata"])["attempt"] == 3
    assert rows[0]["source_file"] == __file__
    assert rows[0]["source_line"] > 0
    joined = await database.fetch(
        "SELECT s.operation_name, l.message FROM v_spans s JOIN v_logs l USING (trace_id, span_id) "
        "WHERE s.service_name = $1 ORDER BY s.start_time",
        sent.service,
    )
    assert [tuple(row) for row in joined] == [("parent", "inside the parent"), ("child", "inside the child")]


async def test_every_kind_of_point_the_sdk_makes_is_a_row(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch("SELECT * FROM service_metrics WHERE service_name = $1", sent.service)
    by_name = {row["metric_name"]: row for row in rows}
    assert {name: (row["metric_type"], row["metric_value"], row["temporality"]) for name, row in by_name.items()} == {
        "requests": ("counter", 3, sent.temporality),
        "queue": ("updowncounter", -2, "cumulative"),
        "temperature": ("gauge", 21.5, None),
        "observed.counter": ("counter", 7, sent.temporality),
        "observed.updown": ("updowncounter", 7, "cumulative"),
        "observed.gauge": ("gauge", 7, None),
        "latency.explicit": ("histogram", 12.5, sent.temporality),
        "latency.exponential": ("exponential_histogram", 55.5 / 4, sent.temporality),
    }
    assert json.loads(by_name["requests"]["labels"]) == {"route": "/a"}
    assert by_name["temperature"]["unit"] == "Cel"
    exponential = by_name["latency.exponential"]
    assert (exponential["count"], exponential["sum"], exponential["min"], exponential["max"]) == (4, 55.5, 0, 50)


async def test_distributions_keep_their_buckets_and_exemplars(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch(
        "SELECT s.metric_name, d.* FROM metric_distributions d JOIN metric_series s USING (tenant_id, series_id) "
        "WHERE s.service_name = $1 ORDER BY s.metric_name",
        sent.service,
    )
    explicit, exponential = rows
    assert sum(explicit["bucket_counts"]) == 1
    assert len(explicit["bucket_counts"]) == len(explicit["explicit_bounds"]) + 1
    [exemplar] = json.loads(explicit["exemplars"])
    assert (exemplar["trace_id"], exemplar["span_id"]) == (sent.trace_id, sent.child)
    assert exponential["zero_count"] == 1
    assert sum(exponential["positive_counts"]) == 3


async def test_the_trace_endpoint_shows_the_tree_and_the_logs(sent: Sent, api: httpx.AsyncClient) -> None:
    trace = (await api.get(f"/trace/{sent.trace_id}")).raise_for_status().json()
    assert [(span["operation_name"], span["depth"]) for span in trace["spans"]] == [("parent", 0), ("child", 1)]
    assert [log["message"] for log in trace["logs"]] == ["inside the parent", "inside the child"]
    assert trace["services"] == [sent.service]
    assert trace["error_count"] == 1
    assert 0 < trace["duration_ms"] <= (sent.ended - sent.began) / 1e6


async def test_the_log_endpoint_finds_records_by_trace_level_and_text(sent: Sent, api: httpx.AsyncClient) -> None:
    async def messages(**query: str) -> list[str]:
        answer = await api.get("/logs", params={"service": sent.service, **query})
        return [log["message"] for log in answer.raise_for_status().json()["logs"]]

    assert len(await messages()) == 3
    assert await messages(trace_id=sent.trace_id, level="ERROR") == ["inside the child"]
    assert await messages(q="outside") == ["outside of any span"]


async def test_the_metric_endpoint_finds_points_by_name(sent: Sent, api: httpx.AsyncClient) -> None:
    answer = await api.get("/metrics", params={"service": sent.service, "metric": "requests"})
    [point] = answer.raise_for_status().json()["metrics"]
    assert (point["metric_value"], point["labels"], point["metric_type"]) == (3, {"route": "/a"}, "counter")


async def test_the_sender_is_registered_and_its_performance_is_known(sent: Sent, api: httpx.AsyncClient) -> None:
    async def registered() -> list[dict[str, Any]]:
        services = (await api.get("/health")).raise_for_status().json()["services"]
        return [service for service in services if service["service_name"] == sent.service]

    [service] = await eventually(registered)
    assert (service["status"], service["version"], service["error_count_1h"]) == ("online", "1.2.3", 1)
    answer = await api.get("/performance", params={"service": sent.service})
    operations = {row["operation_name"]: row for row in answer.raise_for_status().json()["operations"]}
    assert operations["parent"]["call_count"] == 1
    assert operations["child"]["error_count"] == 1


def test_what_the_python_sdk_sends_is_encoded_natively(sent: Sent, ares: AresProcess) -> None:
    assert left_to_the_reference(httpx.get(f"{ares.http}/metrics").text) == {}
