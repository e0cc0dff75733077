"""The pytest plugin; pytest loads it in every run of a project that has Ares OTel installed, so it imports little."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ares_otel.testing.ares import Ares
    from ares_otel.testing.ares_session import AresSession
    from ares_otel.testing.otel import Otel


@pytest.fixture
def otel() -> Iterator[Otel]:
    """Spans, log records and metrics of the code under test, to assert on."""
    from ares_otel.testing.otel import capture

    with capture() as recorded:
        yield recorded


@pytest.fixture(scope="session")
def _ares_session(request: pytest.FixtureRequest) -> Iterator[AresSession]:
    """What all tests of this process share."""
    from ares_otel.testing.ares_session import AresSession

    session = AresSession(getattr(request.config, "workerinput", {}).get("testrunuid"))
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def ares(_ares_session: AresSession) -> Iterator[Ares]:
    """A database of this test's own in a real PostgreSQL, and an Ares on it, started when a door is asked for."""
    with _ares_session.test() as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what a failed test recorded, unless its message does already, and what its Ares complained about."""
    report = yield
    if report.failed and call.when == "call" and call.excinfo is not None:
        funcargs: dict[str, Any] = getattr(item, "funcargs", {})
        if "otel" in funcargs or "ares" in funcargs:
            from ares_otel.testing.failing import sections

            report.sections += sections(call.excinfo.value, funcargs)
    return report
