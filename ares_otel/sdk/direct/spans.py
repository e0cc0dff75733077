"""Spans into PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ares_otel.model.signal import TRACES
from ares_otel.sdk.direct.bounds import Limits
from ares_otel.sdk.direct.encode import encode_spans
from ares_otel.sdk.direct.exporter import DirectExporter, singly


class PostgresSpanExporter(DirectExporter, SpanExporter):
    """Stores spans in `service_spans`, as a server of Ares does with those that come by OTLP."""

    def __init__(
        self,
        database_url: str | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        **limits: Unpack[Limits],
    ) -> None:
        """Does no I/O.

        Args:
            database_url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, as libpq and asyncpg take it; None:
                `ARES_OTEL_DATABASE_URL`. It must have been migrated (`ares-otel migrate`).
            meter_provider: for the exporter's own metrics, where `OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true`.
            limits: what may wait, and how long.

        Raises:
            ValueError: there is no URL, or a limit is no positive number.
        """
        super().__init__(TRACES, database_url, meter_provider, limits)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """SUCCESS: they wait to be stored. FAILURE: they were dropped, or those of them that cannot be encoded,
        and are counted in `stats()`."""
        taken = self._hand_over(encode_spans, spans, len(spans), singly)
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE
