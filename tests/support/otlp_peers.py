"""Destinations for the OTLP exporters: real servers on loopback that keep what they get and answer as they are told."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import uvicorn
import zstandard
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from ares_otel.model.signal import SIGNALS

Abort = tuple[grpc.StatusCode, str, float | None]
"""Status code, text, and the delay of a RetryInfo when there is one."""


@dataclass
class GrpcPeer:
    """An OTLP/gRPC server. `answers`, bytes of a response or an `Abort`, are used up in order; then all is well."""

    port: int = 0
    requests: list[tuple[str, bytes, dict[str, str | bytes]]] = field(default_factory=list)
    """Service, inflated request bytes, metadata."""
    compressed: list[bool] = field(default_factory=list)
    """For each request, whether it came as gzip."""
    answers: list[bytes | Abort] = field(default_factory=list)
    hang: asyncio.Event | None = None
    """Requests wait for this event, when there is one."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def handler(self, service: str) -> grpc.GenericRpcHandler[bytes, bytes]:
        async def export(request: bytes, context: Any) -> bytes:
            self.compressed.append(request.startswith(b"\x1f\x8b"))
            inflated = gzip.decompress(request) if self.compressed[-1] else request
            self.requests.append((service, inflated, dict(context.invocation_metadata())))
            if self.hang is not None:
                try:
                    await self.hang.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            answer = self.answers.pop(0) if self.answers else b""
            if isinstance(answer, bytes):
                return answer
            code, text, delay = answer
            if delay is not None:
                seconds = int(delay)
                info = RetryInfo(retry_delay=Duration(seconds=seconds, nanos=int((delay - seconds) * 1e9)))
                detail = AnyMessage()
                detail.Pack(info)
                status = Status(code=code.value[0], message=text, details=[detail])
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            return await context.abort(code, text)  # type: ignore[no-any-return]

        return grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(export)})


@asynccontextmanager
async def grpc_peer(*, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> AsyncIterator[GrpcPeer]:
    """A running `GrpcPeer`."""
    peer = GrpcPeer()
    # Without decompression by grpc the handler sees what went over the wire.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.per_message_decompression", 0)])
    server.add_generic_rpc_handlers(tuple(peer.handler(signal.service) for signal in SIGNALS.values()))
    address = f"127.0.0.1:{port}"
    peer.port = (
        server.add_secure_port(address, credentials) if credentials is not None else server.add_insecure_port(address)
    )
    await server.start()
    try:
        yield peer
    finally:
        await server.stop(grace=None)


@dataclass
class HttpAnswer:
    """An answer of the `HttpPeer`."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/x-protobuf"})


@dataclass
class HttpRequest:
    """A request that the `HttpPeer` got; `body` is inflated."""

    path: str
    headers: dict[str, str]
    body: bytes


_INFLATE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


@dataclass
class HttpPeer:
    """An OTLP/HTTP server (ASGI). `answers` are used up in order; then all is well."""

    url: str = ""
    requests: list[HttpRequest] = field(default_factory=list)
    answers: list[HttpAnswer] = field(default_factory=list)
    hang: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        inflate = _INFLATE.get(headers.get("content-encoding", ""), bytes)
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        self.requests.append(HttpRequest(scope["path"] + query, headers, inflate(body)))
        if self.hang is not None:
            await self.hang.wait()
        answer = self.answers.pop(0) if self.answers else HttpAnswer()
        pairs = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        with suppress(OSError):
            for start in range(0, len(answer.body), 65536):
                part = answer.body[start : start + 65536]
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def http_peer(*, tls: tuple[str, str] | None = None) -> AsyncIterator[HttpPeer]:
    """A running `HttpPeer`. `tls`: files of certificate and key."""
    peer = HttpPeer()
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        peer, host="127.0.0.1", port=0, lifespan="off", log_config=None, ssl_certfile=certificate, ssl_keyfile=key
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    serving = asyncio.create_task(server.main_loop())
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield peer
    finally:
        if peer.hang is not None:
            peer.hang.set()
        server.should_exit = True
        await serving
        await server.shutdown()
