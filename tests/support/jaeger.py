"""The official Jaeger 2, built once from `tests/support/jaeger_build` at a pinned version, with the configuration of
`deploy/jaeger`. Its UI is not in the Go module; everything else is."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support import go_program
from tests.support.go_program import UnavailableError
from tests.support.ports import free_port

__all__ = ["BUILD_SECONDS", "CONFIG", "Jaeger", "UnavailableError", "check", "install", "running_jaeger"]

CONFIG = Path(__file__).parents[2] / "deploy" / "jaeger" / "jaeger.yaml"
BUILD_SECONDS = 2400
_SOURCE = Path(__file__).parent / "jaeger_build"
_START_SECONDS = 60


def install() -> Path:
    """Jaeger's binary, built when it is not there yet: minutes on two cores, once. Raises as `go_program` says."""
    package = "github.com/jaegertracing/jaeger/cmd/jaeger"
    return go_program.install(_SOURCE, "jaeger", "Jaeger", package, seconds=BUILD_SECONDS)


@dataclass(frozen=True, slots=True)
class Jaeger:
    """A running Jaeger: its HTTP API and where it takes OTLP."""

    http: str
    otlp_http: str


def check(binary: Path) -> str:
    """What Jaeger's own `validate` says about the configuration; empty when it is fine."""
    done = subprocess.run(
        [binary, "validate", "--config", CONFIG],
        env=_environment({}),
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
    )
    return "" if done.returncode == 0 else done.stderr or f"exit status {done.returncode}"


@contextmanager
def running_jaeger(binary: Path, ares: str) -> Iterator[Jaeger]:
    """A Jaeger on free ports whose storage is Ares, for the length of a block. `ares`: host and port of its door."""
    http, otlp = free_port(), free_port()
    env = {
        "ARES_JAEGER_GRPC": ares,
        "JAEGER_HTTP": f"127.0.0.1:{http}",
        "JAEGER_GRPC": f"127.0.0.1:{free_port()}",
        "JAEGER_OTLP_GRPC": f"127.0.0.1:{free_port()}",
        "JAEGER_OTLP_HTTP": f"127.0.0.1:{otlp}",
    }
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [binary, "--config", CONFIG],
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            jaeger = Jaeger(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{otlp}")
            _wait_for(process, jaeger)
            yield jaeger
        except BaseException as error:
            said.seek(0)
            error.add_note(f"Jaeger said:\n{said.read().decode(errors='replace')[-6000:]}")
            raise
        finally:
            process.kill()  # asked to stop it takes ten seconds
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], jaeger: Jaeger) -> None:
    """Until it reads from its storage. Its receiver starts after its extensions, so that it is asked, too."""
    deadline = time.monotonic() + _START_SECONDS
    for url, method in ((f"{jaeger.otlp_http}/v1/traces", "POST"), (f"{jaeger.http}/api/services", "GET")):
        while True:
            assert process.poll() is None, "Jaeger ended before it listened"
            try:
                with httpx.Client(trust_env=False, timeout=10) as client:
                    client.request(method, url)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, f"Jaeger did not listen within {_START_SECONDS} s"
                time.sleep(0.05)


def _environment(extra: dict[str, str]) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("ARES_", "OTEL_", "JAEGER_")) and not key.lower().endswith("_proxy")
    }
    return {**kept, **extra}
