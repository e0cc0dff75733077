"""Small applications as processes of their own, forked from one that has imported the SDK: a start of the interpreter
and the imports are most of what such a test costs. What runs is a real process with its own signals, exit and forks."""

from __future__ import annotations

import atexit
import importlib
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from opentelemetry.util._importlib_metadata import entry_points

from tests.support.forkserver import Forkserver, serve

# Not the instrumentations of frameworks: they read variables when they are imported.
MODULES = (
    "ares_otel.sdk.configure",
    "fastapi",
    "grpc",
    "httpx",
    "opentelemetry.exporter.otlp.proto.grpc._log_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.instrumentation.logging.handler",
    "opentelemetry.instrumentation.bootstrap_gen",
    "opentelemetry.propagate",
    "opentelemetry.sdk._configuration",
    "requests",
    "tests.support.described_sdk",
    "uvicorn",
)

_server = Forkserver("tests.support.forked_application")


def run_application(
    script: str, env: Mapping[str, str] | None = None, *, timeout: float = 60, finalize: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs the script as the main module of a process, until it ends.

    Args:
        script: Python; its common indentation is taken away.
        env: variables beside those of this process, of which those of OpenTelemetry, Ares and gRPC are left out.
        timeout: seconds, after which it is killed.
        finalize: whether the interpreter takes itself apart at the end, which takes most of a second; else the process
            ends after its exit handlers.
    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    # Importing Ares's command line switches gRPC's care for forks off, in this process.
    left_out = ("OTEL_", "ARES_OTEL_", "GRPC_")
    around = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return _server.run([dedent(script), "finalize" if finalize else ""], {**around, **(env or {})}, timeout)


def _become(arguments: list[str]) -> None:
    script, finalize = arguments
    importlib.reload(sys.modules["opentelemetry.propagate"])  # it has read OTEL_PROPAGATORS
    main: Any = sys.modules["__main__"]
    sys.argv = ["application.py"]
    code: Any = 0
    try:
        exec(compile(script, "application.py", "exec"), main.__dict__)
    except BaseException as error:
        if finalize:
            raise
        code = error.code if isinstance(error, SystemExit) else 1
        if not isinstance(error, SystemExit):
            traceback.print_exc()
    if not finalize:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    entry_points(group="opentelemetry_traces_exporter")  # reads what is installed, and keeps it
    serve(MODULES, _become)
