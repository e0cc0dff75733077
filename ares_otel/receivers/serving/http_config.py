"""Options of an HTTP door of a receiver, under the Collector's names, and how an endpoint is written.

Source: OpenTelemetry Collector, config/confighttp, "Server Configuration".
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from ares_otel.pipeline.component import ComponentConfig

_ENDPOINT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:/\s]*)):(?P<port>[0-9]{1,5})")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\*\.)?[a-z0-9.-]+(?::(?:\*|[0-9]{1,5}))?", re.IGNORECASE)
_URL_PATH = re.compile(r"/[!-\"$-&(-;=@-Z_a-z~]*")


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host (without brackets, empty for every address) and port of `host:port` or `[::1]:port`.

    Raises:
        ValueError: neither of the two.
    """
    parts = _ENDPOINT.fullmatch(endpoint)
    if parts is None or int(parts["port"]) > 65535:
        raise ValueError(f"{endpoint[:100]!r} is not host:port, for example 127.0.0.1:4317 or [::1]:4317")
    return parts["v6"] or parts["host"] or "", int(parts["port"])


def _endpoint(value: str) -> str:
    split_endpoint(value)
    return value


def _origin(value: str) -> str:
    if value != "*" and not _ORIGIN.fullmatch(value):
        raise ValueError(
            f"{value[:100]!r} is not an origin: write scheme://host[:port], https://*.example.com, or * for everybody"
        )
    return value


def _path(value: str) -> str:
    if not _URL_PATH.fullmatch(value):
        raise ValueError(f"{value[:100]!r} is not a URL path: it starts with / and holds no space, ? or #")
    return value


HostPort = Annotated[str, AfterValidator(_endpoint)]
Origin = Annotated[str, AfterValidator(_origin)]
UrlPath = Annotated[str, AfterValidator(_path)]


class CorsConfig(ComponentConfig):
    """`cors`: pages in a browser that may send."""

    allowed_origins: tuple[Origin, ...] = Field(
        default=(), description="Origins; `https://*.example.com` and `http://localhost:*` are patterns; `*` is all."
    )
    allowed_headers: tuple[str, ...] = Field(default=(), description="Request headers besides the usual; `*` is all.")
    max_age: int = Field(default=0, ge=0, le=86400, description="Seconds for which a browser may keep the answer.")


class HttpServerConfig(ComponentConfig):
    """What every HTTP door of a receiver can be told."""

    endpoint: HostPort = Field(description="host:port to listen on; port 0 is any free one.")
    max_request_body_size: int = Field(
        default=20 * 1024 * 1024,
        ge=1,
        le=1024 * 1024 * 1024,
        description="Largest body, before and after decompression, bytes.",
    )
    max_connections: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Connections at once. Beyond it, one that waits for its client is closed; when none does, requests"
        " of new ones are answered 503.",
    )
    max_concurrent_requests: int = Field(
        default=2048, ge=1, le=1_000_000, description="Requests in work at once; one more is answered 503."
    )
    cors: CorsConfig | None = Field(default=None, description="Off unless allowed_origins is set.")
