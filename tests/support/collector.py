"""The official OpenTelemetry Collector, built once from `tests/support/otelcol`, at pinned versions."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import go_program
from tests.support.go_program import UnavailableError
from tests.support.ports import free_port

__all__ = ["BUILD_SECONDS", "RECIPES", "Collector", "UnavailableError", "check", "install", "running_collector"]

RECIPES = Path(__file__).parents[2] / "collector" / "recipes"
_SOURCE = Path(__file__).parent / "otelcol"
BUILD_SECONDS = 900
_START_SECONDS = 30
_STOP_SECONDS = 30


def install() -> Path:
    """The Collector's binary, built when it is not there yet: about two minutes, once. Raises as `go_program` says."""
    return go_program.install(_SOURCE, "otelcol", "the OpenTelemetry Collector", seconds=BUILD_SECONDS)


@dataclass(frozen=True, slots=True)
class Collector:
    """A running Collector and where it takes OTLP."""

    grpc: str
    http: str


def check(binary: Path, recipe: str, env: Mapping[str, str]) -> str:
    """What the Collector's own `validate` says about a recipe; empty when it is fine."""
    done = subprocess.run(
        [binary, "validate", "--config", RECIPES / f"{recipe}.yaml"],
        env=_environment(env),
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
    )
    return "" if done.returncode == 0 else done.stderr or f"exit status {done.returncode}"


@contextmanager
def running_collector(binary: Path, recipe: str | Path, env: Mapping[str, str]) -> Iterator[Collector]:
    """A Collector with a recipe of `collector/recipes`, or another file, on free ports, for the length of a block; it
    is stopped with SIGTERM, so that it writes down or sends what it holds. The ports are in the variables `NAME_GRPC`
    and `NAME_HTTP` of the file's name."""
    grpc, http = free_port(), free_port()
    file = recipe if isinstance(recipe, Path) else RECIPES / f"{recipe}.yaml"
    prefix = file.stem.upper()
    ports = {f"{prefix}_GRPC": f"127.0.0.1:{grpc}", f"{prefix}_HTTP": f"127.0.0.1:{http}"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [binary, "--config", file],
            env=_environment({**env, **ports}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            _wait_for(process, grpc)
            _wait_for(process, http)
            yield Collector(f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}")
            process.send_signal(signal.SIGTERM)
            assert process.wait(_STOP_SECONDS) == 0
        except BaseException as error:
            said.seek(0)
            error.add_note(f"the Collector said:\n{said.read().decode(errors='replace')[-4000:]}")
            raise
        finally:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, "the Collector ended before it listened"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"the Collector did not listen within {_START_SECONDS} s"
            time.sleep(0.05)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ARES_OTEL_", "OTEL_"))}
    return {**kept, **extra}
