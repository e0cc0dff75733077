"""However a process ends and however often it forks: what was recorded arrives, once, and nothing waits for ever."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

from tests.support.forked_application import run_application
from tests.support.otlp_sink import Received, Sink
from tests.support.ports import free_port

RECORD = """
import logging, multiprocessing, os, signal, sys, threading, time
import ares_otel
from opentelemetry import metrics, trace

before()
telemetry = ares_otel.configure(os.environ["NAME"], remote_config=False, registry=False)
tracer = trace.get_tracer("app")
counter = metrics.get_meter("app").create_counter("made")

def record(name):
    with tracer.start_as_current_span(name):
        logging.warning("%s is logged", name)
    counter.add(1)

"""


def script(body: str, before: str = "pass") -> str:
    """An application that records, with its last lines, and one line before `configure()`."""
    return f"def before(): {before}\n{RECORD}{dedent(body)}"


@pytest.fixture
def name() -> str:
    return f"app-{uuid.uuid4().hex[:12]}"


def named(received: list[Received]) -> list[str]:
    return sorted(one.item.name for one in received)


def texts(received: list[Received]) -> list[str]:
    return sorted(one.item.body.string_value for one in received)


def made(received: list[Received]) -> dict[str, int]:
    """Value of the counter by instance, as last reported."""
    return {
        one.resource["service.instance.id"]: one.item.sum.data_points[0].as_int
        for one in received
        if one.item.name == "made"
    }


ENDS = {
    "the end of the script": ("record('work')", 0),
    "an exit handler that flushes": (
        "import atexit; atexit.register(lambda: (record('work'), telemetry.force_flush()))",
        0,
    ),
    "sys.exit": ("record('work'); sys.exit(3)", 3),
    "an exception": ("record('work'); raise LookupError('gone')", 1),
    "SIGTERM that nobody handles": ("record('work'); os.kill(os.getpid(), signal.SIGTERM); record('too late')", -15),
    "SIGTERM of the first process of a container, whom that does not kill": (
        "record('work'); kill, os.kill = os.kill, lambda *_: None; kill(os.getpid(), signal.SIGTERM); record('late')",
        128 + signal.SIGTERM,
    ),
    "SIGTERM that the application handles since": (
        """
        signal.signal(signal.SIGTERM, lambda number, frame: (record('work'), sys.exit(7)))
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        7,
    ),
    "SIGTERM after a server put the default back": (
        """
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)
        assert before is signal.SIG_DFL, before
        os.kill(os.getpid(), signal.SIGTERM)
        record('work')
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        """,
        -15,
    ),
    "SIGTERM after the default was put back by names, and as a number": (
        """
        signal.signal(signalnum=signal.SIGTERM, handler=signal.SIG_IGN)
        signal.signal(signal.SIGTERM, handler=0)
        record('work')
        signal.raise_signal(signal.SIGTERM)
        """,
        -15,
    ),
}


@pytest.mark.parametrize(("body", "status"), ENDS.values(), ids=list(ENDS))
def test_what_was_recorded_arrives_when_the_process_ends_by(body: str, status: int, name: str, sink: Sink) -> None:
    run = run_application(script(body), sink.environment(NAME=name), finalize=True)

    assert run.returncode == status, run.stderr
    assert_all_is_there("work", name, sink)
    assert "work is logged" in run.stderr, "the console still says it"


def test_a_handler_of_the_application_for_sigterm_is_kept_and_called(name: str, sink: Sink) -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: (record('work'), sys.exit(7)))"

    run = run_application(script("os.kill(os.getpid(), signal.SIGTERM)", before), sink.environment(NAME=name))

    assert run.returncode == 7, run.stderr
    assert_all_is_there("work", name, sink)


def test_sigterm_that_is_ignored_stays_ignored(name: str, sink: Sink) -> None:
    before = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"

    run = run_application(
        script("os.kill(os.getpid(), signal.SIGTERM); record('work')", before), sink.environment(NAME=name)
    )

    assert run.returncode == 0, run.stderr
    assert_all_is_there("work", name, sink)


def test_shutdown_leaves_signals_and_logging_as_they_were(name: str, sink: Sink) -> None:
    body = """
        record('work')
        assert telemetry.force_flush() and telemetry.shutdown() and telemetry.shutdown()
        assert signal.signal is original and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert logging.basicConfig is basic and not logging.getLogger().handlers
        assert [thread.name for thread in threading.enumerate()] == ["MainThread"], threading.enumerate()
        print("as they were")
    """
    run = run_application(
        script(body, "global original, basic; original, basic = signal.signal, logging.basicConfig"),
        sink.environment(NAME=name),
    )

    assert run.stdout == "as they were\n", run.stderr
    assert_all_is_there("work", name, sink)


@pytest.fixture
def deaf() -> Iterator[str]:
    """URL of a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGTERM)"], ids=["exit", "SIGTERM"])
def test_a_receiver_that_never_answers_does_not_hold_the_process(protocol: str, end: str, name: str, deaf: str) -> None:
    """Its export alone would take the hour of OTEL_EXPORTER_OTLP_TIMEOUT; the application would be killed before."""
    environment = {
        "NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": deaf,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3600",
        "ARES_OTEL_EXIT_TIMEOUT": "0.3",
    }

    run = run_application(script(f"record('work'); {end}"), environment)

    assert run.returncode in (0, -signal.SIGTERM), run.stderr


def test_a_flush_honours_its_time_limit_and_says_that_it_failed(name: str, deaf: str) -> None:
    """https://github.com/open-telemetry/opentelemetry-python/issues/4555"""
    environment = {
        "NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": deaf,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3600",
        "ARES_OTEL_EXIT_TIMEOUT": "0",
    }
    body = """
        record('work')
        print([telemetry.force_flush(0.1) for _ in range(3)])
        print(sum(thread.name == "ares-otel-flush" for thread in threading.enumerate()), telemetry.shutdown(0.1))
    """
    assert run_application(script(body), environment).stdout == "[False, False, False]\n3 False\n"


PROTOCOLS = {"over gRPC": "grpc", "over HTTP": "http/protobuf"}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_a_fork_sends_its_own_and_nothing_of_its_parents(protocol: str, name: str, sink: Sink) -> None:
    body = """
        record("sent before"); counter.add(10)
        telemetry.force_flush()
        record("waiting")
        exporting = telemetry._providers.readers[0]._export_lock
        # As by an export that hangs; over gRPC it would not help to go on.
        stuck = "http" in os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] and exporting.acquire()
        if (pid := os.fork()) == 0:
            record("child")
            sys.exit()  # as a worker of gunicorn ends
        os.waitpid(pid, 0)
        if stuck:
            exporting.release()
        record("parent")
        print(os.getpid(), pid)
    """
    endpoint = sink.grpc if protocol == "grpc" else sink.http
    environment = {"NAME": name, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}

    run = run_application(script(body), environment)

    parent, child = map(int, run.stdout.split())
    spans = sink.spans(name)
    assert named(spans) == ["child", "parent", "sent before", "waiting"]
    assert texts(sink.logs(name)) == [f"{one} is logged" for one in named(spans)]
    by_process = {one.item.name: one.resource["process.pid"] for one in spans}
    assert by_process == {"child": child, "parent": parent, "sent before": parent, "waiting": parent}
    instances = {one.resource["process.pid"]: one.resource["service.instance.id"] for one in spans}
    assert len(set(instances.values())) == 2
    assert made(sink.metrics(name)) == {instances[parent]: 13, instances[child]: 1}
    for one in (*sink.logs(name), *sink.metrics(name)):
        assert instances[one.resource["process.pid"]] == one.resource["service.instance.id"]


def test_a_fork_in_the_middle_of_exports_has_connections_that_work(name: str, sink: Sink) -> None:
    """A child that is forked while another thread is in a call of gRPC hangs in its own, one time in ten."""
    body = """
        for number in range(20):
            record("parent")
            flush = threading.Thread(target=telemetry.force_flush)
            flush.start()
            if (pid := os.fork()) == 0:
                record("child")
                os._exit(not telemetry.shutdown(30))
            assert os.waitpid(pid, 0)[1] == 0
            flush.join()
    """
    run = run_application(script(body), sink.environment(NAME=name))

    assert run.returncode == 0, run.stderr
    assert named(sink.spans(name)) == ["child"] * 20 + ["parent"] * 20


def test_a_child_of_multiprocessing_sends_when_it_ends_although_it_runs_no_exit_handlers(name: str, sink: Sink) -> None:
    body = """
        record("parent")
        forking = multiprocessing.get_context("fork")
        process = forking.Process(target=record, args=("child",))
        process.start(); process.join()
        with forking.Pool(1) as pool:
            pool.map(record, ["pooled"])
            pool.close(); pool.join()
    """
    run = run_application(script(body), sink.environment(NAME=name))

    assert run.returncode == 0, run.stderr
    spans = sink.spans(name)
    assert named(spans) == ["child", "parent", "pooled"]
    assert len({one.resource["service.instance.id"] for one in spans}) == 3


def test_workers_of_uvicorn_are_instances_and_their_last_requests_arrive(name: str, sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        dedent(
            """
            import os
            import ares_otel
            from fastapi import FastAPI

            app = FastAPI()

            @app.get("/pid")
            def pid() -> int:
                return os.getpid()

            ares_otel.configure(os.environ["NAME"], app=app, remote_config=False, registry=False)
            """
        )
    )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--workers", "2", "--port", str(port)]
    around = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "ARES_OTEL_"))}
    environment = {**around, **sink.environment(NAME=name), "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{tmp_path}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        pids: set[int] = set()
        requests = 0
        deadline = time.monotonic() + 60
        while len(pids) < 2 and time.monotonic() < deadline and server.poll() is None:
            with suppress(httpx.TransportError):
                pids.add(httpx.get(f"http://127.0.0.1:{port}/pid").json())
                requests += 1
        server.terminate()
        output = server.communicate()[0].decode()

    assert len(pids) == 2, output
    spans = [one for one in sink.spans(name) if one.item.name == "GET /pid"]
    assert len(spans) == requests
    assert {one.resource["process.pid"] for one in spans} == pids
    assert len({one.resource["service.instance.id"] for one in spans}) == 2


def assert_all_is_there(work: str, name: str, sink: Sink) -> None:
    """One span, one log record, and one on the counter."""
    assert named(sink.spans(name)) == [work]
    assert texts(sink.logs(name)) == [f"{work} is logged"]
    assert list(made(sink.metrics(name)).values()) == [1]
