"""`opentelemetry-instrument` with Ares installed: OpenTelemetry's own distro, until one of Ares's variables is set."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.forked_application import run_application
from tests.support.otlp_sink import Sink

INITIALIZE = """
import logging, os, sys
from opentelemetry.instrumentation.auto_instrumentation import initialize
initialize(swallow_exceptions=False)  # what opentelemetry-instrument does in the process before the program
from opentelemetry import trace

def work():
    with trace.get_tracer("app").start_as_current_span("work"):
        logging.getLogger("app").warning("said")

"""

ASKING = {
    "the distro by its name": {"OTEL_PYTHON_DISTRO": "ares"},
    "the configurator by its name": {"OTEL_PYTHON_CONFIGURATOR": "ares"},
    "where Ares is": {"ARES_OTEL_API_URL": "http://127.0.0.1:9", "ARES_OTEL_EXIT_TIMEOUT": "2"},
}


@pytest.fixture
def name() -> str:
    return f"app-{uuid.uuid4().hex[:12]}"


def run(body: str, environment: Mapping[str, str]) -> str:
    """Runs it; what it printed on standard error. To load every instrumentation takes its time."""
    others = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "asgi,asyncpg,django,fastapi,flask,httpx,redis,wsgi"}
    done = run_application(INITIALIZE + dedent(body), {**others, **environment})
    assert done.returncode == 0, done.stderr
    return done.stderr


def assert_work_arrived_once(name: str, sink: Sink, *, by_ares: bool) -> None:
    (span,) = sink.spans(name)
    (record,) = [one for one in sink.logs(name) if not one.scope.startswith("ares_otel.")]
    assert (span.item.name, record.item.body.string_value) == ("work", "said")
    assert record.item.trace_id == span.item.trace_id
    assert span.resource["telemetry.auto.version"]
    assert (span.resource.get("telemetry.distro.name") == "ares-otel") is by_ares
    assert ("process.pid" in span.resource) is by_ares
    assert ("code.line.number" in record.attributes) is by_ares


def test_where_ares_is_merely_installed_it_is_opentelemetrys_own(name: str, sink: Sink) -> None:
    run("work()", sink.environment(OTEL_SERVICE_NAME=name))

    assert_work_arrived_once(name, sink, by_ares=False)


@pytest.mark.parametrize("asking", ASKING.values(), ids=list(ASKING))
def test_a_variable_of_ares_asks_for_what_configure_does(asking: dict[str, str], name: str, sink: Sink) -> None:
    run("work()", sink.environment(OTEL_SERVICE_NAME=name, **asking))

    assert_work_arrived_once(name, sink, by_ares=True)


@pytest.mark.parametrize("asking", [{}, {"OTEL_PYTHON_DISTRO": "ares"}], ids=["merely installed", "asked for"])
def test_an_application_that_calls_configure_as_well_sends_once(asking: dict[str, str], name: str, sink: Sink) -> None:
    body = f"""
        logging.basicConfig(level="INFO")
        import ares_otel
        ares_otel.configure("{name}", remote_config=False, registry=False)
        work()
    """
    printed = run(body, sink.environment(OTEL_SERVICE_NAME=name, **asking))

    assert_work_arrived_once(name, sink, by_ares=bool(asking))
    assert printed.count("nothing is exported twice") == (0 if asking else 1)
    assert "without effect: remote_config, registry" in printed if asking else "without effect" not in printed


def test_a_name_that_comes_too_late_is_said_with_the_variable_that_would_not(name: str, sink: Sink) -> None:
    body = "import ares_otel; ares_otel.configure('too-late', remote_config=False, registry=False); work()"

    by_itself = run(body, sink.environment(OTEL_SERVICE_NAME=f"{name}-a", OTEL_PYTHON_DISTRO="ares"))
    run(body, sink.environment(OTEL_SERVICE_NAME=f"{name}-b"))

    (exported, _) = [one.item.body.string_value for one in sink.logs(f"{name}-b")]
    for said in (by_itself, exported):  # OpenTelemetry's own set-up leaves the console silent
        assert "service_name" in said
        assert "OTEL_SERVICE_NAME" in said


def test_instrumentations_are_switched_on_with_what_configure_gives_them(name: str, sink: Sink) -> None:
    body = """
        import asyncio, fastapi, httpx
        app = fastapi.FastAPI()

        @app.get("/")
        def root() -> None:
            work()

        async def get():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
                await client.get("/")
        asyncio.run(get())
    """
    run(
        body,
        sink.environment(OTEL_SERVICE_NAME=name, OTEL_PYTHON_DISTRO="ares", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=""),
    )

    assert sorted(one.item.name for one in sink.spans(name)) == ["GET /", "work"]


def test_the_command_runs_a_program_that_knows_nothing_of_it(name: str, sink: Sink, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        dedent(
            """
            import logging, os, signal
            from opentelemetry import trace

            with trace.get_tracer("app").start_as_current_span("work"):
                logging.getLogger("app").warning("said")
            os.kill(os.getpid(), signal.SIGTERM)
            """
        )
    )
    command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, str(program)]
    around = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "ARES_OTEL_"))}
    asking = sink.environment(OTEL_SERVICE_NAME=name, OTEL_PYTHON_DISTRO="ares", PYTHONPATH=str(Path.cwd()))

    done = subprocess.run(command, env={**around, **asking}, capture_output=True, text=True, timeout=60)

    assert done.returncode == -15, done.stderr
    assert_work_arrived_once(name, sink, by_ares=True)
