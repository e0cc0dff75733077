"""Log records into PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from ares_otel.model.signal import LOGS
from ares_otel.sdk.direct.bounds import Limits
from ares_otel.sdk.direct.encode import encode_logs
from ares_otel.sdk.direct.exporter import DirectExporter, singly


class PostgresLogRecordExporter(DirectExporter, LogRecordExporter):
    """Stores log records in `service_logs`, as a server of Ares does with those that come by OTLP."""

    def __init__(
        self,
        database_url: str | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        **limits: Unpack[Limits],
    ) -> None:
        """Does no I/O. Arguments and errors are those of `PostgresSpanExporter`."""
        super().__init__(LOGS, database_url, meter_provider, limits)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """SUCCESS: they wait to be stored. FAILURE: they were dropped, or those of them that cannot be encoded,
        and are counted in `stats()`."""
        taken = self._hand_over(encode_logs, batch, len(batch), singly)
        return LogRecordExportResult.SUCCESS if taken else LogRecordExportResult.FAILURE
