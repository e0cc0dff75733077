"""The `otlphttp` exporter: OTLP over HTTP, in protobuf or JSON.

Source: OTLP specification 1.x, "OTLP/HTTP"; options as in the Collector's exporter/otlphttpexporter and
config/confighttp.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import httpx
import zstandard
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from pydantic import AfterValidator, Field, model_validator

from ares_otel.exporters.client import (
    MAX_ANSWER_BYTES,
    USER_AGENT,
    AnswerReader,
    ClientConfig,
    TlsConfig,
    read_tls_file,
)
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Rejected, Retryable, StartError
from ares_otel.model.otlp_json import encode_json
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ExporterFactory
from ares_otel.pipeline.occasional import Occasional

_RETRYABLE = frozenset({429, 502, 503, 504})
_OFF_LOOP_BYTES = 64 * 1024
_MAX_RETRY_AFTER = 24 * 3600.0
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "deflate": lambda body: zlib.compress(body, 1),
    "zstd": lambda body: zstandard.ZstdCompressor(level=3).compress(body),
    "none": lambda body: body,
}


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("The address is a URL, for example https://otlp.example.com:4318.")
    if "@" in parts.netloc:
        raise ValueError("Credentials do not belong into the URL; put them into headers.")
    if parts.fragment:
        raise ValueError("A URL with a fragment (#) cannot be sent to.")
    return value


Url = Annotated[str, AfterValidator(_url)]


class HttpTlsConfig(TlsConfig):
    """`tls` of the `otlphttp` exporter; `https://` in the address turns it on."""

    insecure_skip_verify: bool = Field(
        default=False, description="Whether the destination's certificate is taken unchecked: for trials only."
    )


class OtlpHttpConfig(ClientConfig):
    """Options of the `otlphttp` exporter."""

    endpoint: Url | None = Field(default=None, description="Base URL; `/v1/traces` and so on is added to it.")
    traces_endpoint: Url | None = Field(default=None, description="Full URL for traces, used as it is.")
    logs_endpoint: Url | None = Field(default=None, description="Full URL for logs, used as it is.")
    metrics_endpoint: Url | None = Field(default=None, description="Full URL for metrics, used as it is.")
    encoding: Literal["proto", "json"] = Field(default="proto", description="Encoding of the requests.")
    compression: Literal["gzip", "zstd", "deflate", "none"] = Field(
        default="gzip", description="How requests are compressed."
    )
    tls: HttpTlsConfig = Field(default=HttpTlsConfig(), description="How the connection is secured.")

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
    """Makes one attempt for each batch; queue, repetition and time limit stand around it (`pipeline.sending`).

    Redirects are not followed and the environment's proxies are not used: headers may hold credentials, and they go to
    the configured address only.
    """

    def __init__(self, context: BuildContext, config: OtlpHttpConfig) -> None:
        self._id = context.id
        self._config = config
        self._clock = context.clock
        self._reader = AnswerReader(config, Occasional(context))
        self._client: httpx.AsyncClient | None = None
        json = config.encoding == "json"
        self._content_type = "application/json" if json else "application/x-protobuf"
        self._headers = {
            "user-agent": USER_AGENT,
            **{name.lower(): value.get_secret_value() for name, value in config.headers.items()},
            "content-type": self._content_type,
            "accept-encoding": "identity",
            **({} if config.compression == "none" else {"content-encoding": config.compression}),
        }

    async def start(self) -> None:
        """Makes the client; it connects with the first batch.

        Raises:
            StartError: a TLS file cannot be read or used.
        """
        self._client = httpx.AsyncClient(
            verify=self._tls(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            limits=httpx.Limits(max_connections=self._config.sending_queue.num_consumers + 10),
        )

    async def stop(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def consume(self, batch: Batch) -> Accepted:
        """Sends the batch; in protobuf its payload as it is.

        Raises:
            Retryable: the destination cannot be reached or asks for another attempt.
            Rejected: it does not want the batch.
        """
        if self._client is None:
            raise Retryable(f"{self._id} is not started.")
        url = self._config.url(batch.signal)
        if url is None:
            raise Rejected(f"{self._id} has no address for {batch.signal.name}; set {batch.signal.name}_endpoint.")
        if self._config.encoding == "proto" and len(batch.payload) < _OFF_LOOP_BYTES:
            body = self._body(batch)
        else:
            body = await asyncio.to_thread(self._body, batch)
        request = self._client.build_request("POST", url, content=body, headers=self._headers)
        try:
            response = await self._client.send(request, stream=True)
            try:
                answer = await _bounded(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            detail = self._reader.shown(str(error)) or type(error).__name__
            raise Retryable(f"{self._id}: the destination cannot be reached: {detail}", retry_after=0.0) from None
        return self._read(batch, response, answer)

    def _body(self, batch: Batch) -> bytes:
        body = batch.payload if self._config.encoding == "proto" else encode_json(batch.message())
        return _COMPRESS[self._config.compression](body)

    def _read(self, batch: Batch, response: httpx.Response, answer: bytes | None) -> Accepted:
        status = response.status_code
        if 200 <= status < 300:
            message = batch.signal.response()
            if answer is not None and (not answer or self._parse(response, answer, message)):
                return self._reader.accepted(batch, message)
            raise Rejected(f"{self._id}: the destination answered {status} with something that is not OTLP.")
        detail = Status()
        if answer:
            self._parse(response, answer, detail)
        text = f"{self._id}: the destination answered {status}: {self._reader.shown(detail.message)}"
        if status in _RETRYABLE:
            raise Retryable(text, retry_after=_retry_after(response.headers.get("retry-after"), self._clock.time_ns()))
        if 300 <= status < 400:
            raise Rejected(
                f"{self._id}: the destination answered {status}; correct the address, redirects are not followed."
            )
        raise Rejected(text)

    def _parse(self, response: httpx.Response, answer: bytes, message: Message) -> bool:
        """Reads an answer of a type that an OTLP server gives. Returns whether it could be read."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if "content-encoding" in response.headers:
            return False
        try:
            if kind == "application/json":
                json_format.Parse(answer, message, ignore_unknown_fields=True, max_recursion_depth=20)
            elif kind == "application/x-protobuf":
                message.MergeFromString(answer)
            else:
                return False
        except (DecodeError, json_format.ParseError, ValueError, RecursionError):
            message.Clear()
            return False
        return True

    def _tls(self) -> ssl.SSLContext:
        tls, name = self._config.tls, f"exporters.{self._id}.tls"
        authorities = read_tls_file(tls.ca_file, f"{name}.ca_file")
        read_tls_file(tls.cert_file, f"{name}.cert_file")
        read_tls_file(tls.key_file, f"{name}.key_file")
        try:
            context = ssl.create_default_context(cadata=authorities.decode("ascii") if authorities else None)
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (ssl.SSLError, ValueError) as error:
            raise StartError(f"{name}: the certificates cannot be used: {error}.") from None
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def _bounded(response: httpx.Response) -> bytes | None:
    """The body of an answer; None when it is longer than `MAX_ANSWER_BYTES`, whose rest is not read."""
    pieces = bytearray()
    async for piece in response.aiter_raw():
        pieces += piece
        if len(pieces) > MAX_ANSWER_BYTES:
            return None
    return bytes(pieces)


def _retry_after(value: str | None, now_ns: int) -> float:
    """Seconds from `Retry-After`: a number of seconds or a date (RFC 9110, 10.2.3); 0 without a usable one."""
    if not value:
        return 0.0
    if value.strip().isdecimal() and value.isascii():
        return min(float(value.strip()[:10]), _MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    return min(max((until - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)


FACTORY = ExporterFactory("otlphttp", OtlpHttpConfig, OtlpHttpExporter, frozenset(SIGNALS.values()))
