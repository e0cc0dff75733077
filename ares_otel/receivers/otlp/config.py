"""Options of the `otlp` receiver, under the Collector's names.

Source: OpenTelemetry Collector, receiver/otlpreceiver, config/configgrpc, config/confighttp.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ares_otel.pipeline.component import ComponentConfig
from ares_otel.pipeline.duration import Duration
from ares_otel.pipeline.shared_ports import Endpoint
from ares_otel.receivers.serving.http_config import HostPort, HttpServerConfig, UrlPath, split_endpoint


class KeepaliveServerParameters(ComponentConfig):
    """`keepalive.server_parameters`: how long connections live and how dead ones are found. 0 means never."""

    max_connection_idle: Duration = Field(default=0.0, description="A connection without calls is closed after this.")
    max_connection_age: Duration = Field(
        default=0.0,
        description="A connection is closed after this, so that load balancers can spread clients anew; with --workers"
        " a minute unless it is set.",
    )
    max_connection_age_grace: Duration = Field(
        default=0.0, description="Calls of a connection that is too old may take this long; 0 means without limit."
    )
    time: Duration = Field(
        default=7200.0,
        description="The server pings a silent client after this; without a call open only when"
        " permit_without_stream is set.",
    )
    timeout: Duration = Field(default=20.0, description="Without an answer to the ping the connection is closed.")


class KeepaliveEnforcementPolicy(ComponentConfig):
    """`keepalive.enforcement_policy`: how often clients may ping."""

    min_time: Duration = Field(
        default=300.0, description="A client that pings more often is disconnected (too_many_pings)."
    )
    permit_without_stream: bool = Field(default=False, description="Whether pings go without a call open.")


class KeepaliveConfig(ComponentConfig):
    """`keepalive`"""

    server_parameters: KeepaliveServerParameters = KeepaliveServerParameters()
    enforcement_policy: KeepaliveEnforcementPolicy = KeepaliveEnforcementPolicy()


class GrpcConfig(ComponentConfig):
    """`protocols.grpc`"""

    endpoint: HostPort = Field(default="127.0.0.1:4317", description="host:port to listen on; port 0 is any free one.")
    max_recv_msg_size_mib: int = Field(
        default=4, ge=1, le=1024, description="Largest request, before and after decompression, MiB."
    )
    max_concurrent_streams: int = Field(
        default=100, ge=1, le=100_000, description="Calls that one connection may have in flight."
    )
    max_allowed_incoming_connections: int = Field(
        default=4096, ge=1, le=1_000_000, description="Connections at once; one more is closed as soon as it is made."
    )
    keepalive: KeepaliveConfig = Field(default=KeepaliveConfig(), description="Life of connections.")


class HttpConfig(HttpServerConfig):
    """`protocols.http`"""

    endpoint: HostPort = Field(default="127.0.0.1:4318", description="host:port to listen on; port 0 is any free one.")
    traces_url_path: UrlPath = Field(default="/v1/traces", description="Path for traces.")
    metrics_url_path: UrlPath = Field(default="/v1/metrics", description="Path for metrics.")
    logs_url_path: UrlPath = Field(default="/v1/logs", description="Path for logs.")


class Protocols(ComponentConfig):
    """`protocols`: a protocol that is not named is not served; one without options has the defaults."""

    grpc: GrpcConfig | None = None
    http: HttpConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _named_is_served(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: {} if value is None else value for name, value in values.items()}
        return values

    @model_validator(mode="after")
    def _at_least_one(self) -> Protocols:
        if self.grpc is None and self.http is None:
            raise ValueError("name at least one protocol, grpc or http")
        return self

    @model_validator(mode="after")
    def _paths_differ(self) -> Protocols:
        if self.http is not None:
            paths = {self.http.traces_url_path, self.http.metrics_url_path, self.http.logs_url_path}
            if len(paths) < 3:
                raise ValueError("traces_url_path, metrics_url_path and logs_url_path must differ")
        return self


class OtlpReceiverConfig(ComponentConfig):
    """`receivers.otlp`"""

    protocols: Protocols

    def endpoints(self, id: str) -> list[Endpoint]:
        """Where a receiver with this id and this configuration listens."""
        found = []
        for name, protocol in (("grpc", self.protocols.grpc), ("http", self.protocols.http)):
            if protocol is not None:
                host, port = split_endpoint(protocol.endpoint)
                found.append(Endpoint(id, name, host, port, *settings_of(id, name), door=f"otlp-{name}"))
        return found


def settings_of(id: str, protocol: str) -> tuple[str, str]:
    """What to change when a port, or a host, is wrong: in the packaged configuration both come from options."""
    setting = f"receivers.{id}.protocols.{protocol}.endpoint"
    if id != "otlp":  # not the packaged configuration's receiver
        return setting, setting
    packaged = f"{setting} (with the packaged configuration: "
    return f"{packaged}--otlp-{protocol}-port)", f"{packaged}--host)"
