"""Senders that know exactly what they were told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.model.signal import TRACES
from tests.support.otlp_samples import span, trace_request

RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
}


@dataclass
class Told:
    """What the senders were told, by span id."""

    acknowledged: set[bytes] = field(default_factory=set)
    refusals: int = 0


async def send_until(target: str, told: Told, enough: asyncio.Event, *, service: str, spans: int = 50) -> None:
    """Sends different requests, one after the other, until `enough` is set. A refused request is given up: what counts
    is that nothing acknowledged is missing."""
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        export = channel.unary_unary(f"/{TRACES.service}/Export", None, None)
        while not enough.is_set():
            request = trace_request(service=service, spans=spans)
            try:
                await export(request.SerializeToString(), timeout=30)
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRYABLE:
                    raise
                told.refusals += 1
                await asyncio.sleep(0.02)
            else:
                told.acknowledged |= {made.span_id for made in spans_of(request)}


async def send_all(target: str, bodies: list[bytes]) -> None:
    """Sends every request once, taking them from the list; each has to be accepted."""
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        export = channel.unary_unary(f"/{TRACES.service}/Export", None, None)
        while bodies:
            assert await export(bodies.pop(), timeout=60) == b""


def spans_of(request: Message) -> list[Span]:
    """All spans of a request."""
    assert isinstance(request, TRACES.request)
    resources = request.resource_spans  # type: ignore[attr-defined]
    return [made for resource in resources for scope in resource.scope_spans for made in scope.spans]


def different_requests(count: int, spans: int, service: str) -> list[bytes]:
    """Requests whose spans all have ids of their own."""
    made = []
    for _ in range(count):
        made.append(trace_request(service=service, spans=[span() for _ in range(spans)]).SerializeToString())
    return made
