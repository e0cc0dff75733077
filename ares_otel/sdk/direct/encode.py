"""From the SDK's objects to the bytes of an OTLP request."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common import _log_encoder, metrics_encoder, trace_encoder
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    return trace_encoder.encode_spans(spans).SerializeToString()


def encode_logs(records: Sequence[ReadableLogRecord]) -> bytes:
    return _log_encoder.encode_logs(records).SerializeToString()


def encode_metrics(data: MetricsData) -> bytes:
    return metrics_encoder.encode_metrics(data).SerializeToString()
