"""Traces that are written to Jaeger's gRPC port: they go the way of the otlp receiver, and its answer is the answer."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import grpc.aio
import httpx
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.api.jaeger.proto import sampling_v2_pb2, storage_v2_pb2
from ares_otel.model.signal import TRACES
from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.jaeger_shop import Clients, jaeger_clients, spans_of
from tests.support.otlp_samples import pairs, span, trace_request
from tests.support.postgres import copied_database

EXPORT = f"/{TRACES.service}/Export"
MIB = 1024 * 1024
DEFAULT = (Path(__file__).parents[3] / "collector" / "ares.yaml").read_text()
MARKED = DEFAULT.replace(
    "\nservice:\n",
    "\nprocessors:\n  attributes/mark:\n    actions: [{key: mark, value: seen, action: insert}]\n\nservice:\n",
    1,
).replace(
    "traces:\n      receivers: [otlp]\n", "traces:\n      receivers: [otlp]\n      processors: [attributes/mark]\n"
)
WITHOUT_TRACES = DEFAULT.replace("    traces:\n      receivers: [otlp]\n      exporters: [postgres]\n", "")
ONLY_HTTP = DEFAULT.replace(
    "\nexporters:\n", "  otlp/other:\n    protocols:\n      http:\n        endpoint: 127.0.0.1:0\n\nexporters:\n", 1
).replace("traces:\n      receivers: [otlp]", "traces:\n      receivers: [otlp/other]")


@asynccontextmanager
async def database_of(ares: AresProcess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(ares.database)
    try:
        yield connection
    finally:
        await connection.close()


def sent_in(*requests: ExportTraceServiceRequest) -> list[Span]:
    return [
        each
        for request in requests
        for part in request.resource_spans
        for scope in part.scope_spans
        for each in scope.spans
    ]


async def stored(ares: AresProcess, request: ExportTraceServiceRequest) -> int:
    """How many of the request's spans are in the table."""
    ids = [uuid.UUID(bytes=each.trace_id) for each in sent_in(request)]
    async with database_of(ares) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM service_spans WHERE trace_id = ANY($1)", ids)
        return count


async def refused(call: Any, code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value.details()
    return caught.value


async def counted(ares: AresProcess, line: str) -> float:
    """The value of a counter with these labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{ares.http}/metrics")).text
    return sum(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))


async def test_an_answer_says_that_the_spans_are_committed(ares: AresProcess, jaeger: Clients) -> None:
    request = trace_request()
    answer = await jaeger.writes.Export(request)
    assert not answer.HasField("partial_success")
    assert await stored(ares, request) == 3


async def test_a_retry_stores_nothing_twice(ares: AresProcess, jaeger: Clients) -> None:
    request = trace_request()
    for _ in range(2):
        await jaeger.writes.Export(request)
    assert await stored(ares, request) == 3


async def test_what_is_written_is_counted_as_the_receivers_own(ares: AresProcess, jaeger: Clients) -> None:
    name = 'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="grpc"}'
    before = await counted(ares, name)
    await jaeger.writes.Export(trace_request(spans=5))

    async def told() -> bool:
        return await counted(ares, name) == before + 5

    assert await eventually(told)


async def test_compressed_requests_are_taken(ares: AresProcess, jaeger: Clients) -> None:
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        request = trace_request()
        await jaeger.writes.Export(request, compression=compression)
        assert await stored(ares, request) == 3


async def test_invalid_spans_are_told_as_partial_success(ares: AresProcess, jaeger: Clients) -> None:
    request = trace_request(spans=[span(), span(trace_id=b"short")])
    answer = await jaeger.writes.Export(request)
    assert answer.partial_success.rejected_spans == 1
    assert "trace_id" in answer.partial_success.error_message


async def test_a_malformed_request_is_refused_with_details(ares: AresProcess, jaeger: Clients) -> None:
    error = await refused(
        jaeger.channel.unary_unary(EXPORT, None, None)(b"\xff\xff\xff"), grpc.StatusCode.INVALID_ARGUMENT
    )
    trailers: Any = error.trailing_metadata()
    status = Status.FromString(dict(trailers)["grpc-status-details-bin"])
    assert status.details[0].Is(BadRequest.DESCRIPTOR)


async def test_a_request_over_the_receivers_limit_is_refused(ares: AresProcess, jaeger: Clients) -> None:
    large = trace_request(spans=[span(attributes=pairs({"filler": "x" * (4 * MIB)}))])
    await refused(jaeger.writes.Export(large), grpc.StatusCode.RESOURCE_EXHAUSTED)
    error = await refused(
        jaeger.writes.Export(large, compression=grpc.Compression.Gzip), grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    assert "inflates to more than" in str(error.details())


async def test_what_is_written_can_be_read_on_the_same_port(ares: AresProcess, jaeger: Clients) -> None:
    request = trace_request(spans=1)
    await jaeger.writes.Export(request)
    [sent] = sent_in(request)
    asked = storage_v2_pb2.GetTracesRequest(query=[storage_v2_pb2.GetTraceParams(trace_id=sent.trace_id)])
    pieces = [piece async for piece in jaeger.reader.GetTraces(asked)]
    assert [found.span_id for found in spans_of(pieces)] == [sent.span_id]


async def test_health_and_sampling_are_answered_on_the_same_port(ares: AresProcess, jaeger: Clients) -> None:
    check = jaeger.channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
    assert await check(b"") == b"\x08\x01"
    name = TRACES.service.encode()
    assert await check(b"\x0a" + bytes([len(name)]) + name) == b"\x08\x01"
    await refused(check(b"\x0a\x04none"), grpc.StatusCode.NOT_FOUND)
    await refused(
        jaeger.channel.unary_unary("/grpc.health.v1.Health/Watch", None, None)(b""), grpc.StatusCode.UNIMPLEMENTED
    )
    asked = sampling_v2_pb2.SamplingStrategyParameters(serviceName="shop")
    answer = await jaeger.sampling.GetSamplingStrategy(asked)
    assert answer.strategyType == sampling_v2_pb2.PROBABILISTIC
    nobody = sampling_v2_pb2.SamplingStrategyParameters()
    await refused(jaeger.sampling.GetSamplingStrategy(nobody), grpc.StatusCode.INVALID_ARGUMENT)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "ares.yaml"


@pytest.fixture(scope="module")
def reloaded(postgres_server: str, tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[AresProcess]:
    config.write_text(DEFAULT)
    options = ("--config", str(config), "--database-url")
    with copied_database(postgres_server) as url, running_ares(tmp_path_factory.mktemp("r"), *options, url) as started:
        yield started


def reload(ares: AresProcess, config: Path, text: str) -> None:
    config.write_text(text)
    os.kill(ares.pid, signal.SIGHUP)


async def outcome(jaeger: Clients, request: ExportTraceServiceRequest) -> tuple[grpc.StatusCode, str]:
    """How a request ends."""
    try:
        await jaeger.writes.Export(request)
    except grpc.aio.AioRpcError as error:
        return error.code(), str(error.details())
    return grpc.StatusCode.OK, ""


async def test_a_reload_under_load_loses_and_doubles_nothing(reloaded: AresProcess, config: Path) -> None:
    ares = reloaded
    done = asyncio.Event()
    sent: list[ExportTraceServiceRequest] = []

    async def sender() -> None:
        async with jaeger_clients(ares.jaeger_grpc) as jaeger:
            while not done.is_set():
                request = trace_request(spans=1)
                while (found := await outcome(jaeger, request))[0] is grpc.StatusCode.UNAVAILABLE:
                    pass  # told to send again
                assert found == (grpc.StatusCode.OK, "")
                sent.append(request)

    async def read_again(text: str) -> None:
        goal, before = len(sent) + 40, ares.stderr.count("was read again")
        await eventually(lambda: asyncio.sleep(0, len(sent) >= goal), every=0.01)
        reload(ares, config, text)
        await eventually(lambda: asyncio.sleep(0, ares.stderr.count("was read again") > before), every=0.01)

    async with asyncio.TaskGroup() as senders:
        for _ in range(4):
            senders.create_task(sender())
        # The receiver itself is another one after each of them.
        await read_again(DEFAULT.replace("      http:", "        max_concurrent_streams: 99\n      http:"))
        await read_again(DEFAULT)
        done.set()
    async with database_of(ares) as connection:
        rows = await connection.fetch("SELECT trace_id FROM service_spans WHERE service_name = 'shop'")
    assert sorted(row["trace_id"] for row in rows) == sorted(uuid.UUID(bytes=each.trace_id) for each in sent_in(*sent))


async def test_writes_go_through_the_pipelines_that_run_now(reloaded: AresProcess, config: Path) -> None:
    """With a processor after a reload; refused where no pipeline takes traces; taken by a receiver without gRPC."""
    ares = reloaded
    async with jaeger_clients(ares.jaeger_grpc) as jaeger, database_of(ares) as connection:

        async def mark() -> str | None:
            request = trace_request(spans=1)
            await jaeger.writes.Export(request)
            [sent] = sent_in(request)
            statement = "SELECT attributes ->> 'mark' FROM service_spans WHERE trace_id = $1"
            found: str | None = await connection.fetchval(statement, uuid.UUID(bytes=sent.trace_id))
            return found

        async def ended(code: grpc.StatusCode) -> str:
            found, details = await outcome(jaeger, trace_request())
            assert found is code, details
            return details or "-"

        assert await mark() is None
        reload(ares, config, MARKED)
        assert await eventually(mark, every=0.02) == "seen"
        reload(ares, config, WITHOUT_TRACES)
        details = await eventually(lambda: ended(grpc.StatusCode.UNIMPLEMENTED), every=0.02)
        assert details.startswith("No pipeline of this Ares takes traces from an otlp receiver")
        reload(ares, config, ONLY_HTTP)
        assert await eventually(lambda: ended(grpc.StatusCode.OK), every=0.02)
