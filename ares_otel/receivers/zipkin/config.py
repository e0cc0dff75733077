"""Options of the `zipkin` receiver, under the Collector's names.

Source: OpenTelemetry Collector, receiver/zipkinreceiver, config/confighttp.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ares_otel.pipeline.component import ComponentConfig
from ares_otel.pipeline.shared_ports import Endpoint
from ares_otel.receivers.serving.http_config import HostPort, HttpServerConfig, split_endpoint

_DEFAULT_ENDPOINT = "localhost:9411"


class ZipkinHttpConfig(HttpServerConfig):
    """`protocols.http`"""

    endpoint: HostPort = Field(default=_DEFAULT_ENDPOINT, description="host:port to listen on; port 0 is any free one.")


class ZipkinProtocols(ComponentConfig):
    """`protocols`: the newer place of the HTTP options."""

    http: ZipkinHttpConfig = Field(default=ZipkinHttpConfig(), description="The HTTP door.")


class ZipkinReceiverConfig(ZipkinHttpConfig):
    """`receivers.zipkin`"""

    parse_string_tags: bool = Field(
        default=False,
        description="Whether tags that look like integers, numbers with a point, or truth values become such"
        " attributes; else all are text.",
    )
    protocols: ZipkinProtocols | None = Field(
        default=None, description="The same HTTP options in the Collector's newer place, `protocols.http`."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_place(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("protocols") is not None:
            twice = sorted(set(values) & set(HttpServerConfig.model_fields))
            if twice:
                raise ValueError(
                    f"{', '.join(twice)} cannot stand beside protocols; put all HTTP options into protocols.http"
                )
        return values

    @property
    def http(self) -> ZipkinHttpConfig:
        """The HTTP options, wherever they stand."""
        return self if self.protocols is None else self.protocols.http

    def setting(self, id: str) -> str:
        """Name of the option that holds the address."""
        return f"receivers.{id}.{'' if self.protocols is None else 'protocols.http.'}endpoint"

    def endpoints(self, id: str) -> list[Endpoint]:
        """Where a receiver with this id and this configuration listens."""
        host, port = split_endpoint(self.http.endpoint)
        return [Endpoint(id, "http", host, port, self.setting(id), self.setting(id), door=id)]
