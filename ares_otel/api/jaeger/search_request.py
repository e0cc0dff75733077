"""What v3's and remote storage's searches have in common: which values a request may hold."""

from __future__ import annotations

from collections.abc import Iterator
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
MAX_BYTES = 96 * 1024
"""Largest search: 64 KiB of text are served, and a few hundred nodes around it."""
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
        Refused: a field is wrong or missing. The message names it.
    """
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


def check_search(request: Message) -> None:
    """Raises Refused for a search that is larger than any that can be served, or has unknown fields. Asked before
    anything is made of it."""
    if request.ByteSize() > MAX_BYTES:
        raise Refused(f"The search has more than {MAX_BYTES} bytes; ask for less.")
    refuse_unknown(request)


def refuse_unknown(request: Message) -> None:
    """Raises Refused for a field that this version does not know, wherever it is in the request: what is asked for is
    served or refused."""
    known = type(request)()
    known.CopyFrom(request)
    known.DiscardUnknownFields()
    if known.ByteSize() != request.ByteSize():
        where, number = next(_unknown_fields(request, "The request"))
        raise Refused(f"{where} has a field of the number {number}, which this Ares does not know; leave it out.")


def _unknown_fields(message: Message, name: str) -> Iterator[tuple[str, int]]:
    unknown = UnknownFieldSet(message)
    for n in range(len(unknown)):
        yield name, unknown[n].field_number
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                yield from _unknown_fields(each, field.name)


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
