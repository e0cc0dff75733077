"""Methods that are asked over gRPC: small requests, long answers, callers that are slow or gone."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value

from ares_otel.model.errors import StartError
from ares_otel.model.rpc import NOT_FOUND, RpcFailure, RpcMethod
from ares_otel.pipeline import grpc_methods
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.grpc_door import Calls, GrpcDoor
from ares_otel.pipeline.grpc_methods import REQUEST_BYTES, AskedMethods
from tests.support.eventually import eventually
from tests.support.grpc_doors import grpc_door, open_grpc_door

MIB = 1024 * 1024
SERVICE = "toys.Toys"


class Toys:
    """Methods, and what became of their streams."""

    def __init__(self) -> None:
        self.open = 0
        self.sent = 0
        self.go_on = asyncio.Event()

    def methods(self) -> list[RpcMethod]:
        return [
            RpcMethod(SERVICE, "Twice", Int32Value, one=self.twice),
            RpcMethod(SERVICE, "Size", BytesValue, one=self.size),
            RpcMethod(SERVICE, "Wrong", Int32Value, one=self.wrong),
            RpcMethod(SERVICE, "Many", Int32Value, stream=self.many),
            RpcMethod(SERVICE, "Waits", Int32Value, stream=self.waits),
        ]

    async def twice(self, request: Int32Value) -> Message:
        if request.value < 0:
            raise RpcFailure(NOT_FOUND, "There is nothing below zero.")
        return Int32Value(value=2 * request.value)

    async def size(self, request: BytesValue) -> Message:
        return Int32Value(value=len(request.value))

    async def wrong(self, request: Int32Value) -> Message:
        raise ValueError("a secret")

    async def many(self, request: Int32Value) -> AsyncGenerator[Message, None]:
        """So many messages of a MiB."""
        self.open += 1
        try:
            for _ in range(request.value):
                self.sent += 1
                yield BytesValue(value=bytes(MIB))
        finally:
            self.open -= 1

    async def waits(self, request: Int32Value) -> AsyncGenerator[Message, None]:
        yield Int32Value(value=1)
        await self.go_on.wait()
        yield Int32Value(value=2)


@asynccontextmanager
async def running(toys: Toys, grace: Grace | None = None) -> AsyncIterator[tuple[GrpcDoor, grpc.aio.Channel]]:
    calls = Calls()
    asked = AskedMethods(Admission(32 * MIB), 4 * MIB, calls)
    async with open_grpc_door(asked.handlers(toys.methods()), calls, grace) as (door, channel):
        yield door, channel


async def ask(channel: grpc.aio.Channel, method: str, message: bytes | Message, **more: Any) -> bytes:
    body = message if isinstance(message, bytes) else message.SerializeToString()
    answer: bytes = await channel.unary_unary(f"/{SERVICE}/{method}", None, None)(body, **more)
    return answer


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), str(caught.value.details())


async def test_a_question_is_answered_compressed_or_not() -> None:
    async with running(Toys()) as (_, channel):
        for compression in (None, grpc.Compression.Gzip, grpc.Compression.Deflate):
            answer = await ask(channel, "Twice", Int32Value(value=21), compression=compression)
            assert Int32Value.FromString(answer).value == 42


async def test_a_failure_has_its_code_and_sentence() -> None:
    async with running(Toys()) as (_, channel):
        code, details = await refused(ask(channel, "Twice", Int32Value(value=-1)))
        assert (code, details) == (grpc.StatusCode.NOT_FOUND, "There is nothing below zero.")
        code, _ = await refused(ask(channel, "Nothing", b""))
        assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("message", "details"),
    [
        (b"\xff\xff", "The request is not a google.protobuf.BytesValue"),
        (BytesValue(value=bytes(REQUEST_BYTES)).SerializeToString(), "The request has more than 1048576 bytes"),
        (gzip.compress(bytes(50 * MIB)), "The request has more than 1048576 bytes"),
        (b"\x1f\x8bnot gzip", "The request is not compressed as it says"),
    ],
    ids=["garbage", "large", "a bomb", "not gzip"],
)
async def test_a_request_that_is_wrong_is_an_invalid_argument(message: bytes, details: str) -> None:
    async with running(Toys()) as (_, channel):
        code, said = await refused(ask(channel, "Size", message))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert said.startswith(details)


async def test_a_mistake_of_ares_is_told_without_its_text_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Toys()) as (_, channel):
        with caplog.at_level(logging.ERROR, logger="ares_otel.grpc"):
            for _ in range(3):
                code, details = await refused(ask(channel, "Wrong", b""))
                assert code is grpc.StatusCode.INTERNAL
                assert "secret" not in details
    assert len(caplog.records) == 1


async def test_what_is_made_waits_for_the_caller() -> None:
    toys = Toys()
    async with running(toys) as (_, channel):
        call = channel.unary_stream(f"/{SERVICE}/Many", None, None)(Int32Value(value=200).SerializeToString())
        await call.read()
        for _ in range(50):  # turns of the loop in which more could be made
            await asyncio.sleep(0)
        assert toys.sent < 20
        call.cancel()


async def test_a_caller_who_leaves_frees_what_was_read_for_it() -> None:
    toys = Toys()
    async with running(toys) as (_, channel):
        call = channel.unary_stream(f"/{SERVICE}/Many", None, None)(Int32Value(value=200).SerializeToString())
        await call.read()
        assert toys.open == 1
        call.cancel()
        await eventually(lambda: asyncio.sleep(0, toys.open == 0), every=0.01)


async def test_a_caller_who_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_methods, "STALL_SECONDS", 0.2)
    toys = Toys()
    async with running(toys) as (_, channel):
        call = channel.unary_stream(f"/{SERVICE}/Many", None, None)(Int32Value(value=200).SerializeToString())
        await call.read()
        await eventually(lambda: asyncio.sleep(0, toys.open == 0), every=0.01)
        assert toys.sent < 20
        call.cancel()


async def test_a_stop_lets_a_stream_in_work_come_to_its_end() -> None:
    toys = Toys()
    async with running(toys) as (door, channel):
        call: Any = channel.unary_stream(f"/{SERVICE}/Waits", None, None)(b"")
        await anext(aiter(call))
        stopping = asyncio.create_task(door.stop())
        await asyncio.sleep(0)
        toys.go_on.set()
        assert [Int32Value.FromString(each).value async for each in call] == [2]
        await stopping


async def test_a_stop_ends_what_is_in_work_after_its_grace_and_says_why() -> None:
    async with running(Toys(), Grace(0.2)) as (door, channel):
        call = channel.unary_stream(f"/{SERVICE}/Waits", None, None)(b"")
        await call.read()
        stopping = asyncio.create_task(door.stop())
        code, details = await refused(call.read())
        assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "The server is shutting down; ask again.")
        await stopping


async def test_a_port_that_is_taken_is_said_by_its_option() -> None:
    async with running(Toys()) as (door, _):
        port = int(door.address.rpartition(":")[2])
        second = grpc_door({}, Calls(), port=port)
        with pytest.raises(StartError, match="--toys-port"):
            await second.start()
