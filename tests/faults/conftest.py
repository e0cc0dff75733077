"""Fixtures of the fault suite, and its table at the end of a run.

`make test-faults` runs all of it; the short cases also run in `make test`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.support import report
from tests.faults.support.case import Case
from tests.faults.support.server import open_folder

_SEED = "ARES_OTEL_FAULT_SEED"


def pytest_configure() -> None:
    """The workers of a run find the seed in their environment."""
    os.environ.setdefault(_SEED, str(int.from_bytes(os.urandom(3), "big")))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-fault-table", action="store_true", help="write the table of the run into docs/reliability.md"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # the process that started the workers has all reports
    done = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, ()) if one.when == "call"]
    lines = report.table(done)
    if lines:
        terminalreporter.section(f"Fault suite, {_SEED}={os.environ.get(_SEED, '')}")
        for line in lines:
            terminalreporter.write_line(line)
        if config.getoption("--write-fault-table", False):
            report.write(lines)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """The oracle of this test, and the end that it has in common with the others."""
    return Case(request.node)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test that other users can pass: PostgreSQL does not run as root."""
    with open_folder("ares-fault-") as made:
        yield made


@pytest.fixture(scope="session")
def seed() -> int:
    """The number that all random choices of a run follow from: `ARES_OTEL_FAULT_SEED`, else a new one. It is printed,
    so that a run can be repeated."""
    pytest_configure()  # when all tests run, this file is read too late for that
    print(f"{_SEED}={os.environ[_SEED]}")
    return int(os.environ[_SEED])
