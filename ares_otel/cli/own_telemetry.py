"""Ares's own spans and logs: made by the OpenTelemetry SDK like anybody's, stored under the service name `ares-api`.

They never feed back into themselves: they go straight to the store, past receivers and pipelines; the store makes no
spans; and what the storage itself logs is written to standard error only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from fastapi import FastAPI
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ares_otel.model.batch import Batch
from ares_otel.model.clock import SYSTEM_CLOCK
from ares_otel.model.errors import AresError
from ares_otel.model.signal import LOGS, TRACES, Signal
from ares_otel.storage.store import Store

SERVICE = "ares-api"
"""Ares's own service name, the same as in `service_config`."""
QUIET_PATHS = r"//[^/]+/(healthz|readyz|metrics|swagger|openapi\.json)"
"""Requests of probes, scrapers and browsers' assets are not worth a span."""
PATIENCE = 10.0
"""Seconds an export may take before its records are given up."""


class OwnTelemetry:
    """Records spans of the API and log lines of the logger `ares_otel`, and stores them."""

    def __init__(self, store: Store, *, version: str, instance_id: str, spans: bool, logs: bool) -> None:
        """Must be made on the event loop that the store runs on."""
        self._sink = _Sink(store, asyncio.get_running_loop())
        resource = Resource({"service.name": SERVICE, "service.version": version, "service.instance.id": instance_id})
        self._tracer: TracerProvider | None = None
        self._logger: LoggerProvider | None = None
        self._handler: logging.Handler | None = None
        if spans:
            self._tracer = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._tracer.add_span_processor(BatchSpanProcessor(_SpanExporter(self._sink), schedule_delay_millis=1000))
        if logs:
            self._logger = LoggerProvider(resource=resource, shutdown_on_exit=False)
            self._logger.add_log_record_processor(
                BatchLogRecordProcessor(_LogExporter(self._sink), schedule_delay_millis=1000)
            )
            self._handler = LoggingHandler(logger_provider=self._logger, log_code_attributes=True)
            self._handler.addFilter(_not_storage)
            logging.getLogger("ares_otel").addHandler(self._handler)

    def instrument(self, app: FastAPI) -> None:
        """Makes spans of the API's requests, when spans are wanted."""
        if self._tracer is not None:
            FastAPIInstrumentor.instrument_app(app, tracer_provider=self._tracer, excluded_urls=QUIET_PATHS)

    async def stop(self) -> None:
        """Stores what is left, then ends. Call it while the store still runs. Safe twice."""
        if self._handler is not None:
            logging.getLogger("ares_otel").removeHandler(self._handler)
            self._handler = None
        tracer, logger, self._tracer, self._logger = self._tracer, self._logger, None, None
        # Their exporters wait for this event loop, so the shutdown must happen on another thread.
        if tracer is not None:
            await asyncio.to_thread(tracer.shutdown)
        if logger is not None:
            await asyncio.to_thread(logger.shutdown)


def _not_storage(record: logging.LogRecord) -> bool:
    """A failure to store must not become a record to store."""
    return not record.name.startswith("ares_otel.storage")


class _Sink:
    """From the SDK's export threads to the store's event loop."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def put(self, signal: Signal, message: Message) -> bool:
        batch = Batch(
            signal,
            message.SerializeToString(),
            received_ns=SYSTEM_CLOCK.time_ns(),
            receiver="self",
            transport="internal",
            message=message,
        )
        future = asyncio.run_coroutine_threadsafe(self._store.consume(batch), self._loop)
        try:
            future.result(PATIENCE)
        except (AresError, TimeoutError, asyncio.CancelledError):
            future.cancel()
            return False  # the SDK drops the records; a dead database has more pressing lines on standard error
        return True


class _SpanExporter(SpanExporter):
    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        stored = self._sink.put(TRACES, encode_spans(spans))
        return SpanExportResult.SUCCESS if stored else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None: ...


class _LogExporter(LogRecordExporter):
    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        stored = self._sink.put(LOGS, encode_logs(batch))
        return LogRecordExportResult.SUCCESS if stored else LogRecordExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None: ...
