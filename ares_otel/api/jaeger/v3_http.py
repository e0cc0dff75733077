"""v3 over HTTP: the same answers as over gRPC, as JSON, the way grpc-gateway gives them to Jaeger's clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import asyncpg
import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from ares_otel.api.bodies import read_body
from ares_otel.api.envelope import IS_HEAD
from ares_otel.api.jaeger import v3_parameters as parameters
from ares_otel.api.jaeger.adjust import MAX_SKEW_NS
from ares_otel.api.jaeger.error_shapes import CODES
from ares_otel.api.jaeger.failures import HTTP_STATUSES, error_body, told
from ares_otel.api.jaeger.proto import api_v3_pb2 as pb
from ares_otel.api.jaeger.trace_ids import parse_trace_id
from ares_otel.api.jaeger.trace_reading import span_count
from ares_otel.api.jaeger.v3_query import QueryService
from ares_otel.model.otlp_json import json_object
from ares_otel.model.rpc import (
    INTERNAL,
    INVALID_ARGUMENT,
    UNAVAILABLE,
    RpcFailure,
)

BODY_BYTES = 1024 * 1024
"""Largest request."""
RETRY_SECONDS = 1
_INLINE_SPANS = 50
"""Up to so many spans become JSON on the event loop; that takes some milliseconds."""
_JSON = "application/json"
_log = logging.getLogger(__name__)


def v3_routes(pool: asyncpg.Pool, *, max_skew_ns: int = MAX_SKEW_NS) -> list[BaseRoute]:
    """Everything below `/api/v3`. `max_skew_ns`: see `adjust`."""
    return [Mount("/api/v3", app=_app(QueryService(pool, max_skew_ns=max_skew_ns)))]


def _app(service: QueryService) -> Starlette:
    async def services(request: Request) -> Response:
        parameters.given(request.query_params.multi_items(), ())
        return _message(await service.get_services(pb.GetServicesRequest()))

    async def operations(request: Request) -> Response:
        asked = parameters.operations_request(request.query_params.multi_items())
        return _message(await service.get_operations(asked))

    async def dependencies(request: Request) -> Response:
        asked = parameters.dependencies_request(request.query_params.multi_items())
        return _message(await service.get_dependencies(asked))

    async def trace(request: Request) -> Response:
        asked = parameters.trace_request(_id_in_path(request), request.query_params.multi_items())
        return await _traces(request, service.get_trace(asked))

    async def traces(request: Request) -> Response:
        return await _traces(request, service.find_traces(await _search(request, pb.FindTracesRequest)))

    async def summaries(request: Request) -> Response:
        found = pb.FindTraceSummariesResponse()
        asked = await _search(request, pb.FindTraceSummariesRequest)
        async with aclosing(service.find_trace_summaries(asked)) as pieces:
            async for piece in pieces:
                found.summaries.extend(piece.summaries)
        return _message(found)

    app = Starlette(
        routes=[
            Route("/services", _told(services), methods=["GET"]),
            Route("/operations", _told(operations), methods=["GET"]),
            Route("/dependencies", _told(dependencies), methods=["GET"]),
            Route("/traces", _told(traces), methods=["GET", "POST"]),
            Route("/traces/{trace_id:path}", _told(trace), methods=["GET"]),
            Route("/trace-summaries", _told(summaries), methods=["GET", "POST"]),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    return app


def error(code: int, message: str, *, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """An error as grpc-gateway shapes it."""
    http_status = status or HTTP_STATUSES[code]
    headers = dict(headers or {})
    if code == UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return Response(error_body(code, http_status, message), http_status, headers, media_type=_JSON)


def _id_in_path(request: Request) -> str:
    """An id in base64 may hold slashes. Any other path that does is none."""
    text = str(request.path_params["trace_id"])
    try:
        parse_trace_id(text)
    except ValueError:
        if "/" in text:
            raise HTTPException(404) from None
    return text


def _told(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, with its errors as answers."""

    async def answered(request: Request) -> Response:
        try:
            with told():
                return await endpoint(request)
        except RpcFailure as failure:
            return error(failure.code, failure.message)
        except HTTPException:
            raise
        except Exception:
            _log.exception("A request of Jaeger's API failed: %s %.200s", request.method, request.url.path)
            return error(INTERNAL, "The request could not be answered; Ares's log has the reason.")

    return answered


async def _http_error(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, HTTPException)
    message = str(failure.detail)
    if failure.status_code == 404:
        message = (
            "There is nothing at this path; v3 has services, operations, dependencies, traces, traces/{trace_id} and "
            "trace-summaries."
        )
    elif failure.status_code == 405:
        message = f"The path does not take this method; use {(failure.headers or {}).get('Allow', 'GET')}."
    code = CODES.get(failure.status_code, INVALID_ARGUMENT)
    return error(code, message, status=failure.status_code, headers=dict(failure.headers or {}))


async def _search(request: Request, kind: type[parameters.Search]) -> parameters.Search:
    if request.method == "POST":
        parameters.given(request.query_params.multi_items(), ())
        return parameters.search_of_body(kind, await read_body(request, BODY_BYTES))
    return parameters.search_of_address(kind, request.query_params.multi_items())


def _message(message: Message) -> Response:
    """A message as protobuf's JSON, with every field: clients read them without looking whether they are there."""
    return Response(orjson.dumps(MessageToDict(message, always_print_fields_with_no_presence=True)), media_type=_JSON)


async def _traces(request: Request, pieces: AsyncGenerator[TracesData, None]) -> Response:
    """Pieces of traces as one object `{"result": …}`, written while they are read.

    Raises RpcFailure for what goes wrong before the first piece.
    """
    first = await anext(pieces, None)
    if first is None or request.scope.get(IS_HEAD):
        await pieces.aclose()
        return Response(b'{"result":{"resourceSpans":[]}}', media_type=_JSON)
    return _Traces(_written(first, pieces), pieces)


class _Traces(StreamingResponse):
    """Gives what is read back as soon as the client has gone."""

    def __init__(self, body: AsyncGenerator[bytes, None], pieces: AsyncGenerator[TracesData, None]) -> None:
        super().__init__(body, media_type=_JSON)
        self._generators: tuple[AsyncGenerator[Any, None], ...] = (body, pieces)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for generator in self._generators:
                await generator.aclose()


async def _written(first: TracesData, pieces: AsyncGenerator[TracesData, None]) -> AsyncGenerator[bytes, None]:
    yield b'{"result":{"resourceSpans":['
    yield await _elements(first)
    try:
        async for piece in pieces:
            yield b"," + await _elements(piece)
    except RpcFailure as failure:
        # The object stays open: nobody can take what came for everything there is.
        yield b"\n" + error_body(failure.code, HTTP_STATUSES[failure.code], failure.message) + b"\n"
        return
    yield b"]}}"


async def _elements(piece: TracesData) -> bytes:
    """The members of the list `resourceSpans`."""
    if span_count(piece) <= _INLINE_SPANS:
        return _dumped(piece)
    return await asyncio.to_thread(_dumped, piece)


def _dumped(piece: TracesData) -> bytes:
    return orjson.dumps(json_object(piece)["resourceSpans"])[1:-1]
