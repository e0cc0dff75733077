"""What v3's and remote storage's searches have in common: which values a request may hold."""

from __future__ import annotations

from typing import TypeAlias, Union

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ares_otel.api.jaeger.expressions import call_from_proto
from ares_otel.api.jaeger.proto import api_v3_pb2, storage_v2_pb2
from ares_otel.api.jaeger.times import instant_of, nanoseconds_of
from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Refused
from ares_otel.query.search.query import TraceQuery, Wanted

DEFAULT_TRACES = 100
MAX_TRACES = 1_500
"""As many as Jaeger's UI offers to ask for."""
_LEGACY = ("service_name", "operation_name", "attributes", "duration_min", "duration_max")

Parameters: TypeAlias = Union[  # noqa: UP007 # types of generated modules
    api_v3_pb2.TraceQueryParameters, storage_v2_pb2.TraceQueryParameters
]


def trace_query(
    query: Parameters, attributes: tuple[Wanted, ...], levels: tuple[str, ...], *, bounds_required: bool
) -> TraceQuery:
    """The search that a request asks for.

    Args:
        attributes: those of the request, which has them in a form of its own.
        levels: where they are looked for.
        bounds_required: both bounds of the start have to be there.

    Raises:
        Refused: a field is wrong, missing, or unknown. The message names it.
    """
    refuse_unknown(query, "query")
    start = instant_of(query, "start_time_min", "query.")
    end = instant_of(query, "start_time_max", "query.")
    if bounds_required:
        for bound, name in ((start, "start_time_min"), (end, "start_time_max")):
            if bound is None:
                raise Refused(f"query.{name} is required; a search is about spans that started in a range of time.")
    if start and end and start > end:
        raise Refused("query.start_time_min is later than query.start_time_max; exchange them.")
    limit = traces_wanted(query.search_depth)
    if query.HasField("filter"):
        _refuse_legacy(query)
        return TraceQuery(start=start, end=end, limit=limit, filter=call_from_proto(query.filter))
    least = nanoseconds_of(query.duration_min, "query.duration_min")
    most = nanoseconds_of(query.duration_max, "query.duration_max")
    if least and most and least > most:
        raise Refused("query.duration_min is longer than query.duration_max; exchange them.")
    return TraceQuery(
        service=query.service_name or None,
        operation=query.operation_name or None,
        attributes=attributes,
        levels=levels,
        start=start,
        end=end,
        min_ns=least,
        max_ns=most,
        limit=limit,
    )


def traces_wanted(search_depth: int) -> int:
    """How many traces a search may find. Raises Refused."""
    if not 0 <= search_depth <= MAX_TRACES:
        raise Refused(f"query.search_depth must be from 1 to {MAX_TRACES}, or 0 for {DEFAULT_TRACES}.")
    return search_depth or DEFAULT_TRACES


def refuse_unknown(message: Message, name: str) -> None:
    """Raises Refused for a field that this version does not know: what is asked for is served or refused."""
    unknown = UnknownFieldSet(message)
    numbers = sorted({unknown[n].field_number for n in range(len(unknown))})
    if numbers:
        raise Refused(
            f"{name} has a field of the number {numbers[0]}, which this version of Ares does not know; leave it out."
        )


def range_of(start: Instant | None, end: Instant | None) -> None:
    """Raises Refused when the range of a request for a trace ends before it begins."""
    if start and end and start > end:
        raise Refused("start_time is later than end_time; exchange them.")


def _refuse_legacy(query: Parameters) -> None:
    for name in _LEGACY:
        value = getattr(query, name)
        is_set = query.HasField(name) and value.ByteSize() if name.startswith("duration") else bool(value)
        if is_set:
            raise Refused(
                f"query.filter and query.{name} exclude each other; leave one of them out, or say it in the filter."
            )
