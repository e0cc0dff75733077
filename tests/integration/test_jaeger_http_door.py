"""Jaeger's HTTP APIs of a running Ares: below /jaeger, and on a port of their own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.responses import PlainTextResponse

from ares_otel.cli.jaeger_http import open_jaeger_door
from ares_otel.cli.options import UpOptions
from ares_otel.pipeline.grace import Grace, Stages
from tests.support.ares_process import AresProcess, run_ares, running_ares
from tests.support.eventually import eventually
from tests.support.jaeger_http import envelope_of
from tests.support.jaeger_traces import TRACE_ID, span, trace
from tests.support.postgres import copied_database

NOW = time.time_ns()
SKEWED = trace(
    {
        "web/shop": [span(1, 0, -60_000, 100, base=NOW, kind="client", name="GET /a%20b")],
        "orders": [span(2, 1, -60_050, 20, base=NOW, kind="server", name="serve")],
    }
)


def send(ares: AresProcess, data: TracesData) -> None:
    """Sends the spans over OTLP."""
    request = ExportTraceServiceRequest(resource_spans=data.resource_spans)
    protobuf = {"content-type": "application/x-protobuf"}
    assert httpx.post(f"{ares.otlp_http}/v1/traces", content=request.SerializeToString(), headers=protobuf).is_success


@pytest.fixture(scope="module")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    arguments = ("--jaeger-http-port", "0", "--max-clock-skew-adjustment", "80ms", "--allowed-hosts", "jaeger.example")
    folder = tmp_path_factory.mktemp("ares")
    with copied_database(postgres_server) as url, running_ares(folder, *arguments, "--database-url", url) as made:
        send(made, SKEWED)
        yield made


@pytest.fixture(params=["below /jaeger", "at the root of its port"])
def root(ares: AresProcess, request: pytest.FixtureRequest) -> str:
    """Where the APIs are: what a client is given as Jaeger's address."""
    return f"{ares.http}/jaeger" if request.param == "below /jaeger" else ares.doors["jaeger-http"]


def test_the_same_traces_are_at_both_addresses(ares: AresProcess) -> None:
    here = httpx.get(f"{ares.http}/jaeger/api/traces/{TRACE_ID.hex()}")
    there = httpx.get(f"{ares.doors['jaeger-http']}/api/traces/{TRACE_ID.hex()}")
    assert envelope_of(here, 200) == envelope_of(there, 200)


async def test_services_and_operations_are_listed(root: str) -> None:
    async with httpx.AsyncClient(base_url=root) as client:

        async def names() -> bool:
            answer = envelope_of(await client.get("/api/services"), 200)
            assert set(answer["data"]) >= {"web/shop", "orders"}
            assert answer["total"] == len(answer["data"])
            return True

        await eventually(names)
        for path in (
            "services/web%2Fshop/operations",
            "services/web/shop/operations",
            "services/web%2Fshop/operations/",
        ):
            assert envelope_of(await client.get(f"/api/{path}"), 200)["data"] == ["GET /a%20b"]
        answer = envelope_of(await client.get("/api/operations", params={"service": "orders"}), 200)
        assert answer["data"] == [{"name": "serve", "spanKind": "server"}]
        for kind, found in (("server", 1), ("SERVER", 1), ("client", 0), ("", 1)):
            query = {"service": "orders", "spanKind": kind}
            assert len(envelope_of(await client.get("/api/operations", params=query), 200)["data"]) == found
        assert envelope_of(await client.get("/api/services/nobody/operations"), 200)["data"] == []


def test_the_maximum_of_clock_skew_is_what_the_option_says(root: str) -> None:
    [found] = envelope_of(httpx.get(f"{root}/api/traces/{TRACE_ID.hex()}"), 200)["data"]
    told = [one["warnings"] for one in found["spans"] if one["warnings"]]
    assert told == [["Clock skew of 90ms was found; it is more than the 80ms that are corrected at most."]]


def test_the_page_of_the_http_port_is_found_without_a_slash(ares: AresProcess) -> None:
    answer = httpx.get(f"{ares.http}/jaeger", follow_redirects=True)
    assert answer.url == f"{ares.http}/jaeger/"
    assert "Jaeger's query APIs" in answer.text
    assert httpx.get(answer.url.join("api/services")).status_code == 200


def test_other_apis_of_jaeger_are_beside_it(root: str) -> None:
    assert httpx.get(f"{root}/api/sampling", params={"service": "orders"}).json()["strategyType"] == "PROBABILISTIC"
    assert "Jaeger's query APIs" in httpx.get(f"{root}/").text


def test_unknown_paths_and_wrong_methods_are_answered_in_the_envelope(root: str) -> None:
    envelope_of(httpx.get(f"{root}/api/nope"), 404)
    envelope_of(httpx.post(f"{root}/api/services"), 405)
    envelope_of(httpx.get(f"{root}/api/traces/xyz"), 400)


def test_an_address_that_is_too_long_is_answered_in_the_envelope(ares: AresProcess) -> None:
    envelope_of(httpx.get(f"{ares.doors['jaeger-http']}/api/traces?service={'x' * 9000}"), 414)


def test_a_client_that_leaves_in_the_middle_of_a_large_trace_leaves_nothing_behind(ares: AresProcess) -> None:
    trace_id = bytes(range(16))
    spans = [span(n, 1, n - 60_000, base=NOW, trace_id=trace_id, attributes={"x": "x" * 600}) for n in range(1, 3_001)]
    send(ares, trace({"web/shop": spans}))
    url = f"{ares.doors['jaeger-http']}/api/traces/{trace_id.hex()}?raw=true"
    with httpx.Client() as client:
        for _ in range(12):  # more than there are connections for reads
            with client.stream("GET", url) as answer:
                assert answer.status_code == 200
                next(answer.iter_raw())
        [found] = envelope_of(client.get(url), 200)["data"]
    assert len(found["spans"]) == 3_000


def test_the_door_answers_to_its_own_names_only(ares: AresProcess) -> None:
    url = f"{ares.doors['jaeger-http']}/api/services"
    envelope_of(httpx.get(url, headers={"host": "evil.example"}), 421)
    assert httpx.get(url, headers={"host": "jaeger.example"}).status_code == 200
    envelope_of(httpx.get(url, headers={"origin": "https://evil.example"}), 403)


async def test_without_the_option_there_is_no_such_door(tmp_path: Path) -> None:
    stack = Stages(Grace())
    assert await open_jaeger_door(UpOptions(tmp_path, tmp_path), PlainTextResponse(), Grace(), stack) == {}
    await stack.aclose()


def test_an_occupied_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        others = [
            "--http-port=0",
            "--otlp-grpc-port=0",
            "--otlp-http-port=0",
            "--jaeger-grpc-port=0",
            "--sampling-port=0",
        ]
        ended = run_ares(["up", "--data-dir", str(tmp_path), *others, f"--jaeger-http-port={port}"])
    assert ended.returncode == 1
    [line] = [line for line in ended.stderr.splitlines() if str(port) in line]
    assert "--jaeger-http-port" in line
    assert not list(tmp_path.iterdir()), "said before a database is made"


@pytest.mark.parametrize("value", ["soon", "-1s", "5"])
def test_a_wrong_maximum_of_clock_skew_is_told(tmp_path: Path, value: str) -> None:
    ended = run_ares(["up", "--data-dir", str(tmp_path), f"--max-clock-skew-adjustment={value}"])
    assert ended.returncode == 2
    assert "--max-clock-skew-adjustment" in ended.stderr
