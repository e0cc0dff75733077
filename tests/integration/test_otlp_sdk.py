"""OTLP receiver: what the official Python SDK sends arrives."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ares_otel.model.errors import Retryable
from ares_otel.model.signal import METRICS, TRACES
from tests.support.otlp_receiver import Running, running
from tests.support.recording import stored

RESOURCE = Resource.create({"service.name": "sdk"})


def send_spans(exporter: Any, count: int = 5) -> bool:
    """Makes spans with the SDK and waits until its exporter is done with them."""
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for number in range(count):
        with tracer.start_as_current_span(f"span {number}", attributes={"number": number}):
            pass
    done = provider.force_flush()
    provider.shutdown()
    return done


def send_metrics(exporter: Any) -> None:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    provider.get_meter("test").create_counter("orders").add(3, {"shop": "a"})
    provider.force_flush()
    provider.shutdown()


def exporters(ares: Running, way: str) -> tuple[Any, Any]:
    """Span and metric exporter for a way of sending."""
    if way.startswith("grpc"):
        compression = grpc.Compression.Gzip if way.endswith("gzip") else grpc.Compression.NoCompression
        named: dict[str, Any] = {"endpoint": ares.grpc_target, "insecure": True, "compression": compression}
        return GrpcSpans(**named), GrpcMetrics(**named)
    over_http = Compression(way.partition(" ")[2])
    base = ares.receiver.doors["otlp-http"]
    return (
        HttpSpans(endpoint=f"{base}/v1/traces", compression=over_http),
        HttpMetrics(endpoint=f"{base}/v1/metrics", compression=over_http),
    )


@pytest.mark.parametrize("way", ["grpc none", "grpc gzip", "http none", "http gzip", "http deflate"])
async def test_spans_and_metrics_of_the_official_sdk_arrive(way: str) -> None:
    """Statement 5."""
    async with running() as ares:
        spans, metrics = exporters(ares, way)
        assert await asyncio.to_thread(send_spans, spans)
        await asyncio.to_thread(send_metrics, metrics)
        received = {TRACES: 0, METRICS: 0}
        for batch in ares.recording.batches:
            received[batch.signal] += batch.items
            assert b"\x0a\x03sdk" in batch.payload
        assert received[TRACES] == 5
        assert received[METRICS] >= 1


@pytest.mark.parametrize("way", ["grpc gzip", "http gzip"])
async def test_the_official_sdk_comes_again_when_it_is_asked_to(way: str) -> None:
    """Statement 22."""
    async with running() as ares:
        ares.recording.fail_with(Retryable("Not now.", retry_after=0.1))
        sending = asyncio.create_task(asyncio.to_thread(send_spans, exporters(ares, way)[0]))
        await ares.recording.arrived.wait()
        ares.recording.answer = stored
        await sending
        first, *_, last = ares.recording.batches
        assert first.key == last.key
        assert len(ares.recording.batches) >= 2
