"""The pytest plugin as a project has it that installed Ares OTel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ares_otel.testing.otel  # noqa: F401 - pytester forgets what is imported in its runs, and OpenTelemetry must stay

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

SHOP = """
import logging
import unittest

import pytest
from opentelemetry import metrics, trace

tracer = trace.get_tracer("shop")


def place_order():
    with tracer.start_as_current_span("POST /orders"):
        with tracer.start_as_current_span("INSERT orders", attributes={"order.id": 7}):
            logging.getLogger("shop").warning("stored")
"""


def test_a_run_that_uses_no_fixture_imports_next_to_nothing() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import ares_otel.testing.plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "['ares_otel', 'ares_otel.testing', 'ares_otel.testing.plugin']"


def test_it_gets_on_with_strict_options_async_tests_and_unittest(pytester: pytest.Pytester) -> None:
    """One run: warnings are errors, markers and configuration strict, pytest-asyncio strict, a unittest.TestCase."""
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config -p no:cacheprovider\n"
        "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makepyfile(
        test_shop=SHOP
        + """
def test_plain(otel):
    place_order()
    otel.span("INSERT orders").is_child_of("POST /orders")
    otel.log("stored").is_in("INSERT orders")


@pytest.mark.asyncio
async def test_coroutine(otel):
    place_order()
    assert len(otel.spans()) == 2


@pytest.fixture
def span(otel):
    with tracer.start_as_current_span("of a fixture"):
        yield


def test_fixture(span, otel):
    place_order()
    otel.span("POST /orders").is_child_of("of a fixture")
    assert [one.name for one in otel.unfinished] == ["of a fixture"]


class TestShop(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _telemetry(self, otel):
        self.otel = otel

    def test_method(self):
        place_order()
        self.assertEqual(self.otel.span("INSERT orders").attributes["order.id"], 7)


def test_without():
    place_order()
"""
    )
    result = pytester.runpytest_inprocess("-p", "xdist", "-p", "pytest_asyncio")
    result.assert_outcomes(passed=5)


def test_a_failure_begins_with_the_sentence_and_shows_the_trace(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        test_shop=SHOP
        + """
def test_assertion(otel):
    place_order()
    otel.span("INSERT order")


def test_plain_assert(otel):
    place_order()
    assert otel.span("INSERT orders").attributes["order.id"] == 8


def test_other(otel):
    place_order()
    raise ValueError("something else")
"""
    )
    monkeypatch.setenv("COLUMNS", "120")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=3)
    text = result.stdout.str()
    first, second, third = text.split("____ test_")[1:]
    assert "AssertionError: no span named 'INSERT order'; did you mean 'INSERT orders'?" in first
    assert "└─ INSERT orders" in first
    assert "Captured telemetry" not in first  # the message has it
    assert "ares_otel/testing" not in first  # our frames are not the reader's
    for other in (second, third):
        assert "Captured telemetry" in other
        assert "└─ INSERT orders" in other
    assert "assert 7 == 8" in second
    result.stdout.fnmatch_lines(["FAILED *::test_assertion - AssertionError: no span named 'INS*"])


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile("def test_x(otel): pass")
    result = pytester.runpytest_inprocess("-p", "no:ares_otel", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'otel' not found*"])


def test_the_application_s_own_providers_are_recorded_from(pytester: pytest.Pytester) -> None:
    """In a process of its own: the global providers of a process are set once. The SDK is switched off there for all
    the other tests, and the application's own exporter goes on."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")
    pytester.makepyfile(
        shop="""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
""",
        test_shop="""
import os

import pytest
from opentelemetry import _logs, metrics, trace

import shop


@pytest.mark.parametrize("number", [1, 2])
def test_spans(otel, number):
    trace.get_tracer("x").start_span(f"span {number}").end()
    otel.span(f"span {number}")
    assert len(otel.spans()) == 1
    assert len(shop.exporter.get_finished_spans()) == number
    assert trace.get_tracer_provider() is shop.provider
    assert os.environ["OTEL_SDK_DISABLED"] == "true"
    metrics.get_meter("x").create_counter("c").add(1)
    _logs.get_logger("x").emit(body="words")
    assert otel.metric("c").value == 1
    otel.log("words")
""",
    )
    code = (
        "import os, ares_otel, pytest, shop\n"  # made while the SDK is on
        "os.environ['OTEL_SDK_DISABLED'] = 'true'\n"
        "raise SystemExit(pytest.main(['-q', '-p', 'no:cacheprovider', '-p', 'no:xdist']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pytester.path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{pytester.path}"},
        capture_output=True,
        text=True,
    )
    assert "2 passed" in run.stdout, run.stdout + run.stderr


def test_a_test_file_of_a_user_type_checks_strictly(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(
        """
from ares_otel.testing import Ares, CapturedSpan, Otel, capture


def test_all_of_it(otel: Otel, ares: Ares) -> None:
    span: CapturedSpan = otel.span("x", order=1).is_root().has_attributes({"a.b": 1}, c=2).has_event("e", n=1)
    span.is_child_of("y").is_child_of(span).links_to(span).has_error(ValueError, "no").lasted(at_least=0.1)
    name: str = span.trace.root.name
    otel.log(name).is_in(span).has_level("ERROR")
    value: float = otel.metric("m").has_value(1, side="buy").value
    rows: list[dict[str, object]] = ares.query("SELECT $1", value)
    environment: dict[str, str] = ares.env("orders", exporter="ares_postgres")
    assert rows and environment
    wrong: int = otel.span("x").name  # type: ignore[assignment]


async def test_waiting(otel: Otel, ares: Ares) -> None:
    (await otel.wait_for_async("x")).has_status("ok")
    assert (await ares.fetch("SELECT 1"))[0]["?column?"] == 1


def test_without_a_fixture() -> None:
    with capture() as otel:
        otel.no_errors()
""",
        encoding="utf-8",
    )
    command = ["-m", "mypy", "--strict", "--no-error-summary", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    # What the test file says is checked; without OpenTelemetry's own types it takes a third of the time.
    command += ["--no-site-packages", "--follow-imports", "silent", str(tmp_path / "test_shop.py")]
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == ""
