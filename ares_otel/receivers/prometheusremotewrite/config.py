"""Options of the `prometheusremotewrite` receiver, under the Collector's names.

Source: OpenTelemetry Collector Contrib, receiver/prometheusremotewritereceiver, config/confighttp.
"""

from __future__ import annotations

from pydantic import Field

from ares_otel.pipeline.shared_ports import Endpoint
from ares_otel.receivers.serving.http_config import HostPort, HttpServerConfig, split_endpoint

INNER = "127.0.0.1:0"
"""Where the workers' receivers listen for the API's process, which hands requests on to them."""


class RemoteWriteReceiverConfig(HttpServerConfig):
    """`receivers.prometheusremotewrite`"""

    endpoint: HostPort = Field(
        default="",
        description="host:port of a listener of its own, besides the path /prometheus/api/v1/write of the HTTP API;"
        " port 0 is any free one. Without it there is none.",
    )

    def setting(self, id: str) -> str:
        """Name of the option that holds the address."""
        return f"receivers.{id}.endpoint"

    def endpoints(self, id: str) -> list[Endpoint]:
        """Where a receiver with this id and this configuration listens, where several processes share the work: the
        API's process hands on what comes to its own path."""
        host, port = split_endpoint(self.endpoint or INNER)
        return [Endpoint(id, "http", host, port, self.setting(id), self.setting(id), door=id)]
