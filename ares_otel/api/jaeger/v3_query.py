"""`jaeger.api_v3.QueryService`, for gRPC and for HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import asyncpg
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.adjust import MAX_SKEW_NS
from ares_otel.api.jaeger.catalogue import calls_between, operations, service_names
from ares_otel.api.jaeger.failures import tell_incomplete, told
from ares_otel.api.jaeger.proto import api_v3_pb2 as pb
from ares_otel.api.jaeger.search_request import check_search, range_of, refuse_unknown, trace_query
from ares_otel.api.jaeger.times import instant_of
from ares_otel.api.jaeger.trace_ids import parse_trace_id, show_trace_id
from ares_otel.api.jaeger.trace_reading import TraceReading
from ares_otel.model.rpc import INVALID_ARGUMENT, NOT_FOUND, RpcFailure, RpcMethod
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.search.summaries import TraceSummary, summarize_traces

SERVICE = "jaeger.api_v3.QueryService"
LEVELS = ("span", "resource")
"""Where the attributes of a search are looked for."""
SUMMARIES_A_PIECE = 100


class QueryService:
    """Answers requests. Every method raises RpcFailure, and nothing else that a caller could be the reason of."""

    def __init__(self, pool: asyncpg.Pool, *, max_skew_ns: int = MAX_SKEW_NS) -> None:
        """
        Args:
            max_skew_ns: see `adjust`.
        """
        self._pool = pool
        self._reading = TraceReading(pool, max_skew_ns=max_skew_ns)

    def methods(self) -> list[RpcMethod]:
        """The service for a gRPC server."""
        return [
            RpcMethod(SERVICE, "GetTrace", pb.GetTraceRequest, stream=self.get_trace),
            RpcMethod(SERVICE, "FindTraces", pb.FindTracesRequest, stream=self.find_traces),
            RpcMethod(SERVICE, "GetServices", pb.GetServicesRequest, one=self.get_services),
            RpcMethod(SERVICE, "GetOperations", pb.GetOperationsRequest, one=self.get_operations),
            RpcMethod(SERVICE, "GetDependencies", pb.GetDependenciesRequest, one=self.get_dependencies),
            RpcMethod(SERVICE, "FindTraceSummaries", pb.FindTraceSummariesRequest, stream=self.find_trace_summaries),
        ]

    async def get_trace(self, request: pb.GetTraceRequest) -> AsyncGenerator[TracesData, None]:
        """The pieces of a trace, at least one."""
        with told():
            refuse_unknown(request)
            try:
                trace_id = parse_trace_id(request.trace_id)
            except ValueError as error:
                raise RpcFailure(INVALID_ARGUMENT, f"trace_id {error}.") from None
            start = instant_of(request, "start_time")
            end = instant_of(request, "end_time")
            range_of(start, end)
            found = False
            async with aclosing(self._reading.trace(trace_id, start, end, raw=request.raw_traces)) as pieces:
                async for piece in pieces:
                    found = True
                    yield piece
        if not found:
            raise RpcFailure(NOT_FOUND, f"There is no trace {show_trace_id(trace_id)}.")

    async def find_traces(self, request: pb.FindTracesRequest) -> AsyncGenerator[TracesData, None]:
        """The traces that match, most recent first, each in consecutive pieces."""
        with told():
            found = await find_traces(self._pool, _search(request))
            async with aclosing(self._reading.found(found, raw=request.query.raw_traces)) as pieces:
                async for piece in pieces:
                    yield piece
        tell_incomplete(len(found), complete=found.complete)

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

    async def get_dependencies(self, request: pb.GetDependenciesRequest) -> pb.DependenciesResponse:
        """Who called whom, how often."""
        with told():
            refuse_unknown(request)
            start = instant_of(request, "start_time")
            end = instant_of(request, "end_time")
            rows = await calls_between(self._pool, start, end)
        return pb.DependenciesResponse(
            dependencies=[
                pb.Dependency(parent=each.parent, child=each.child, call_count=each.call_count) for each in rows
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


def _search(request: pb.FindTracesRequest | pb.FindTraceSummariesRequest) -> TraceQuery:
    check_search(request)
    query = request.query
    # The values are text, whatever the type of the attribute is.
    attributes = tuple(Wanted(key, value, loose=True) for key, value in sorted(query.attributes.items()))
    return trace_query(query, attributes, LEVELS, bounds_required=True)


def _summary(summary: TraceSummary) -> pb.TraceSummary:
    return pb.TraceSummary(
        trace_id=show_trace_id(summary.trace_id),
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
