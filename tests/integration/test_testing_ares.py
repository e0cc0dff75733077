"""The fixture `ares`: a real Ares for each test, and nothing left when they are over."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from opentelemetry import metrics, trace

from ares_otel.testing import Ares, Otel
from ares_otel.testing.ares_session import AresSession
from ares_otel.testing.house.client import HouseClient
from ares_otel.testing.house.folder import folder_of
from tests.support.eventually import eventually

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
tracer = trace.get_tracer("shop")
orders = metrics.get_meter("shop").create_counter("orders")
NOBODY = "http://127.0.0.1:9"
"""A proxy that is not there."""
EXPORTING = """
import logging
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
with provider.get_tracer("child").start_as_current_span("hello", attributes={"a": 1}):
    pass
provider.shutdown()
"""


def test_a_database_is_migrated_and_empty_and_needs_no_server(ares: Ares) -> None:
    assert ares.query("SELECT count(*) AS n FROM service_spans") == [{"n": 0}]
    assert ares.query("SELECT $1::jsonb AS value, $2::int AS number", {"a": [1]}, 5) == [
        {"value": {"a": [1]}, "number": 5}
    ]
    ares.query(
        "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value) VALUES ('x','m','gauge',1)"
    )
    assert [row["metric_name"] for row in ares.metrics("x")] == ["m"]
    assert not ares.started
    with pytest.raises(asyncpg.UndefinedTableError):
        ares.query("SELECT * FROM nothing_like_this")


async def test_the_next_test_sees_nothing_of_it_and_may_await(ares: Ares) -> None:
    assert ares.metrics() == []
    assert await ares.fetch("SELECT 1 AS one") == [{"one": 1}]
    connection = await asyncpg.connect(ares.database_url)
    assert await connection.fetchval("SELECT 2") == 2
    await connection.close()


def test_a_child_process_sends_here_whatever_the_environment_says(ares: Ares, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", NOBODY)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    env = {**os.environ, **ares.env("orders")}
    monkeypatch.delenv("http_proxy")  # for the questions below
    subprocess.run([sys.executable, "-c", EXPORTING], env=env, check=True)

    [span] = ares.wait_for_spans(1, service="orders", name="hello")
    assert (span["attributes"], span["scope_name"]) == ({"a": 1}, "child")
    assert ares.spans() == [span]  # Ares keeps its own to itself
    assert httpx.get(f"{ares.http}/api/v1/observability/trace/{span['trace_id']}").json()["services"] == ["orders"]
    assert httpx.get(f"{ares.http}/readyz").status_code == 200
    assert "fsync=off" in ares.log


def test_what_this_process_records_comes_here_and_stays_assertable(
    ares: Ares, otel: Otel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", NOBODY)
    ares.connect("orders")
    with tracer.start_as_current_span("POST /orders"):
        logging.getLogger("shop").error("no stock", extra={"item": 5})
        orders.add(2, {"side": "buy"})

    [span] = ares.wait_for_spans()
    [record] = ares.wait_for_logs(level="ERROR")
    [*_, point] = ares.wait_for_metrics(name="orders")
    assert (span["service_name"], record["message"], point["metric_value"]) == ("orders", "no stock", 2)
    assert record["span_id"] == span["span_id"] == otel.span("POST /orders").span_id
    assert [one.message for one in otel.logs()] == ["no stock"]
    otel.metric("orders").has_value(2, side="buy")


def test_what_does_not_come_is_said_with_what_there_is(ares: Ares) -> None:
    ares.query(
        "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value) VALUES ('x','m','gauge',1)"
    )
    with pytest.raises(AssertionError, match=r"1 points after 0 s, not 2(?s:.*)'metric_name': 'm'"):
        ares.wait_for_metrics(2, timeout=0)
    with pytest.raises(AssertionError, match="0 rows after 0 s"):
        ares.wait_until("SELECT 1 WHERE false", timeout=0)


def test_a_house_that_does_not_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no PostgreSQL today')"]
    monkeypatch.setattr("ares_otel.testing.house.client.command", lambda *_: failing)
    run = uuid.uuid4().hex

    with pytest.raises(RuntimeError, match="does not start: no PostgreSQL today"):
        HouseClient(run)
    assert not folder_of(run).exists()


def test_who_comes_after_the_test_gets_nothing_of_the_next_one(request: pytest.FixtureRequest) -> None:
    session: AresSession = request.getfixturevalue("_ares_session")
    with session.test() as earlier:
        assert earlier.query("SELECT 1 AS one") == [{"one": 1}]
    with session.test() as later:
        assert later.query("SELECT 1 AS one") == [{"one": 1}]
        for late in (lambda: earlier.query("SELECT 1"), lambda: earlier.http, lambda: earlier.database_url):
            with pytest.raises(RuntimeError, match="went with its test"):
                late()


def test_variables_are_those_of_the_way_that_is_asked_for(ares: Ares) -> None:
    direct = ares.env("orders", exporter="ares_postgres")
    assert direct["OTEL_TRACES_EXPORTER"] == direct["OTEL_LOGS_EXPORTER"] == direct["OTEL_METRICS_EXPORTER"]
    assert direct["ARES_OTEL_DATABASE_URL"] == ares.database_url
    assert not ares.started
    assert not any("ENDPOINT" in name for name in direct)


async def test_a_server_goes_with_the_process_of_tests_that_had_it(request: pytest.FixtureRequest) -> None:
    session: AresSession = request.getfixturevalue("_ares_session")
    other = HouseClient(session.run)
    door = other.ask("server")["doors"]["http"]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{door}/healthz")).status_code == 200
        other._channel.shutdown(socket.SHUT_RDWR)  # what the system does for a process that is killed
        other.close()

        async def refused() -> bool:
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"{door}/healthz")
                return False
            return True

        await eventually(refused, every=0.02)


def test_workers_share_a_postgres_and_leave_nothing_even_when_one_is_killed(pytester: pytest.Pytester) -> None:
    """Two workers of xdist, one of which is killed with a database in its hands. The other one sees that it is taken
    away; when it has ended too, nothing is left."""
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import json
        import os
        import pathlib
        import signal

        import pytest

        import ares_otel

        SAID = pathlib.Path("said.json")
        WHERE = "SELECT current_database() AS name, inet_server_addr() IS NULL AS by_socket"


        @pytest.mark.xdist_group("other")
        @pytest.mark.parametrize("time", ["first", "second"])
        def test_an_application_that_calls_configure(otel, time):
            telemetry = ares_otel.configure("orders", remote_config=False, registry=False)
            with telemetry.tracer_provider.get_tracer("x").start_as_current_span(time):
                ares_otel.get_logger("shop").error(None, "words", {"n": 1})
            assert [span.name for span in otel.spans()] == [time]
            assert len(otel.logs(level="ERROR")) == 1
            assert telemetry.shutdown()


        @pytest.mark.xdist_group("killed")
        def test_killed(ares):
            [row] = ares.query(WHERE)
            part = SAID.with_suffix(".part")
            part.write_text(json.dumps({**row, "url": ares.database_url}))
            part.rename(SAID)
            os.kill(os.getpid(), signal.SIGKILL)


        @pytest.mark.xdist_group("other")
        def test_other(ares):
            [row] = ares.query(WHERE)
            while not SAID.exists():
                ares.query("SELECT pg_sleep(0.02)")
            killed = json.loads(SAID.read_text())
            assert killed["name"] != row["name"]
            assert killed["url"].replace(killed["name"], row["name"]) == ares.database_url
            gone = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
            ares.wait_until(gone, killed["name"], timeout=60)
        """
    )
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n2",
            "--dist=loadgroup",
            "--max-worker-restart=0",
            "-p",
            "no:cacheprovider",
        ],
        cwd=pytester.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert "1 failed, 3 passed" in run.stdout, run.stdout + run.stderr
    assert "crashed" in run.stdout
    said = json.loads((pytester.path / "said.json").read_text())
    place = re.search(r"host=([^&]*/ares-testing-[0-9a-f]+)", said["url"])
    assert place is not None
    assert not Path(place[1]).exists()
    assert _processes_of(place[1]) == []


def _processes_of(folder: str) -> list[list[str]]:
    """Command lines of the house, of PostgreSQL, of the fork server's children: they all name the folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if folder in " ".join(process.cmdline()):
                found.append(process.cmdline())
    return found
