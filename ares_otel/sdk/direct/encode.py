"""From the SDK's objects to the bytes of an OTLP request.

The native encoder writes them without making protobuf's objects; whatever it does not know goes, as a whole request, to
the official one. Both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common import _log_encoder, metrics_encoder, trace_encoder
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from ares_otel.storage.rows.implementation import active


@cache
def _extension() -> Any:
    """The native encoder, None where it is not used. Raises StartError for a value of `ARES_OTEL_IMPL`."""
    if active().native is None:
        return None
    from ares_otel.storage.rows import _native

    return _native


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """An ExportTraceServiceRequest. Raises what the official encoder raises."""
    native = _extension()
    if native is not None:
        try:
            made: bytes = native.encode_sdk_spans(spans, ReadableSpan, BoundedAttributes)
            return made
        except Exception:  # something that it does not know, or another version of the SDK
            pass
    return trace_encoder.encode_spans(spans).SerializeToString()


def encode_logs(records: Sequence[ReadableLogRecord]) -> bytes:
    """An ExportLogsServiceRequest. Raises what the official encoder raises."""
    native = _extension()
    if native is not None:
        try:
            made: bytes = native.encode_sdk_logs(records, ReadableLogRecord, BoundedAttributes)
            return made
        except Exception:
            pass
    return _log_encoder.encode_logs(records).SerializeToString()


def encode_metrics(data: MetricsData) -> bytes:
    """An ExportMetricsServiceRequest, which comes once a minute. Raises what the official encoder raises."""
    return metrics_encoder.encode_metrics(data).SerializeToString()
