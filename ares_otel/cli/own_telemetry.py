"""Ares's own spans and logs: made by the OpenTelemetry SDK like anybody's, stored under the service name `ares-api`.

They never feed back into themselves: they go straight to the store, past receivers and pipelines; the store makes no
spans; and what the storage itself logs is written to standard error only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult

from ares_otel.model.batch import Batch
from ares_otel.model.clock import SYSTEM_CLOCK
from ares_otel.model.errors import AresError
from ares_otel.model.signal import LOGS, TRACES, Signal
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.store import Store

if TYPE_CHECKING:
    from fastapi import FastAPI

SERVICE = "ares-api"
"""Ares's own service name, the same as in `service_config`."""
QUIET_PATHS = r"//[^/]+/(healthz|readyz|metrics|swagger|openapi\.json|jaeger|prometheus)"
"""Requests of probes, scrapers, senders and browsers' assets are not worth a span, and each look at a trace through
Jaeger's API would be a trace in its own list."""
RECEIVER, TRANSPORT = "self", "internal"
"""Who received it, in Ares's own account."""
PATIENCE = 10.0
"""Seconds an export may take before its records are given up."""


class OwnTelemetry:
    """Records spans of the API and log lines of the logger `ares_otel`, and stores them."""

    def __init__(
        self, store: Store, telemetry: Telemetry, *, version: str, instance_id: str, spans: bool, worker: int = 0
    ) -> None:
        """Must be made on the event loop that the store runs on.

        Args:
            instance_id: of the whole Ares: its workers are no services of their own.
            spans: whether to record spans from the start.
            worker: number of the worker that this process is; 0 when it is none.
        """
        self._sink = _Sink(store, telemetry, asyncio.get_running_loop())
        who: dict[str, str | int] = {"ares_otel.worker": worker} if worker else {}
        resource = Resource(
            {"service.name": SERVICE, "service.version": version, "service.instance.id": instance_id, **who}
        )
        self._switch = _Switch(spans)
        tracer = TracerProvider(resource=resource, sampler=self._switch, shutdown_on_exit=False)
        tracer.add_span_processor(BatchSpanProcessor(_SpanExporter(self._sink), schedule_delay_millis=1000))
        logger = LoggerProvider(resource=resource, shutdown_on_exit=False)
        logger.add_log_record_processor(BatchLogRecordProcessor(_LogExporter(self._sink), schedule_delay_millis=1000))
        self._tracer = tracer
        self._shutdowns: list[Callable[[], object]] = [tracer.shutdown, logger.shutdown]
        self._handler = _Handler(logger_provider=logger, log_code_attributes=True)
        self._handler.addFilter(_not_storage)
        logging.getLogger("ares_otel").addHandler(self._handler)

    def record_spans(self, wanted: bool) -> None:
        """Switches the recording of spans on or off, for requests that begin from now on."""
        self._switch.on = wanted

    def instrument(self, app: FastAPI) -> None:
        """Makes spans of the API's requests, while spans are wanted: one each, not one for each piece of a stream,
        which the live tail would show in a piece of a stream."""
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # a worker has no API, and starts sooner

        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=self._tracer, excluded_urls=QUIET_PATHS, exclude_spans=["receive", "send"]
        )

    async def stop(self) -> None:
        """Stores what is left, then ends; cancelled, it gives up what is not stored yet. Call it while the store still
        runs. Safe twice."""
        logging.getLogger("ares_otel").removeHandler(self._handler)
        try:
            while self._shutdowns:
                # The exporters wait for this event loop, so the shutdown must happen on another thread.
                await asyncio.to_thread(self._shutdowns.pop(0))
        finally:
            self._sink.close()


class _Handler(LoggingHandler):
    """Hands log records to the SDK, which keeps them; there is nothing here to flush. The inherited `flush` starts a
    thread, which Python refuses when logging calls it at the interpreter's end."""

    def flush(self) -> None: ...


class _Switch(Sampler):
    """Everything or nothing. A caller's decision does not count: these are Ares's spans."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def should_sample(self, *arguments: Any, **options: Any) -> SamplingResult:
        return (ALWAYS_ON if self.on else ALWAYS_OFF).should_sample(*arguments, **options)

    def get_description(self) -> str:
        return "AresSwitch"


def _not_storage(record: logging.LogRecord) -> bool:
    """A failure to store must not become a record to store."""
    return not record.name.startswith("ares_otel.storage")


class _Sink:
    """From the SDK's export threads to the store's event loop."""

    def __init__(self, store: Store, telemetry: Telemetry, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._telemetry = telemetry
        self._loop = loop
        self._pending: set[Future[None]] = set()
        self._closed = False

    def close(self) -> None:
        """Nobody waits any longer: else the process would, for the threads that export."""
        self._closed = True
        for future in list(self._pending):
            future.cancel()

    def put(self, signal: Signal, message: Message) -> bool:
        if self._closed:
            return False
        batch = Batch(
            signal,
            message.SerializeToString(),
            received_ns=SYSTEM_CLOCK.time_ns(),
            receiver=RECEIVER,
            transport=TRANSPORT,
            message=message,
        )
        future = asyncio.run_coroutine_threadsafe(self._store_it(batch), self._loop)
        self._pending.add(future)
        try:
            future.result(PATIENCE)
        except (AresError, TimeoutError, CancelledError):
            future.cancel()
            return False  # the SDK drops the records; a dead database has more pressing lines on standard error
        finally:
            self._pending.discard(future)
        return True

    async def _store_it(self, batch: Batch) -> None:
        account = self._telemetry.account
        account(batch.signal, RECEIVER, TRANSPORT, received=batch.items)
        try:
            answer = await self._store.consume(batch)
        except BaseException:
            account(batch.signal, RECEIVER, TRANSPORT, refused=batch.items)
            raise
        self._telemetry.account_answer(batch.signal, RECEIVER, TRANSPORT, answer)


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
