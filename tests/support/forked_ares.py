"""The main module of the server that forks commands of `ares-otel`."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.forkserver import serve, show

# What these commands import when they are called, and what the libraries import when they are used first.
MODULES = (
    "ares_otel.cli.main",
    "ares_otel.cli.config",
    "ares_otel.cli.config_actions",
    "ares_otel.cli.doctor",
    "ares_otel.cli.doctor_account",
    "ares_otel.cli.migrate",
    "ares_otel.cli.partitions",
    "ares_otel.cli.partition_actions",
    "ares_otel.cli.rejected",
    "ares_otel.cli.rejected_actions",
    "ares_otel.cli.spool",
    "ares_otel.cli.spool_actions",
    "ares_otel.cli.traceview.actions",
    "ares_otel.cli.traceview.asked",
    "ares_otel.cli.up",
    "ares_otel.cli.validate",
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore",
    "opentelemetry.instrumentation.fastapi",
    "pydantic.v1",
    "uvicorn.lifespan.off",
)
COMMANDS = frozenset(
    {"config", "doctor", "migrate", "partitions", "rejected", "spool", "trace", "traces", "up", "validate"}
)


def _become(arguments: list[str]) -> None:
    """From here on this is `ares-otel ARGUMENTS`."""
    main: Any = sys.modules["__main__"]
    main.__package__ = None  # where Typer looks for the name of the program
    sys.argv = ["ares-otel", *arguments]
    show([sys.executable, "-m", "ares_otel.cli.main", *arguments])

    from ares_otel.cli.main import run

    run()


if __name__ == "__main__":
    serve(MODULES, _become)
