"""The `zipkin` exporter: spans in Zipkin's v2 model, in JSON or protobuf.

Source: OpenTelemetry Collector, exporter/zipkinexporter, config/confighttp; openzipkin/zipkin-api.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field

from ares_otel.exporters.http_sender import HttpClientConfig, HttpSender, Url
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import TRACES
from ares_otel.model.zipkin import json_spans, proto_spans
from ares_otel.model.zipkin.from_otlp import from_otlp
from ares_otel.pipeline.component import BuildContext, ExporterFactory

_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
"""Zipkin has no list of its own. 500 is among them because that is what the Collector's receiver answers to whatever is
not the sender's fault."""
_OFF_LOOP_BYTES = 16 * 1024
_CONTENT_TYPES = {"json": "application/json", "proto": "application/x-protobuf"}
_WRONG_IDS = "Spans whose ids are missing or of a wrong length cannot be sent to Zipkin."


class ZipkinExporterConfig(HttpClientConfig):
    """Options of the `zipkin` exporter."""

    endpoint: Url = Field(description="Full URL, for example http://127.0.0.1:9411/api/v2/spans.")
    format: Literal["json", "proto"] = Field(default="json", description="Encoding of the requests.")
    compression: Literal["gzip", "zstd", "deflate", "none"] = Field(
        default="none", description="How requests are compressed; Zipkin's own server takes `gzip`."
    )
    default_service_name: str = Field(
        default="<missing service name>",
        min_length=1,
        max_length=255,
        description="Name of services whose resource has no `service.name`.",
    )


class ZipkinExporter:
    """Makes one attempt for each batch; queue, repetition and time limit stand around it (`pipeline.sending`)."""

    def __init__(self, context: BuildContext, config: ZipkinExporterConfig) -> None:
        self._config = config
        self._sender = HttpSender(context, config, _CONTENT_TYPES[config.format], _RETRYABLE)

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
        """Sends the spans of the batch. Zipkin answers for a request as a whole.

        Raises:
            Retryable: the destination cannot be reached or asks for another attempt.
            Rejected: it does not want the batch.
        """
        if len(batch.payload) < _OFF_LOOP_BYTES:
            body, sent, wrong = self._body(batch)
        else:
            body, sent, wrong = await asyncio.to_thread(self._body, batch)
        if sent:
            response = await self._sender.post(self._config.endpoint, body)
            if not 200 <= response.status < 300:
                said = response.body or b"" if response.content_type.startswith(("text/plain", "application/")) else b""
                raise self._sender.error(response, said[:2000].decode("utf-8", "replace").strip())
        return Accepted(sent, rejected=wrong, reason=_WRONG_IDS if wrong else "")

    def _body(self, batch: Batch) -> tuple[bytes, int, int]:
        """Body, how many spans it holds, and how many it cannot."""
        spans, wrong = from_otlp(batch.message(), self._config.default_service_name)
        write = json_spans.write_spans if self._config.format == "json" else proto_spans.write_spans
        return self._sender.compress(write(spans)), len(spans), wrong


FACTORY = ExporterFactory("zipkin", ZipkinExporterConfig, ZipkinExporter, frozenset({TRACES}))
