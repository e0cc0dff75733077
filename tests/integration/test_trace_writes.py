"""Requests that came to another port than the receiver's: what becomes of them when one of the two stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from ares_otel.cli.components import COMPONENTS
from ares_otel.cli.ingest import Ingest, LocalIngest
from ares_otel.cli.trace_writes import METHOD, NO_DOOR, TraceWrites, largest_message
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import TRACES
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.grpc_door import Calls, GrpcDoor
from ares_otel.pipeline.load import load_bytes
from tests.support.grpc_doors import open_grpc_door
from tests.support.otlp_receiver import Running, running, until
from tests.support.otlp_samples import trace_request

DEFAULT = (Path(__file__).parents[2] / "collector" / "ares.yaml").read_text()
MIB = 1024 * 1024
OK = b""
"""An answer in which nothing is set."""


class Local(LocalIngest):
    """Pipelines of this process, of which only the receivers are looked at."""

    def __init__(self, receiver: object) -> None:
        self._receiver: Any = receiver

    @property
    def receivers(self) -> Mapping[str, Any]:
        return {"otlp": self._receiver}


class Elsewhere:
    """Pipelines of other processes, of which only the doors are known."""

    def __init__(self, doors: Mapping[str, str]) -> None:
        self.doors = doors

    @property
    def inner(self) -> frozenset[str]:
        return frozenset()

    async def replace(self, content: str, config: PipelineConfig) -> None: ...
    async def reasons_not_ready(self) -> list[str]:
        return []

    def hurry(self) -> None: ...


@asynccontextmanager
async def another_port(ingest: Ingest | None, grace: Grace | None = None) -> AsyncIterator[tuple[GrpcDoor, Any]]:
    """A door with `Export` alone, and the method of a client of it."""
    calls = Calls()
    writes = TraceWrites(lambda: ingest, Admission(32 * MIB), 4 * MIB, calls)
    try:
        async with open_grpc_door({TRACES.service: {"Export": writes.handler()}}, calls, grace) as (door, channel):
            yield door, channel.unary_unary(METHOD, None, None)
    finally:
        await writes.stop()


def there(ares: Running, kind: str) -> Ingest:
    return Local(ares.receiver) if kind == "local" else Elsewhere({"otlp-grpc": ares.grpc_target})


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def status_of(error: grpc.aio.AioRpcError) -> Status:
    trailers: Any = error.trailing_metadata()
    return Status.FromString(dict(trailers)["grpc-status-details-bin"])


@pytest.mark.parametrize("kind", ["local", "elsewhere"])
async def test_the_answer_is_the_receivers_own(kind: str) -> None:
    async with running() as ares, another_port(there(ares, kind)) as (_, export):
        body = trace_request().SerializeToString()
        assert await export(body) == OK
        ares.recording.fail_with(Retryable("Later.", retry_after=7.0))
        error = await refused(export(body))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "Later.")
        info = RetryInfo()
        assert status_of(error).details[0].Unpack(info)
        assert info.retry_delay.seconds == 7
        ares.recording.fail_with(Rejected("Never."))
        error = await refused(export(body))
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "Never.")


@pytest.mark.parametrize("kind", ["local", "elsewhere"])
async def test_the_deadline_of_the_sender_travels_with_the_request(kind: str) -> None:
    async with running() as ares, another_port(there(ares, kind)) as (_, export):
        await export(trace_request().SerializeToString(), timeout=20)
        [batch] = ares.recording.batches
        assert batch.deadline is not None


@pytest.mark.parametrize("kind", ["local", "elsewhere"])
async def test_a_port_that_stops_lets_requests_in_work_end_and_then_says_to_come_back(kind: str) -> None:
    async with running() as ares:
        ares.recording.gate = asyncio.Event()
        async with another_port(there(ares, kind)) as (door, export):
            call = asyncio.ensure_future(export(trace_request().SerializeToString()))
            await ares.recording.arrived.wait()
            stopping = asyncio.create_task(door.stop())
            await asyncio.sleep(0)
            ares.recording.gate.set()
            assert await call == OK
            await stopping
        ares.recording.gate.clear()
        ares.recording.arrived.clear()
        async with another_port(there(ares, kind), Grace(0.2)) as (door, export):
            call = asyncio.ensure_future(export(trace_request().SerializeToString()))
            await ares.recording.arrived.wait()
            await door.stop()
            error = await refused(call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in str(error.details())


async def test_a_receiver_that_stops_waits_for_calls_of_another_port_and_takes_no_more() -> None:
    async with running() as ares, another_port(Local(ares.receiver)) as (_, export):
        ares.recording.gate = asyncio.Event()
        call = asyncio.ensure_future(export(trace_request().SerializeToString()))
        await ares.recording.arrived.wait()
        stopping = asyncio.create_task(ares.receiver.stop())
        await until(lambda: ares.receiver.export.stopped)
        error = await refused(export(trace_request().SerializeToString()))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        ares.recording.gate.set()
        assert await call == OK
        await stopping


async def test_without_pipelines_or_a_door_to_them_the_answer_says_what_is_missing() -> None:
    async with another_port(None) as (_, export):
        assert (await refused(export(b""))).code() is grpc.StatusCode.UNAVAILABLE
    async with another_port(Elsewhere({})) as (_, export):
        error = await refused(export(b""))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, NO_DOOR)
    async with running(signals={}) as ares, another_port(Local(ares.receiver)) as (_, export):
        error = await refused(export(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert str(error.details()).startswith("No pipeline of this Ares takes traces")


def test_the_largest_message_is_the_largest_that_a_receiver_takes() -> None:
    def largest(**changes: int) -> int:
        options = "".join(f"        {name}: {value}\n" for name, value in changes.items())
        text = DEFAULT.replace("      http:\n", f"{options}      http:\n", 1)
        return largest_message(load_bytes(text.encode(), "ares.yaml", COMPONENTS, {}))

    assert largest_message(PipelineConfig({}, {}, {}, {})) == 4 * MIB
    assert largest() == 4 * MIB
    assert largest(max_recv_msg_size_mib=9) == 9 * MIB
