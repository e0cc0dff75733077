"""The `otlp` exporter: OTLP over gRPC.

Source: OTLP specification 1.x, "OTLP/gRPC"; options as in the Collector's exporter/otlpexporter and config/configgrpc.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
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
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import SIGNALS
from ares_otel.pipeline.component import BuildContext, ExporterFactory
from ares_otel.pipeline.occasional import Occasional

_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""RESOURCE_EXHAUSTED belongs to them when it comes with a RetryInfo, and only then."""

_ENDPOINT = re.compile(r"(?:(?P<scheme>https?)://)?(?P<target>(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s@]+):[0-9]{1,5})/?")


def _endpoint(value: str) -> str:
    if not _ENDPOINT.fullmatch(value):
        raise ValueError("The endpoint is host:port, for example tempo.example.com:4317, or http://host:port.")
    if not 1 <= int(value.rstrip("/").rpartition(":")[2]) <= 65535:
        raise ValueError("The port of the endpoint is not one of 1 to 65535.")
    return value


class GrpcTlsConfig(TlsConfig):
    """`tls` of the `otlp` exporter."""

    insecure: bool = Field(default=False, description="Whether the connection goes without TLS.")
    server_name_override: str | None = Field(
        default=None, description="Name that the destination's certificate must hold, when it is not the host's."
    )


class OtlpConfig(ClientConfig):
    """Options of the `otlp` exporter."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        description="`host:port` of the destination. `http://host:port` means without TLS, as `tls.insecure` does."
    )
    tls: GrpcTlsConfig = Field(default=GrpcTlsConfig(), description="How the connection is secured.")
    compression: Literal["gzip", "none"] = Field(default="gzip", description="How requests are compressed.")

    @model_validator(mode="after")
    def _tls_is_meant(self) -> Self:
        if self.without_tls and self.tls.model_fields_set - {"insecure"}:
            raise ValueError("Without TLS (tls.insecure or http://) the other options of tls have no meaning.")
        if self.endpoint.startswith("https://") and self.tls.insecure:
            raise ValueError("https:// and tls.insecure contradict each other.")
        return self

    @property
    def without_tls(self) -> bool:
        """Whether the connection is in plain text."""
        return self.tls.insecure or self.endpoint.startswith("http://")

    @property
    def target(self) -> str:
        """`host:port`"""
        found = _ENDPOINT.fullmatch(self.endpoint)
        assert found is not None
        return found["target"]


class OtlpExporter:
    """Makes one attempt for each batch; queue, repetition and time limit stand around it (`pipeline.sending`)."""

    def __init__(self, context: BuildContext, config: OtlpConfig) -> None:
        self._id = context.id
        self._config = config
        self._reader = AnswerReader(config, Occasional(context))
        self._metadata = tuple((name.lower(), value.get_secret_value()) for name, value in config.headers.items())
        self._compression = grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Opens the channel; it connects by itself, now or when the destination is there.

        Raises:
            StartError: a TLS file cannot be read.
        """
        options: list[tuple[str, str | int]] = [
            ("grpc.primary_user_agent", USER_AGENT),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 5000),
        ]
        tls = self._config.tls
        if self._config.without_tls:
            self._channel = grpc.aio.insecure_channel(self._config.target, options=options)
            return
        if tls.server_name_override is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name_override))
        name = f"exporters.{self._id}.tls"
        credentials = grpc.ssl_channel_credentials(
            root_certificates=read_tls_file(tls.ca_file, f"{name}.ca_file"),
            private_key=read_tls_file(tls.key_file, f"{name}.key_file"),
            certificate_chain=read_tls_file(tls.cert_file, f"{name}.cert_file"),
        )
        self._channel = grpc.aio.secure_channel(self._config.target, credentials, options=options)

    async def stop(self) -> None:
        """Closes the channel and breaks off what is still under way."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(grace=None)

    async def consume(self, batch: Batch) -> Accepted:
        """Sends the payload as it is.

        Raises:
            Retryable: the destination cannot be reached or asks for another attempt.
            Rejected: it does not want the batch.
        """
        if self._channel is None:
            raise Retryable(f"{self._id} is not started.")
        export = self._channel.unary_unary(
            f"/{batch.signal.service}/Export", request_serializer=None, response_deserializer=None
        )
        try:
            answer = await export(
                batch.payload,
                metadata=self._metadata,
                compression=self._compression,
                timeout=self._config.timeout or None,
            )
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        try:
            response = batch.signal.response.FromString(answer)
        except DecodeError:
            raise Rejected(f"{self._id}: the destination answered with something that is not OTLP.") from None
        return self._reader.accepted(batch, response)

    def _failure(self, error: grpc.aio.AioRpcError) -> Retryable | Rejected:
        code = error.code()
        text = f"{self._id}: the destination answered {code.name}: {self._reader.shown(error.details() or '')}"
        delay = _retry_delay(error)
        if code in _RETRYABLE or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and delay is not None):
            return Retryable(text, retry_after=delay or 0.0)
        return Rejected(text)


def _retry_delay(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds of the `RetryInfo` in the status; None without one."""
    trailers: Any = error.trailing_metadata() or ()  # pairs, whatever the stubs say
    for key, value in trailers:
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    delay: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                    return max(delay, 0.0)
        except DecodeError:
            return None
    return None


FACTORY = ExporterFactory("otlp", OtlpConfig, OtlpExporter, frozenset(SIGNALS.values()))
