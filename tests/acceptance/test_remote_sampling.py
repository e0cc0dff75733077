"""The sampling protocol of Jaeger's clients, against the real command: raw HTTP, grpcio, and OpenTelemetry's Go one."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import grpc.aio
import httpx
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from ares_otel.api.jaeger.proto import sampling_v2_pb2 as pb
from ares_otel.api.jaeger.proto.sampling_v2_pb2_grpc import SamplingManagerStub
from ares_otel.sdk.remote.control import RemoteControl
from tests.support import jaeger_remote_sampler
from tests.support.ares_process import AresProcess, run_ares, running_ares
from tests.support.eventually import eventually
from tests.support.http2 import GOAWAY, SETTINGS, RawHttp2

METHOD = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"


@pytest.fixture
async def http(ares: AresProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ares.doors["sampling"], trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
async def config(ares: AresProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{ares.http}/api/v1/config", trust_env=False, timeout=30) as client:
        yield client


def address(ares: AresProcess, door: str = "sampling") -> str:
    return ares.doors[door].rpartition("/")[2]


async def put(config: httpx.AsyncClient, service: str, **values: Any) -> None:
    for name, value in values.items():
        answer = await config.put(f"/{service}/sampling.{name}", json={"value": value, "updated_by": "alice"})
        assert answer.status_code in (200, 201), answer.text


async def told(http: httpx.AsyncClient, service: str) -> dict[str, Any]:
    answer = await http.get("/sampling", params={"service": service})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def by_grpc(ares: AresProcess, service: str, door: str = "sampling") -> pb.SamplingStrategyResponse:
    async with grpc.aio.insecure_channel(address(ares, door)) as channel:
        question = pb.SamplingStrategyParameters(serviceName=service)
        stub = SamplingManagerStub(channel)  # type: ignore[no-untyped-call]
        answer: pb.SamplingStrategyResponse = await stub.GetSamplingStrategy(question, timeout=20)
        return answer


async def test_both_paths_of_the_port_and_the_mounted_one_answer_alike(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient
) -> None:
    await put(config, "three-paths", ratio=0.125)
    await eventually(lambda: _is(http, "three-paths", 0.125))
    expected = b'{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.125}}'
    mounted = f"{ares.http}/jaeger/api/sampling"
    for url in ("/sampling", "/api/sampling", mounted):
        answer = await http.get(url, params={"service": "three-paths"})
        assert answer.content == expected
        assert answer.headers["content-type"] == "application/json"
        assert (await http.get(url)).status_code == 400


async def _is(http: httpx.AsyncClient, service: str, ratio: float) -> bool:
    return bool((await told(http, service))["probabilisticSampling"]["samplingRate"] == ratio)


async def test_grpc_on_the_same_port_answers_what_http_does(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient
) -> None:
    rules = [{"operation": "GET /health", "ratio": 0}]
    await put(config, "both", ratio=0.25, rules=rules, lower_bound_traces_per_second=0.5, max_traces_per_second=7)

    async def arrived() -> bool:
        return "defaultUpperBoundTracesPerSecond" in (await told(http, "both")).get("operationSampling", {})

    await eventually(arrived)
    answer = await by_grpc(ares, "both")
    assert answer.strategyType == pb.PROBABILISTIC == 0
    assert answer.probabilisticSampling.samplingRate == 0.25
    assert answer.operationSampling.defaultSamplingProbability == 0.25
    assert answer.operationSampling.defaultLowerBoundTracesPerSecond == 0.5
    assert answer.operationSampling.defaultUpperBoundTracesPerSecond == 7
    assert await by_grpc(ares, "both", "jaeger-grpc") == answer
    (one,) = answer.operationSampling.perOperationStrategies
    assert (one.operation, one.probabilisticSampling.samplingRate) == ("GET /health", 0)


async def test_a_limit_is_rate_limiting_in_both(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient
) -> None:
    await put(config, "limited", max_traces_per_second=12)

    async def arrived() -> bool:
        return bool((await told(http, "limited"))["strategyType"] == "RATE_LIMITING")

    await eventually(arrived)
    assert await told(http, "limited") == {
        "strategyType": "RATE_LIMITING",
        "rateLimitingSampling": {"maxTracesPerSecond": 12},
    }
    answer = await by_grpc(ares, "limited")
    assert answer.strategyType == pb.RATE_LIMITING == 1
    assert answer.rateLimitingSampling.maxTracesPerSecond == 12


async def test_the_bytes_of_grpc_have_the_numbers_of_the_contract(ares: AresProcess, config: httpx.AsyncClient) -> None:
    await put(config, "numbers", max_traces_per_second=3)
    async with grpc.aio.insecure_channel(address(ares)) as channel:
        call = channel.unary_unary(METHOD, None, None)

        async def arrived() -> bool:
            return bytes(await call(b"\x0a\x07numbers", timeout=20)) == b"\x08\x01\x1a\x02\x08\x03"

        await eventually(arrived)


async def test_a_change_is_told_at_once_and_a_rollback_too(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient
) -> None:
    await put(config, "hot", ratio=0.5)
    await eventually(lambda: _is(http, "hot", 0.5))
    began = time.monotonic()
    await put(config, "hot", ratio=0.75)
    await eventually(lambda: _is(http, "hot", 0.75), every=0.005)
    print(f"in force after {1000 * (time.monotonic() - began):.0f} ms")
    answer = await config.post("/hot/sampling.ratio/rollback", json={"version": 1, "updated_by": "alice"})
    assert answer.status_code == 200
    await eventually(lambda: _is(http, "hot", 0.5), every=0.005)
    answer = await config.request("DELETE", "/hot/sampling.ratio", params={"updated_by": "alice"})
    assert answer.status_code == 200
    await eventually(lambda: _is(http, "hot", 1.0), every=0.005)


async def test_rest_says_what_is_told_and_why(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient, database: asyncpg.Connection
) -> None:
    async def shown(service: str) -> dict[str, Any]:
        answer = await http.get(f"{ares.http}/api/v1/sampling/{service}")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    nobody = await shown("nobody")
    assert (nobody["source"], nobody["since"], nobody["operations"]) == ("default", None, [])
    await put(config, "rest%2Fservice", target_traces_per_second=2)
    await database.execute(
        "INSERT INTO sampling_operations (service_name, operation_name, probability, changed_at, least_in_use, "
        "most_in_use, last_seen) VALUES ('rest/service', 'GET /', 0.03, now(), 0.03, 0.03, now())"
    )
    await database.execute(
        "INSERT INTO sampling_changes (service_name, operation_name, new_probability, sampled_per_second, "
        "offered_per_second, target_per_second, changed_at) VALUES ('rest/service', 'GET /', 0.03, 2, 66, 2, now())"
    )

    async def arrived() -> bool:
        return bool((await shown("rest/service"))["source"] == "adaptive")

    await eventually(arrived)
    document = await shown("rest/service")
    assert document["settings"] == {"sampling.target_traces_per_second": 2}
    assert document["target_traces_per_second"] == 2
    assert document["operations"][0]["probability"] == 0.03
    assert document["changes"][0]["offered_per_second"] == 66
    assert document["strategy"]["operationSampling"]["perOperationStrategies"][0]["operation"] == "GET /"
    wrong = await http.get(f"{ares.http}/api/v1/sampling/orders", params={"x": "1"})
    assert wrong.status_code == 422
    assert wrong.headers["content-type"] == "application/problem+json"


async def test_the_settings_of_ares_itself(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient
) -> None:
    await put(config, "ares-api", default_ratio=0.001)
    await eventually(lambda: _is(http, "nobody", 0.001))
    for name, value in (("default_ratio", 2), ("interval_seconds", 0), ("client_poll_seconds", "x")):
        answer = await config.put(f"/ares-api/sampling.{name}", json={"value": value, "updated_by": "alice"})
        assert answer.status_code == 422
    await config.request("DELETE", "/ares-api/sampling.default_ratio", params={"updated_by": "alice"})
    await eventually(lambda: _is(http, "nobody", 1.0))


@pytest.mark.parametrize(
    "name", ["\0", "é", "😀", "'; DROP TABLE service_config; --", "a b", "\u202e", "\n", "x" * 20_000, "a&b=c", "%"]
)
async def test_hostile_names_get_the_default(ares: AresProcess, http: httpx.AsyncClient, name: str) -> None:
    assert (await told(http, name))["probabilisticSampling"] == {"samplingRate": 1.0}
    assert (await by_grpc(ares, name)).probabilisticSampling.samplingRate == 1.0


async def test_a_name_of_a_megabyte_is_refused_by_the_transport(ares: AresProcess, http: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection(*address(ares).rpartition(":")[::2])
    writer.write(b"GET /sampling?service=" + b"x" * 1_000_000)
    assert (await reader.read(100)).startswith(b"HTTP/1.1 431")
    writer.close()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await by_grpc(ares, "x" * 1_000_000)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_grpc_without_a_name_is_an_invalid_argument(ares: AresProcess) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await by_grpc(ares, "")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "serviceName" in (refused.value.details() or "")


@pytest.mark.parametrize("request_", [b"\xff", b"\x0a\x02\xff\xfe"])
async def test_grpc_that_cannot_be_read_is_an_invalid_argument(ares: AresProcess, request_: bytes) -> None:
    async with grpc.aio.insecure_channel(address(ares)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/jaeger.api_v2.SamplingManager/GetSamplingStrategy", None, None)(request_)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "The request is not a jaeger.api_v2.SamplingStrategyParameters."


async def test_what_a_client_says_byte_by_byte_decides_the_protocol(ares: AresProcess) -> None:
    host, _, port = address(ares).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for byte in b"GET /sampling?service=slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    for beginning in (b"PRX / HTTP/1.1\r\n\r\n", b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"P\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(beginning)
        assert (await reader.read(100)).startswith(b"HTTP/1.1 4")
        writer.close()
    async with RawHttp2(address(ares)) as connection:
        frame = await connection.frame()
        assert frame is not None
        assert frame.kind == SETTINGS


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(ares: AresProcess, http: httpx.AsyncClient) -> None:
    for _ in range(20):
        async with RawHttp2(address(ares)) as connection:
            connection.call(METHOD)
    for _ in range(20):
        _, writer = await asyncio.open_connection(*address(ares).rpartition(":")[::2])
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM")
        writer.close()
    assert (await by_grpc(ares, "x")).probabilisticSampling.samplingRate == 1.0
    assert await told(http, "x")


@pytest.mark.timeout(jaeger_remote_sampler.BUILD_SECONDS + 120)
async def test_the_sampler_of_opentelemetry_for_go_obeys(
    ares: AresProcess, http: httpx.AsyncClient, config: httpx.AsyncClient
) -> None:
    try:
        binary = await asyncio.to_thread(jaeger_remote_sampler.install)
    except jaeger_remote_sampler.UnavailableError as error:
        pytest.skip(str(error))

    async def ask(service: str, *operations: str) -> dict[str, Any]:
        return await asyncio.to_thread(jaeger_remote_sampler.ask, binary, address(ares), service, *operations)

    await put(config, "go-ratio", ratio=0.25)
    await put(
        config, "go-rules", rules=[{"operation": "GET /health", "ratio": 0}, {"operation": "POST /", "ratio": 0.5}]
    )
    await put(config, "go-rules", ratio=0.1)
    await put(config, "go-limit", max_traces_per_second=1)

    async def last_is_told() -> bool:
        return bool((await told(http, "go-limit"))["strategyType"] == "RATE_LIMITING")

    await eventually(last_is_told)
    ratio = await ask("go-ratio", "any")
    assert ratio["kept"]["any"] == pytest.approx(0.25, abs=0.02)
    assert ratio["probabilistic"] == {"samplingRate": 0.25}
    rules = await ask("go-rules", "GET /health", "POST /", "new")
    assert rules["kept"]["GET /health"] == 0
    assert rules["kept"]["POST /"] == pytest.approx(0.5, abs=0.02)
    assert rules["kept"]["new"] == pytest.approx(0.1, abs=0.02)
    limit = await ask("go-limit", "any")
    assert limit["type"] == "RATE_LIMITING"
    assert limit["rate"] == {"maxTracesPerSecond": 1}
    assert limit["kept"]["any"] < 0.01


@pytest.mark.parametrize("way", ["rest", "sql"])
async def test_the_sampler_of_ares_follows_what_was_calculated(
    ares: AresProcess, config: httpx.AsyncClient, database: asyncpg.Connection, way: str
) -> None:
    service = f"own-sdk-{way}"
    await database.execute(
        "INSERT INTO sampling_operations (service_name, operation_name, probability, changed_at, least_in_use, "
        "most_in_use, last_seen) VALUES ($1, 'GET /', 0.5, now(), 0.5, 0.5, now())",
        service,
    )
    place = {"api_url": ares.http} if way == "rest" else {"database_url": ares.database}
    control = RemoteControl(service, **place)
    sampler = control.sampler(ALWAYS_OFF)
    control.start()
    try:
        await put(config, service, target_traces_per_second=1)

        async def told() -> bool:
            attributes = sampler.should_sample(None, 1, "GET /").attributes
            return attributes is not None and attributes.get("jaeger.sampler.param") == 0.5

        await eventually(told)
        answer = await config.request("DELETE", f"/{service}/sampling.target_traces_per_second?updated_by=alice")
        assert answer.status_code == 200
        await eventually(lambda: asyncio.sleep(0, sampler.get_description() == ALWAYS_OFF.get_description()))
    finally:
        assert control.stop(10)


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(database_url: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        others = ["--http-port=0", "--otlp-grpc-port=0", "--otlp-http-port=0", "--jaeger-grpc-port=0"]
        ports = [*others, f"--sampling-port={port}"]
        done = run_ares(["up", "--data-dir", str(tmp_path), "--database-url", database_url, *ports])
    assert done.returncode == 1
    assert port in done.stderr
    assert "--sampling-port" in done.stderr


async def test_when_ares_stops_grpc_clients_are_told(postgres_server: str, database_url: str, tmp_path: Path) -> None:
    with running_ares(tmp_path, "--database-url", database_url) as ares:
        async with RawHttp2(address(ares)) as connection:
            assert (await connection.frame()) is not None
            await asyncio.to_thread(ares.stop)
            kinds = []
            while (frame := await connection.frame()) is not None:
                kinds.append(frame.kind)
            assert GOAWAY in kinds
