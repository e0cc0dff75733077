"""A sender of its own process: the official Python SDK's exporters, retrying until they have an answer.

`python -m tests.faults.support.sdk_process ENDPOINT grpc|http RUN PRODUCER REQUESTS ITEMS` prints a JSON line before it
exports a request for the first time, `{"sends": NUMBER, "signal": …, "items": [[seq, payload], …]}`, and one when it
was told SUCCESS, `{"told": NUMBER}`.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.faults.support.items import Item, attributes_of, service_name

TIMEOUT = 10
"""Seconds that the exporter itself repeats a request."""


class _Sdk:
    """Makes spans and log records as an application does, and takes them out of the SDK."""

    def __init__(self, run: str) -> None:
        resource = Resource({"service.name": service_name(run)})
        self._run = run
        self._spans, self._logs = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource=resource)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        self._tracer, self._logger = tracers.get_tracer("faults"), loggers.get_logger("faults")

    def spans(self, items: list[Item]) -> Any:
        self._spans.clear()
        for item in items:
            with self._tracer.start_as_current_span("work", attributes=attributes_of(self._run, item)):
                pass
        return self._spans.get_finished_spans()

    def records(self, items: list[Item]) -> Any:
        self._logs.clear()
        for item in items:
            self._logger.emit(timestamp=time.time_ns(), body="work", attributes=attributes_of(self._run, item))
        return self._logs.get_finished_logs()


def main(endpoint: str, protocol: str, run: str, producer: str, requests: int, count: int) -> None:
    exporters: dict[str, Any]
    if protocol == "grpc":
        exporters = {
            "traces": GrpcSpans(endpoint=endpoint, insecure=True, timeout=TIMEOUT),
            "logs": GrpcLogs(endpoint=endpoint, insecure=True, timeout=TIMEOUT),
        }
    else:
        exporters = {
            "traces": HttpSpans(endpoint=f"{endpoint}/v1/traces", timeout=TIMEOUT),
            "logs": HttpLogs(endpoint=f"{endpoint}/v1/logs", timeout=TIMEOUT),
        }
    sdk, source = _Sdk(run), random.Random(producer)
    for number in range(requests):
        signal = ("traces", "logs")[number % 2]
        items = [Item(producer, number * count + n, source.randbytes(12).hex()) for n in range(count)]
        data = sdk.spans(items) if signal == "traces" else sdk.records(items)
        _say(sends=number, signal=signal, items=[[item.seq, item.payload] for item in items])
        while exporters[signal].export(data).name != "SUCCESS":
            time.sleep(0.05)
        _say(told=number)


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    _endpoint, _protocol, _run, _producer, _requests, _items = sys.argv[1:]
    main(_endpoint, _protocol, _run, _producer, int(_requests), int(_items))
