"""The `otlphttp` exporter: OTLP over HTTP, in protobuf or JSON.

Source: OTLP specification 1.x, "OTLP/HTTP"; options as in the Collector's exporter/otlphttpexporter and
config/confighttp.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Self
from urllib.parse import urlsplit

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from pydantic import Field, model_validator

from ares_otel.exporters.client import AnswerReader
from ares_otel.exporters.http_sender import HttpClientConfig, HttpSender, Response, Url
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Rejected
from ares_otel.model.otlp_json import encode_json
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ExporterFactory
from ares_otel.pipeline.occasional import Occasional

_RETRYABLE = frozenset({429, 502, 503, 504})
_OFF_LOOP_BYTES = 64 * 1024


class OtlpHttpConfig(HttpClientConfig):
    """Options of the `otlphttp` exporter."""

    endpoint: Url | None = Field(default=None, description="Base URL; `/v1/traces` and so on is added to it.")
    traces_endpoint: Url | None = Field(default=None, description="Full URL for traces, used as it is.")
    logs_endpoint: Url | None = Field(default=None, description="Full URL for logs, used as it is.")
    metrics_endpoint: Url | None = Field(default=None, description="Full URL for metrics, used as it is.")
    encoding: Literal["proto", "json"] = Field(default="proto", description="Encoding of the requests.")

    @model_validator(mode="after")
    def _some_address(self) -> Self:
        if not any((self.endpoint, self.traces_endpoint, self.logs_endpoint, self.metrics_endpoint)):
            raise ValueError("There is no address; set endpoint.")
        if self.endpoint is not None and urlsplit(self.endpoint).query:
            raise ValueError("endpoint cannot have a query (?); use traces_endpoint, logs_endpoint, metrics_endpoint.")
        return self

    def url(self, signal: Signal) -> str | None:
        """Where requests of a signal go; None when nothing says so."""
        own = {TRACES: self.traces_endpoint, LOGS: self.logs_endpoint, METRICS: self.metrics_endpoint}[signal]
        return own or (self.endpoint and self.endpoint.rstrip("/") + signal.http_path)


class OtlpHttpExporter:
    """Makes one attempt for each batch; queue, repetition and time limit stand around it (`pipeline.sending`)."""

    def __init__(self, context: BuildContext, config: OtlpHttpConfig) -> None:
        self._id = context.id
        self._config = config
        self._reader = AnswerReader(config, Occasional(context))
        content_type = "application/json" if config.encoding == "json" else "application/x-protobuf"
        self._sender = HttpSender(context, config, content_type, _RETRYABLE)

    async def start(self) -> None:
        """Makes the client; it connects with the first batch.

        Raises:
            StartError: a TLS file cannot be read or used.
        """
        await self._sender.start()

    async def stop(self) -> None:
        """Closes the connections."""
        await self._sender.stop()

    async def consume(self, batch: Batch) -> Accepted:
        """Sends the batch; in protobuf its payload as it is.

        Raises:
            Retryable: the destination cannot be reached or asks for another attempt.
            Rejected: it does not want the batch.
        """
        url = self._config.url(batch.signal)
        if url is None:
            raise Rejected(f"{self._id} has no address for {batch.signal.name}; set {batch.signal.name}_endpoint.")
        if self._config.encoding == "proto" and len(batch.payload) < _OFF_LOOP_BYTES:
            body = self._body(batch)
        else:
            body = await asyncio.to_thread(self._body, batch)
        return self._read(batch, await self._sender.post(url, body))

    def _body(self, batch: Batch) -> bytes:
        body = batch.payload if self._config.encoding == "proto" else encode_json(batch.message())
        return self._sender.compress(body)

    def _read(self, batch: Batch, response: Response) -> Accepted:
        status = response.status
        if 200 <= status < 300:
            message = batch.signal.response()
            if response.body == b"" or self._parse(response, message):
                return self._reader.accepted(batch, message)
            raise Rejected(f"{self._id}: the destination answered {status} with something that is not OTLP.")
        detail = Status()
        self._parse(response, detail)
        raise self._sender.error(response, detail.message)

    def _parse(self, response: Response, message: Message) -> bool:
        """Reads an answer of a type that an OTLP server gives. Returns whether it could be read."""
        if response.body is None:
            return False
        try:
            if response.content_type == "application/json":
                json_format.Parse(response.body, message, ignore_unknown_fields=True, max_recursion_depth=20)
            elif response.content_type == "application/x-protobuf":
                message.MergeFromString(response.body)
            else:
                return False
        except (DecodeError, json_format.ParseError, ValueError, RecursionError):
            message.Clear()
            return False
        return True


FACTORY = ExporterFactory("otlphttp", OtlpHttpConfig, OtlpHttpExporter, frozenset(SIGNALS.values()))
