"""What `ares-otel up` was asked for, and how it reaches the pipeline configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ares_otel.api.jaeger.adjust import MAX_SKEW_NS
from ares_otel.api.routers.remote_read import MAX_SAMPLES
from ares_otel.model.errors import StartError
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.problem import suggestion

# Options that the pipeline configuration reads, as `${env:NAME}`.
PIPELINE_VARIABLES = {
    "host": "ARES_OTEL_HOST",
    "otlp_grpc_port": "ARES_OTEL_OTLP_GRPC_PORT",
    "otlp_http_port": "ARES_OTEL_OTLP_HTTP_PORT",
}


OTHER_VARIABLES = frozenset(
    {
        "ARES_OTEL_BUILD_NATIVE",
        "ARES_OTEL_CONFIG_KEY",
        "ARES_OTEL_CONFIG_KEY_FILE",
        "ARES_OTEL_CONFIG_OLD_KEYS",
        "ARES_OTEL_IMPL",
        "ARES_OTEL_URL",
    }
)
"""Variables that are no options of `up`: a key does not belong on a command line; `tail` reads the URL, the build
BUILD_NATIVE, and whatever encodes rows IMPL."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `ares-otel up`; every one also reads `ARES_OTEL_<NAME>`."""

    data_dir: Path
    config: Path
    database_url: str | None = None
    host: str = "127.0.0.1"
    http_port: int = 8080
    otlp_grpc_port: int = 4317
    otlp_http_port: int = 4318
    jaeger_http_port: int | None = None
    """None opens no such door."""
    max_clock_skew_ns: int = MAX_SKEW_NS
    sampling_port: int = 5778
    jaeger_grpc_port: int = 16685
    allow_unauthenticated: bool = False
    allowed_hosts: tuple[str, ...] = ()
    admission_limit_mib: int = 256
    spool_dir: Path | None = None
    spool_limit_mib: int = 1024
    shutdown_grace: float = 25.0
    query_max_samples: int = MAX_SAMPLES
    """Of one remote read."""
    probe_allow_local: bool = False
    demo: bool = False
    workers: int = 1
    given: frozenset[str] = field(default_factory=frozenset)
    """Names of the options that somebody set, by flag or by variable."""
    variables: frozenset[str] = field(default_factory=frozenset)
    """Names of the variables that the options read."""

    @property
    def spool_directory(self) -> Path:
        """Where requests wait for the database."""
        return self.spool_dir or self.data_dir / "spool"

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """The variables for `${env:…}`: the process's, with the options on top."""
        values = {variable: str(getattr(self, name)) for name, variable in PIPELINE_VARIABLES.items()}
        if ":" in self.host and not self.host.startswith("["):  # an endpoint is `[::1]:4317`
            values[PIPELINE_VARIABLES["host"]] = f"[{self.host}]"
        return {**base, **values}

    def unknown_variables(self, environ: Mapping[str, str], config: PipelineConfig) -> list[str]:
        """A sentence for each variable that looks like a setting of Ares and is none."""
        known = self.variables | OTHER_VARIABLES
        return [
            f"{name} is set, but nothing reads it; {suggestion(name, known, 'variables')}"
            for name in sorted(environ)
            if name.startswith("ARES_OTEL_") and name not in known | config.used_variables
        ]

    def check_used(self, config: PipelineConfig) -> None:
        """An option that the configuration file does not read would do nothing: that is an error.

        Raises:
            StartError: naming the option and what to write into the file. `--host` also binds the API, so it always
                does something.
        """
        for name, variable in PIPELINE_VARIABLES.items():
            if name != "host" and name in self.given and variable not in config.used_variables:
                flag = "--" + name.replace("_", "-")
                raise StartError(
                    f"{flag} has no effect: {self.config} does not use ${{env:{variable}}}. "
                    f"Leave the option out, or write ${{env:{variable}}} into the receiver's endpoint."
                )
