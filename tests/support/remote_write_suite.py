"""Prometheus's own suite for receivers of remote write 2.0 (prometheus/compliance, remotewrite/receiver), built once
from `tests/support/remotewrite` into the cache of the tests. Its README says that it never reads back what it wrote,
and it lets a 400 pass where it expects success: whoever runs it looks at the answers and at the tables too."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import go_program
from tests.support.go_program import UnavailableError

__all__ = ["BUILD_SECONDS", "Outcome", "UnavailableError", "install", "run"]

BUILD_SECONDS = 600
_SOURCE = Path(__file__).parent / "remotewrite"
_PACKAGE = "github.com/prometheus/complicance/remotewrite2"  # so spelled in its go.mod
_RUN_SECONDS = 120
_RECEIVER = "ares"

_ENDED = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(")
_ATTRIBUTE = re.compile(r"^\s*=== ATTR\s+(\S+) (\S+) (.*)$")
_BEGAN = re.compile(r"^\s*=== (?:RUN|NAME|CONT)\s+(\S+)$")
_ANSWERED = re.compile(r'Response code from "[^"]*": (\d+)')


@dataclass
class Outcome:
    """One test of the suite: a request and what it makes of the answer."""

    passed: bool
    level: str = ""
    """MUST, SHOULD or MAY, as far as the suite says."""
    status: int = 0
    """HTTP status of the answer, 0 where there was none."""
    lines: list[str] = field(default_factory=list)
    """What the test printed."""


def install() -> Path:
    """The suite, built when it is not there yet: a minute, once. Raises as `go_program` says."""
    return go_program.install(
        _SOURCE,
        "remotewrite",
        "Prometheus's suite for receivers of remote write",
        _PACKAGE,
        seconds=BUILD_SECONDS,
        tests=True,
    )


def run(binary: Path, url: str, folder: Path) -> dict[str, Outcome]:
    """The tests of the suite against the receiver at the URL, by name.

    Args:
        folder: for its configuration, which is that of a Prometheus.
    """
    config = folder / "receivers.yml"  # JSON is YAML
    config.write_text(json.dumps({"remote_write": [{"name": _RECEIVER, "url": url}]}), encoding="utf-8")
    done = subprocess.run(
        [binary, "-test.v", "-test.count=1"],
        cwd=folder,
        env={**os.environ, "PROMETHEUS_RW2_COMPLIANCE_CONFIG_FILE": str(config)},
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
    )
    outcomes = outcomes_of(done.stdout)
    assert outcomes, f"The suite ran nothing:\n{done.stdout[-1000:]}{done.stderr[-1000:]}"
    return outcomes


def outcomes_of(output: str) -> dict[str, Outcome]:
    """Tests by name, from what `go test -v` prints; those that have tests below them are left out, and the receiver's
    name, which is the last part of each, too."""
    passed: dict[str, bool] = {}
    levels: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    current = ""
    for line in output.splitlines():
        if began := _BEGAN.match(line):
            current = began[1]
        elif attribute := _ATTRIBUTE.match(line):
            if attribute[2] == "rfcLevel":
                levels[attribute[1]] = attribute[3]
        elif ended := _ENDED.match(line):
            passed[ended[2]] = ended[1] == "PASS"
        else:
            lines.setdefault(current, []).append(line.strip())
    found = {}
    for name, good in passed.items():
        request, _, receiver = name.rpartition("/")
        if receiver == _RECEIVER:
            said = lines.get(name, [])
            status = next((int(match[1]) for line in said if (match := _ANSWERED.search(line))), 0)
            found[request] = Outcome(good, _level(request, levels), status, said)
    return found


def _level(name: str, levels: dict[str, str]) -> str:
    """That of the test, or of the nearest one above it that has one."""
    while name:
        if name in levels:
            return levels[name]
        name = name.rpartition("/")[0]
    return ""
