"""OpenTelemetry's remote sampler for Go, built once from `tests/support/jaegerremote` into the cache of the tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support import go_program
from tests.support.go_program import UnavailableError

__all__ = ["BUILD_SECONDS", "UnavailableError", "ask", "install"]

BUILD_SECONDS = 600
_SOURCE = Path(__file__).parent / "jaegerremote"
_RUN_SECONDS = 60


def install() -> Path:
    """The program, built when it is not there yet: about half a minute, once. Raises as `go_program` says."""
    return go_program.install(_SOURCE, "jaegerremote", "the remote sampler for Go", seconds=BUILD_SECONDS)


def ask(binary: Path, address: str, service: str, *operations: str, decisions: int = 20_000) -> dict[str, Any]:
    """What Go's clients make of the strategy of a service: `kept`, the part of the root spans of each operation that
    the sampler keeps, and the answer by gRPC."""
    done = subprocess.run(
        [binary, address, service, str(decisions), *operations], capture_output=True, text=True, timeout=_RUN_SECONDS
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
