"""How Ares ends: what is in work is finished or told to come back, within one grace, and nothing is half stored."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg
import grpc
import grpc.aio
import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from ares_otel.model.signal import TRACES
from tests.support.ares_process import AresProcess, running_ares
from tests.support.door import status_of
from tests.support.eventually import eventually
from tests.support.http2 import GOAWAY, RawHttp2
from tests.support.otlp_receiver import PROTOBUF, detail, grpc_status, http_status
from tests.support.otlp_samples import span, trace_request
from tests.support.senders import RETRYABLE, different_requests
from tests.support.stuck import stuck

LONG = "--shutdown-grace=600"


def target(ares: AresProcess) -> str:
    return ares.otlp_grpc.removeprefix("http://")


async def post(ares: AresProcess, body: bytes) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        return await client.post(f"{ares.otlp_http}/v1/traces", content=body, headers={"content-type": PROTOBUF})


async def call(ares: AresProcess, body: bytes) -> bytes | grpc.aio.AioRpcError:
    async with grpc.aio.insecure_channel(target(ares), [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            return bytes(await channel.unary_unary(f"/{TRACES.service}/Export", None, None)(body, timeout=120))
        except grpc.aio.AioRpcError as error:
            return error


async def waiting(url: str, count: int) -> None:
    """Returns when so many requests wait for the lock on the spans. Jobs of Ares wait for it too, and say nothing about
    whether a request has arrived."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        """AND wait_event_type = 'Lock' AND query LIKE 'COPY %service_spans%'"""
    )
    connection = await asyncpg.connect(url)
    try:

        async def look() -> bool:
            return int(await connection.fetchval(sql)) >= count

        await eventually(look, every=0.02)
    finally:
        await connection.close()


async def closed(url: str) -> None:
    """Returns when nobody listens there any more."""
    host, _, port = url.rpartition("/")[2].rpartition(":")

    async def look() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except ConnectionError:
            return True
        writer.close()
        return False

    await eventually(look, every=0.02)


async def stored(url: str, service: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM service_spans WHERE service_name = $1", service))
    finally:
        await connection.close()


async def ended(ares: AresProcess) -> None:
    """Returns when the process has ended, which has to be with 0."""
    await asyncio.to_thread(ares.wait_clean)


async def test_what_is_in_work_is_finished_before_the_end(tmp_path: Path, database_url: str) -> None:
    with running_ares(tmp_path, "--database-url", database_url, LONG) as ares:
        async with stuck(database_url):
            requests = [different_requests(1, 10, "in-work")[0] for _ in range(2)]
            over_http = asyncio.create_task(post(ares, requests[0]))
            over_grpc = asyncio.create_task(call(ares, requests[1]))
            await waiting(database_url, 2)
            async with RawHttp2(target(ares)) as idle:
                assert await idle.frame() is not None
                ares.signal(signal.SIGTERM)
                assert await idle.until(GOAWAY) is not None
            await closed(ares.otlp_http)
        assert (await over_http).status_code == 200
        assert await over_grpc == b""
        await ended(ares)
    assert await stored(database_url, "in-work") == 20


@pytest.mark.parametrize("how", ["option", "variable"])
async def test_what_is_not_finished_within_the_grace_is_told_to_come_back(
    tmp_path: Path, database_url: str, how: str
) -> None:
    """The time that this takes is not asserted: with the default grace the test would fail at its own time-out."""
    arguments, env = (["--shutdown-grace=1"], {}) if how == "option" else ([], {"ARES_OTEL_SHUTDOWN_GRACE": "1"})
    with running_ares(tmp_path, "--database-url", database_url, *arguments, env=env) as ares:
        async with stuck(database_url):
            over_http = asyncio.create_task(post(ares, trace_request(service="late").SerializeToString()))
            over_grpc = asyncio.create_task(call(ares, trace_request(service="late").SerializeToString()))
            await waiting(database_url, 2)
            ares.signal(signal.SIGTERM)
            answer, error = await over_http, await over_grpc
            assert answer.status_code == 503
            http_status(answer)
            assert isinstance(error, grpc.aio.AioRpcError)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert detail(grpc_status(error), RetryInfo) is not None
            await asyncio.to_thread(ares.wait_clean, 15.0)


async def test_a_second_signal_ends_the_waiting(tmp_path: Path, database_url: str) -> None:
    with running_ares(tmp_path, "--database-url", database_url, LONG) as ares:
        async with stuck(database_url):
            over_http = asyncio.create_task(post(ares, trace_request(service="late").SerializeToString()))
            over_grpc = asyncio.create_task(call(ares, trace_request(service="late").SerializeToString()))
            await waiting(database_url, 2)
            ares.signal(signal.SIGTERM)
            await closed(ares.otlp_http)
            ares.signal(signal.SIGINT)
            await ended(ares)
        assert (await over_http).status_code == 503
        error = await over_grpc
        assert isinstance(error, grpc.aio.AioRpcError)
        assert error.code() in RETRYABLE


async def test_f4_a_stop_in_the_middle_of_a_large_request_completes_it(tmp_path: Path, database_url: str) -> None:
    """20 MiB, of which the last half comes after SIGTERM."""
    body = trace_request(service="large", spans=[span(name="x" * 200_000) for _ in range(100)]).SerializeToString()
    with running_ares(tmp_path, "--database-url", database_url, LONG) as ares:
        host, _, port = ares.otlp_http.rpartition("/")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = [
            "POST /v1/traces HTTP/1.1",
            f"Host: {host}",
            f"Content-Type: {PROTOBUF}",
            f"Content-Length: {len(body)}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
        await writer.drain()
        ares.signal(signal.SIGTERM)
        await closed(ares.otlp_http)
        writer.write(body[len(body) // 2 :])
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 200
        writer.close()
        await ended(ares)
    assert await stored(database_url, "large") == 100


async def test_f4_a_large_request_that_does_not_come_to_its_end_is_answered_503_and_nothing_of_it_stored(
    tmp_path: Path, database_url: str
) -> None:
    body = trace_request(service="large", spans=[span(name="x" * 200_000) for _ in range(100)]).SerializeToString()
    with running_ares(tmp_path, "--database-url", database_url, "--shutdown-grace=2") as ares:
        host, _, port = ares.otlp_http.rpartition("/")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = [
            "POST /v1/traces HTTP/1.1",
            f"Host: {host}",
            f"Content-Type: {PROTOBUF}",
            f"Content-Length: {len(body)}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
        await writer.drain()
        ares.signal(signal.SIGTERM)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert status_of(answer) == 503
        assert b"retry-after: 1" in answer.lower()
        writer.close()
        await ended(ares)
    assert await stored(database_url, "large") == 0


async def test_f3_a_rolling_restart_fails_no_request_of_a_client_that_retries(
    tmp_path: Path, database_url: str
) -> None:
    """Three processes one after the other on the same ports; the senders never pause."""
    told, enough = 0, asyncio.Event()
    with running_ares(tmp_path / "first", "--database-url", database_url) as first:
        grpc_port = first.otlp_grpc.rpartition(":")[2]
        http_port = first.otlp_http.rpartition(":")[2]

        async def over_grpc() -> None:
            nonlocal told
            async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
                export = channel.unary_unary(f"/{TRACES.service}/Export", None, None)
                while not enough.is_set():
                    [body] = different_requests(1, 10, "rolling")
                    while True:
                        try:
                            assert await export(body, timeout=30) == b""
                        except grpc.aio.AioRpcError as error:
                            if error.code() not in RETRYABLE:
                                raise
                            await asyncio.sleep(0.05)
                        else:
                            break
                    told += 10

        async def over_http() -> None:
            nonlocal told
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                while not enough.is_set():
                    [body] = different_requests(1, 10, "rolling")
                    while True:
                        try:
                            url = f"http://127.0.0.1:{http_port}/v1/traces"
                            answer = await client.post(url, content=body, headers={"content-type": PROTOBUF})
                        except httpx.TransportError:
                            await asyncio.sleep(0.05)
                            continue
                        if answer.status_code == 200:
                            break
                        assert answer.status_code == 503, answer.text
                        await asyncio.sleep(0.05)
                    told += 10

        senders = [asyncio.create_task(send()) for send in (over_grpc, over_grpc, over_http, over_http)]

        async def more() -> None:
            goal = told + 200

            async def look() -> bool:
                for sender in senders:
                    if sender.done():
                        sender.result()
                return told >= goal

            await eventually(look, every=0.02)

        await more()
        await asyncio.to_thread(first.stop, timeout=30.0)
    ports = ("--otlp-grpc-port", grpc_port, "--otlp-http-port", http_port)
    for number in range(2):
        ares = await asyncio.to_thread(AresProcess, tmp_path / str(number), "--database-url", database_url, *ports)
        try:
            await more()
            if number == 1:
                enough.set()
                await asyncio.gather(*senders)
            await asyncio.to_thread(ares.stop, timeout=30.0)
        finally:
            ares.kill()
    count = await stored(database_url, "rolling")
    assert count == told
