"""A few traces with one of everything that Jaeger's searches can ask for, and clients made from the project's `.proto`
files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from ares_otel.api.jaeger.proto import api_v3_pb2_grpc, sampling_v2_pb2_grpc, storage_v2_pb2_grpc
from tests.support.otlp_samples import pairs, resource

SECOND = 1_000_000_000
MS = 1_000_000
CHECKOUT = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
RESTOCK = bytes.fromhex("5bf92f3577b34da6a3ce929d0e0e4736")
SKEWED = bytes.fromhex("6bf92f3577b34da6a3ce929d0e0e4736")
SHORT = bytes.fromhex("0000000000000000a3ce929d0e0e4736")
LARGE = bytes.fromhex("7bf92f3577b34da6a3ce929d0e0e4736")
LARGE_SPANS = 2_500


def span_id(number: int) -> bytes:
    """The id of a span of these traces."""
    return number.to_bytes(8, "big")


@dataclass(frozen=True)
class Shop:
    """The traces, around a time shortly before now."""

    begin: int = field(default_factory=lambda: (time.time_ns() // SECOND - 600) * SECOND)
    """Nanoseconds since 1970, a whole second: the checkout begins here, the others so many seconds later."""

    def request(self) -> ExportTraceServiceRequest:
        """Everything."""
        return ExportTraceServiceRequest(
            resource_spans=[
                *self.checkout(),
                *self.restock(),
                *self.skewed(),
                one("cart", [self.span(SHORT, 1, None, "remember", 8.0, 1)]),
                one(
                    "batch",
                    [
                        self.span(LARGE, n, 1 if n > 1 else None, f"step {n}", 9.0 + n * 1e-6, 1)
                        for n in range(1, LARGE_SPANS + 1)
                    ],
                ),
            ]
        )

    def checkout(self) -> list[ResourceSpans]:
        """frontend calls orders, which fails."""
        root = self.span(CHECKOUT, 1, None, "POST /checkout", 0.0, 400, kind=Span.SPAN_KIND_SERVER)
        root.attributes.extend(
            pairs({"http.response.status_code": 500, "customer": "Ada & Söhne", "retry": True, "load": 0.25})
        )
        call = self.span(CHECKOUT, 2, 1, "POST /orders", 0.05, 300, kind=Span.SPAN_KIND_CLIENT)
        call.attributes.extend(pairs({"tags": ["new", 5], "key": b"\x00\xff", "cart": {"items": 3}}))
        call.links.add(trace_id=RESTOCK, span_id=span_id(1), attributes=pairs({"reason": "restock"}), trace_state="a=1")
        taken = self.span(CHECKOUT, 3, 2, "take order", 0.1, 200, kind=Span.SPAN_KIND_SERVER)
        taken.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="out of stock"))
        event = taken.events.add(name="exception", time_unix_nano=taken.start_time_unix_nano + 5 * MS)
        event.attributes.extend(pairs({"exception.type": "OutOfStock"}))
        return [
            one("frontend", [root, call], deployment_environment="prod"),
            one(
                "orders",
                [taken],
                scope=InstrumentationScope(name="orders.lib", version="2.1", attributes=pairs({"team": "blue"})),
            ),
        ]

    def restock(self) -> list[ResourceSpans]:
        """A message is sent and taken, two seconds later."""
        send = self.span(RESTOCK, 1, None, "send stock", 2.0, 10, kind=Span.SPAN_KIND_PRODUCER)
        send.attributes.extend(pairs({"http.response.status_code": "500"}))
        take = self.span(RESTOCK, 2, 1, "take stock", 2.5, 20, kind=Span.SPAN_KIND_CONSUMER)
        orphan = self.span(RESTOCK, 3, 99, "left over", 2.6, 1)
        return [one("warehouse", [send], deployment_environment="test"), one("stock", [take, orphan])]

    def skewed(self) -> list[ResourceSpans]:
        """The clock of the called service is a minute ahead."""
        call = self.span(SKEWED, 1, None, "call", 4.0, 100, kind=Span.SPAN_KIND_CLIENT)
        taken = self.span(SKEWED, 2, 1, "taken", 64.0, 50, kind=Span.SPAN_KIND_SERVER)
        return [one("early", [call]), one("late", [taken])]

    def span(self, trace: bytes, number: int, parent: int | None, name: str, at: float, ms: float, **more: Any) -> Span:
        """A span that starts `at` seconds after the beginning."""
        start = self.begin + round(at * SECOND)
        return Span(
            trace_id=trace,
            span_id=span_id(number),
            parent_span_id=b"" if parent is None else span_id(parent),
            name=name,
            start_time_unix_nano=start,
            end_time_unix_nano=start + round(ms * MS),
            **{"kind": Span.SPAN_KIND_INTERNAL, **more},
        )

    def at(self, seconds: float = 0.0, nanoseconds: int = 0) -> Timestamp:
        """A time after the beginning."""
        time_ns = self.begin + round(seconds * SECOND) + nanoseconds
        return Timestamp(seconds=time_ns // SECOND, nanos=time_ns % SECOND)

    def text(self, seconds: float = 0.0, nanoseconds: int = 0) -> str:
        """The same as RFC 3339 with nanoseconds."""
        return self.at(seconds, nanoseconds).ToJsonString()


def one(
    service: str, spans: list[Span], *, scope: InstrumentationScope | None = None, **attributes: Any
) -> ResourceSpans:
    """Spans of one service."""
    scope = scope or InstrumentationScope(name="tests", version="1")
    return ResourceSpans(resource=resource(service, **attributes), scope_spans=[ScopeSpans(scope=scope, spans=spans)])


@dataclass(frozen=True)
class Clients:
    """Stubs of everything that the port serves; generated code has no types."""

    channel: grpc.aio.Channel
    v3: Any
    reader: Any
    dependencies: Any
    capabilities: Any
    sampling: Any
    writes: Any


@asynccontextmanager
async def jaeger_clients(target: str) -> AsyncIterator[Clients]:
    """Clients of a port, as a gRPC client is by default: it takes 4 MiB a message."""
    async with grpc.aio.insecure_channel(target) as channel:
        generated: Any = (api_v3_pb2_grpc, storage_v2_pb2_grpc, sampling_v2_pb2_grpc, trace_service_pb2_grpc)
        v3, storage, sampling, otlp = generated
        yield Clients(
            channel,
            v3.QueryServiceStub(channel),
            storage.TraceReaderStub(channel),
            storage.DependencyReaderStub(channel),
            storage.CapabilitiesStub(channel),
            sampling.SamplingManagerStub(channel),
            otlp.TraceServiceStub(channel),
        )


def written(target: str) -> Shop:
    """The shop's traces, after they were written through a port that takes OTLP."""
    shop = Shop()

    async def write() -> None:
        async with jaeger_clients(target) as clients:
            answer = await clients.writes.Export(shop.request(), timeout=30)
            assert not answer.HasField("partial_success")

    asyncio.run(write())
    return shop


def spans_of(pieces: list[TracesData]) -> list[Span]:
    """All spans, in the order in which they came."""
    return [
        span for piece in pieces for each in piece.resource_spans for scope in each.scope_spans for span in scope.spans
    ]


def in_order(spans: list[Span]) -> list[Span]:
    """The spans by id, with their attributes by name: neither order has a meaning."""
    found = [Span.FromString(span.SerializeToString()) for span in sorted(spans, key=lambda span: span.span_id)]
    for span in found:
        holders: list[Any] = [span, *span.events, *span.links]
        for each in holders:
            each.attributes.sort(key=lambda pair: pair.key)
    return found


def ids_of(pieces: list[TracesData]) -> list[bytes]:
    """The trace of each piece, which must be one; a trace's consecutive pieces count once."""
    found: list[bytes] = []
    for piece in pieces:
        ids = {span.trace_id for span in spans_of([piece])}
        assert len(ids) == 1, "a piece holds spans of one trace, and is not empty"
        if found[-1:] != list(ids):
            found += ids
    assert len(set(found)) == len(found), "the pieces of a trace follow each other"
    return found
