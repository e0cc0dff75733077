"""Exporters of the OpenTelemetry SDK that write into PostgreSQL without a server in between."""

from ares_otel.sdk.direct.logs import PostgresLogRecordExporter
from ares_otel.sdk.direct.metrics import PostgresMetricExporter
from ares_otel.sdk.direct.processors import StoringLogRecordProcessor, StoringSpanProcessor
from ares_otel.sdk.direct.spans import PostgresSpanExporter
from ares_otel.sdk.direct.stats import ExporterStats

__all__ = [
    "ExporterStats",
    "PostgresLogRecordExporter",
    "PostgresMetricExporter",
    "PostgresSpanExporter",
    "StoringLogRecordProcessor",
    "StoringSpanProcessor",
]
