"""What `configure()` was asked for, and where that leads: exporters, endpoints, the address of the API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

Exporter = Literal["otlp", "ares_postgres"]
EXPORTERS: tuple[Exporter, ...] = ("otlp", "ares_postgres")

API_PORT = 8080
"""Where the API of an Ares listens unless it is told otherwise."""

_OTLP_HTTP_PORT = 4318


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `configure()` that decide what is built. `app` and `instrument` are not among them: they are
    applied each time. URLs are not shown: they may hold passwords."""

    service_name: str | None = None
    service_version: str | None = None
    service_namespace: str | None = None
    environment: str | None = None
    resource_attributes: Mapping[str, Any] = field(default_factory=dict)
    exporter: Exporter | None = None
    endpoint: str | None = field(default=None, repr=False)
    database_url: str | None = field(default=None, repr=False)
    api_url: str | None = field(default=None, repr=False)
    remote_config: bool = True
    registry: bool = True
    port: int | None = None
    health_url: str | None = field(default=None, repr=False)
    metadata: Mapping[str, Any] | None = None
    log_level: str | int | None = None

    def __post_init__(self) -> None:
        if self.exporter is not None and self.exporter not in EXPORTERS:
            raise ValueError(
                f"exporter={self.exporter!r} is not known: 'otlp' or 'ares_postgres'. "
                "Others are named by OTEL_TRACES_EXPORTER, OTEL_LOGS_EXPORTER and OTEL_METRICS_EXPORTER."
            )
        if self.database_url is not None and self.exporter == "otlp":
            raise ValueError("database_url= sends straight to PostgreSQL and exporter='otlp' does not: leave out one.")
        if self.endpoint is not None and self.straight:
            raise ValueError("endpoint= is that of an OTLP receiver, and nothing is sent to one: leave it out.")
        if self.endpoint is not None and not urlsplit(self.otlp_endpoint or "").hostname:
            raise ValueError(f"endpoint={_shown(self.endpoint)!r} has no host: write it as http://localhost:4317.")

    @property
    def straight(self) -> bool:
        """Whether the code asks for the exporters that write into PostgreSQL."""
        return self.database_url is not None or self.exporter == "ares_postgres"

    @property
    def otlp_endpoint(self) -> str | None:
        """`endpoint` as a URL; plain HTTP where no scheme is given."""
        if self.endpoint is None or "://" in self.endpoint:
            return self.endpoint
        return f"http://{self.endpoint}"

    @property
    def speaks_http(self) -> bool:
        """Whether the port of `endpoint` is that of OTLP over HTTP, where no variable names a protocol."""
        endpoint = self.otlp_endpoint
        return endpoint is not None and _port(endpoint) == _OTLP_HTTP_PORT

    def control(self, straight: bool) -> tuple[str | None, str | None]:
        """API URL and database URL of the configuration service and the registry; one of them, or neither.

        Args:
            straight: whether telemetry is written into PostgreSQL.
        """
        given = self.api_url or os.environ.get("ARES_OTEL_API_URL")
        if given:
            return given, None
        if straight:
            return None, self.database_url or os.environ.get("ARES_OTEL_DATABASE_URL")
        return self._beside_the_receiver(), None

    def differences(self, other: Options) -> list[str]:
        """Names of the arguments that `other` gives, and gives differently."""
        unsaid = Options()
        return [
            name
            for name in self.__slots__
            if getattr(other, name) != getattr(unsaid, name) and getattr(other, name) != getattr(self, name)
        ]

    def _beside_the_receiver(self) -> str | None:
        """The API on the host of the OTLP receiver. Not where that is reached over TLS: it is somebody's service then,
        and nobody asked to talk to another port of it."""
        endpoint = (
            self.otlp_endpoint
            or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
            or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            or "http://127.0.0.1"
        )
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        if parts.scheme != "http" or not parts.hostname:
            return None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"http://{host}:{API_PORT}"


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        raise ValueError(f"endpoint={_shown(url)!r} has no valid port: write it as http://localhost:4317.") from None


def _shown(url: str) -> str:
    """Without a user and a password."""
    return url.rpartition("@")[2]
