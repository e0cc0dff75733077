"""The library that Prometheus itself names OTLP's metrics with, built once from `tests/support/otlptranslator`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import go_program
from tests.support.go_program import UnavailableError

__all__ = ["BUILD_SECONDS", "UnavailableError", "ask", "install"]

BUILD_SECONDS = 600
_SOURCE = Path(__file__).parent / "otlptranslator"
_RUN_SECONDS = 60


def install() -> Path:
    """The program, built when it is not there yet: some seconds, once. Raises as `go_program` says."""
    return go_program.install(_SOURCE, "otlptranslator", "Prometheus's translator", seconds=BUILD_SECONDS)


def ask(binary: Path, **questions: Sequence[dict[str, Any]]) -> dict[str, list[str | None]]:
    """The names for `metrics`, `labels` and `units`, in their order; None for one that the library refuses."""
    done = subprocess.run(
        [binary], input=json.dumps(questions), capture_output=True, text=True, timeout=_RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str | None]] = json.loads(done.stdout)
    return found
