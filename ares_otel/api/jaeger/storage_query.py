"""`jaeger.storage.v2`: what a Jaeger asks that keeps its traces here. It gets them as they are stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

import asyncpg
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.catalogue import calls_between, operations, service_names
from ares_otel.api.jaeger.failures import tell_incomplete, told
from ares_otel.api.jaeger.proto import storage_v2_pb2 as pb
from ares_otel.api.jaeger.search_request import check_search, range_of, refuse_unknown, trace_query
from ares_otel.api.jaeger.times import instant_of, timestamp_of
from ares_otel.api.jaeger.trace_reading import TraceReading
from ares_otel.model.rpc import RpcMethod
from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import LEVELS, OPERATORS, Refused
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery, Value, Wanted
from ares_otel.query.search.summaries import TraceSummary, summarize_traces

PACKAGE = "jaeger.storage.v2"
MAX_IDS = 10_000
"""Traces that one request may ask for by id."""
SUMMARIES_A_PIECE = 100


class StorageService:
    """Answers requests. Every method raises RpcFailure, and nothing else that a caller could be the reason of."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._reading = TraceReading(pool)

    def methods(self) -> list[RpcMethod]:
        """The services TraceReader, DependencyReader and Capabilities for a gRPC server."""
        reader = f"{PACKAGE}.TraceReader"
        return [
            RpcMethod(reader, "GetTraces", pb.GetTracesRequest, stream=self.get_traces),
            RpcMethod(reader, "GetServices", pb.GetServicesRequest, one=self.get_services),
            RpcMethod(reader, "GetOperations", pb.GetOperationsRequest, one=self.get_operations),
            RpcMethod(reader, "FindTraces", pb.FindTracesRequest, stream=self.find_traces),
            RpcMethod(reader, "FindTraceIDs", pb.FindTraceIDsRequest, one=self.find_trace_ids),
            RpcMethod(reader, "FindTraceSummaries", pb.FindTraceSummariesRequest, stream=self.find_trace_summaries),
            RpcMethod(
                f"{PACKAGE}.DependencyReader", "GetDependencies", pb.GetDependenciesRequest, one=self.get_dependencies
            ),
            RpcMethod(f"{PACKAGE}.Capabilities", "GetCapabilities", pb.GetCapabilitiesRequest, one=get_capabilities),
        ]

    async def get_traces(self, request: pb.GetTracesRequest) -> AsyncGenerator[TracesData, None]:
        """The traces in the order of the request; those that are not there are left out."""
        with told():
            for trace_id, start, end in _wanted(request):
                async with aclosing(self._reading.trace(trace_id, start, end)) as pieces:
                    async for piece in pieces:
                        yield piece

    async def get_services(self, request: pb.GetServicesRequest) -> pb.GetServicesResponse:
        """Every service that sent spans, by name."""
        with told():
            return pb.GetServicesResponse(services=await service_names(self._pool))

    async def get_operations(self, request: pb.GetOperationsRequest) -> pb.GetOperationsResponse:
        """What a service does, by name; nothing for a service that is not known."""
        with told():
            refuse_unknown(request)
            rows = await operations(self._pool, request.service, request.span_kind)
        return pb.GetOperationsResponse(operations=[pb.Operation(name=name, span_kind=kind) for name, kind in rows])

    async def find_traces(self, request: pb.FindTracesRequest) -> AsyncGenerator[TracesData, None]:
        """The traces that match, most recent first, each in consecutive pieces."""
        with told():
            found = await find_traces(self._pool, _search(request))
            async with aclosing(self._reading.found(found)) as pieces:
                async for piece in pieces:
                    yield piece
        tell_incomplete(len(found), complete=found.complete)

    async def find_trace_ids(self, request: pb.FindTraceIDsRequest) -> pb.FindTraceIDsResponse:
        """The ids of the traces that match, and where their matching spans are."""
        with told():
            found = await find_traces(self._pool, _search(request))
        tell_incomplete(len(found), complete=found.complete)
        return pb.FindTraceIDsResponse(
            trace_ids=[
                pb.FoundTraceID(
                    trace_id=each.trace_id.bytes, start=timestamp_of(each.start), end=timestamp_of(each.end)
                )
                for each in found
            ]
        )

    async def find_trace_summaries(
        self, request: pb.FindTraceSummariesRequest
    ) -> AsyncGenerator[pb.FindTraceSummariesResponse, None]:
        """The traces that match in one line each, most recent first."""
        with told():
            found = await summarize_traces(self._pool, _search(request))
        for first in range(0, len(found), SUMMARIES_A_PIECE):
            piece = found[first : first + SUMMARIES_A_PIECE]
            yield pb.FindTraceSummariesResponse(summaries=[_summary(each) for each in piece])
        tell_incomplete(len(found), complete=found.complete)

    async def get_dependencies(self, request: pb.GetDependenciesRequest) -> pb.GetDependenciesResponse:
        """Who called whom, how often."""
        with told():
            refuse_unknown(request)
            start = instant_of(request, "start_time")
            end = instant_of(request, "end_time")
            rows = await calls_between(self._pool, start, end)
        return pb.GetDependenciesResponse(
            dependencies=[
                pb.Dependency(parent=each.parent, child=each.child, call_count=each.call_count, source=each.source)
                for each in rows
            ]
        )


async def get_capabilities(request: pb.GetCapabilitiesRequest) -> pb.GetCapabilitiesResponse:
    """What searches may ask for: any service, conditions that one span meets together, every level and operator."""
    return pb.GetCapabilitiesResponse(
        search=pb.SearchCapabilities(
            without_service_name=True,
            same_span_conjunction=True,
            filter=pb.FilterCapabilities(levels=LEVELS, operators=OPERATORS),
        )
    )


def _wanted(request: pb.GetTracesRequest) -> list[tuple[UUID, Instant | None, Instant | None]]:
    """Ids with their ranges, each id once. Raises Refused."""
    if len(request.query) > MAX_IDS:
        raise Refused(f"The request asks for {len(request.query)} traces; ask for {MAX_IDS} at most at once.")
    refuse_unknown(request)
    wanted: dict[UUID, tuple[UUID, Instant | None, Instant | None]] = {}
    for each in request.query:
        if len(each.trace_id) not in (8, 16):
            raise Refused(f"query.trace_id must have 16 bytes, or 8 of 64 bits, and has {len(each.trace_id)}.")
        start = instant_of(each, "start_time", "query.")
        end = instant_of(each, "end_time", "query.")
        range_of(start, end)
        trace_id = UUID(bytes=each.trace_id.rjust(16, b"\0"))
        wanted.setdefault(trace_id, (trace_id, start, end))
    return list(wanted.values())


def _search(request: pb.FindTracesRequest | pb.FindTraceIDsRequest | pb.FindTraceSummariesRequest) -> TraceQuery:
    check_search(request)
    attributes = tuple(_attribute(each) for each in request.query.attributes)
    return trace_query(request.query, attributes, LEVELS, bounds_required=False)


def _attribute(pair: pb.KeyValue) -> Wanted:
    # Jaeger's own query service turns every value that somebody typed into text; clients that read theirs from JSON
    # know one type of number.
    return Wanted(pair.key, _value(pair.value, pair.key), loose=True)


def _value(value: pb.AnyValue, key: str) -> Value:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(each, key) for each in value.array_value.values]
        case "kvlist_value":
            return {each.key: _value(each.value, key) for each in value.kvlist_value.values}
        case None:
            raise Refused(f"query.attributes: {key[:100]} has no value; leave it out, or give it one.")
        case name:
            found: Value = getattr(value, name)
            return found


def _summary(summary: TraceSummary) -> pb.TraceSummary:
    return pb.TraceSummary(
        trace_id=summary.trace_id.bytes,
        root_service_name=summary.root_service,
        root_operation_name=summary.root_operation,
        min_start_time_unix_nano=summary.start_unix_nano,
        max_end_time_unix_nano=summary.end_unix_nano,
        span_count=summary.span_count,
        error_span_count=summary.error_span_count,
        orphan_span_count=summary.orphan_span_count,
        services=[
            pb.ServiceSummary(name=each.name, span_count=each.span_count, error_span_count=each.error_span_count)
            for each in summary.services
        ],
    )
