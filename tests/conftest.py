"""Fixtures for all tests: real PostgreSQL, shared by the workers of a run."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from ares_otel.model.errors import StartError
from ares_otel.storage.rows.implementation import active
from tests.support.debian_postgres import BINARIES, needs_debian_postgres
from tests.support.encoders import PARAMETERS, encoding_with
from tests.support.folders import quick_folder
from tests.support.postgres import copied_database, shared_server

_SERVER = "ARES_OTEL_TEST_SERVER"
_stack = ExitStack()

settings.register_profile("project", deadline=None)  # a deadline is an assertion about time
settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    """The controller starts the server before it starts the workers, which find it in their environment."""
    if not hasattr(config, "workerinput") and not config.option.collectonly and _SERVER not in os.environ:
        os.environ[_SERVER] = _stack.enter_context(shared_server())
        _stack.callback(os.environ.pop, _SERVER, None)

    logging.getLogger("asyncio").addFilter(_not_the_poller)


def _not_the_poller(record: logging.LogRecord) -> bool:
    """grpc.aio has one poller for all event loops of a process and complains about those that are closed. A server has
    one loop, but each test here has its own."""
    return "PollerCompletionQueue" not in record.getMessage()


def pytest_report_header() -> str:
    """Which row encoder the processes under test take, and why."""
    try:
        return f"row encoder: {active().sentence}"
    except StartError as error:
        raise pytest.UsageError(error.message) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _stack.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what cannot be so for this user, and the long faults unless `-m` asks for them: that is not a skip,
    nothing is missing."""
    unwanted = {"as_user" if os.geteuid() == 0 else "as_root"}
    if "long_faults" not in config.option.markexpr:
        unwanted.add("long_faults")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unwanted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """What collecting has made stays to the end: looking through all of it for garbage, again and again, took some of
    the processor's time."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be missing (`ARES_OTEL_TEST_NO_SKIPS=1`, as in CI), a skipped test is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("ARES_OTEL_TEST_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, although ARES_OTEL_TEST_NO_SKIPS is set: {report.longrepr}"
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `every_server` run on the embedded PostgreSQL and on PostgreSQL 15, the oldest supported."""
    definition = metafunc.definition
    if definition.get_closest_marker("embedded_server"):
        return
    if definition.get_closest_marker("every_server") and "tested_server" in metafunc.fixturenames:
        old = pytest.param("debian_server_url", id="postgresql-15", marks=needs_debian_postgres)
        metafunc.parametrize("tested_server", [pytest.param("postgres_server", id="embedded"), old], indirect=True)


@pytest.fixture(params=PARAMETERS)
def encoder(request: pytest.FixtureRequest) -> Iterator[str]:
    """The row encoder that `tests.support.encoders.encode_batch` is: the reference, then the native one."""
    with encoding_with(request.param):
        yield request.param


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of the `postgres` database of the run's server."""
    return os.environ[_SERVER]


@pytest.fixture(scope="session")
def debian_server_url() -> Iterator[str]:
    """URL of the `postgres` database of a PostgreSQL 15, started by the worker that needs it."""
    with shared_server(BINARIES) as url:
        yield url


@pytest.fixture
def tested_server(request: pytest.FixtureRequest) -> str:
    """The server that `database_url` and `empty_database_url` are on."""
    return str(request.getfixturevalue(getattr(request, "param", "postgres_server")))


@pytest.fixture
def database_url(tested_server: str) -> Iterator[str]:
    """URL of a fresh, migrated database with partitions around now."""
    with copied_database(tested_server) as url:
        yield url


@pytest.fixture
def empty_database_url(tested_server: str) -> Iterator[str]:
    """URL of a fresh database with nothing in it."""
    with copied_database(tested_server, template=None) as url:
        yield url


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory for an embedded server, where the user that runs it can pass: pytest closes the parents of
    `tmp_path` to others whenever a second pytest starts."""
    with tempfile.TemporaryDirectory(prefix="ares-data-", dir=quick_folder()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data"
