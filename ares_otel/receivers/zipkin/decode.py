"""A Zipkin body → OTLP, span by span: one that is wrong is left out, with a reason, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ares_otel.model.errors import Rejected, TooLarge
from ares_otel.model.json_text import parse_json
from ares_otel.model.varint import length_at
from ares_otel.model.zipkin import json_spans, proto_spans
from ares_otel.model.zipkin.span import WrongSpan, ZipkinSpan
from ares_otel.model.zipkin.to_otlp import to_otlp

MAX_SPANS = 200_000
"""Spans in one request. Zipkin's clients send hundreds."""

_ANNOTATION, _TAG = b"\x52", b"\x5a"
"""First bytes of these fields of a span."""


class Decoded(NamedTuple):
    """What a body held."""

    request: ExportTraceServiceRequest
    spans: int
    rejected: int
    reason: str


class Decode(Protocol):
    """Decodes a body."""

    def __call__(self, body: bytes, *, parse_string_tags: bool) -> Decoded: ...


def decode_json(body: bytes, *, parse_string_tags: bool) -> Decoded:
    """Decodes a list of spans in JSON.

    Raises:
        Rejected: it is no JSON, or no list.
        TooLarge: it holds too many spans.
    """
    found = parse_json(body)
    if not isinstance(found, list):
        raise Rejected("The body is not a list of Zipkin v2 spans: it does not begin with [.")
    return _decoded(found, json_spans.read_span, parse_string_tags)


def decode_proto(body: bytes, *, parse_string_tags: bool) -> Decoded:
    """Decodes a `zipkin.proto3.ListOfSpans`.

    Raises:
        Rejected: it is none.
        TooLarge: it holds too many spans.
    """
    message = proto_spans.ListOfSpans()
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise Rejected("The body is not a valid zipkin.proto3.ListOfSpans protobuf message.") from None
    return _decoded(message.spans, proto_spans.read_span, parse_string_tags)


def json_memory(body: bytes) -> int:
    """How many bytes of memory the JSON, its spans and their OTLP may take, at most about: from its punctuation."""
    return 3 * len(body) + 900 * body.count(b"{") + 100 * body.count(b"[") + 350 * body.count(b",")


def proto_memory(body: bytes) -> int:
    """The same for protobuf, where a span can be eight bytes, a tag or an annotation two, and an annotation holds JSON.

    Raises:
        TooLarge: it holds too many spans.
    """
    fields = 200 * body.count(_ANNOTATION) + 60 * body.count(_TAG)
    values = 100 * body.count(b"{") + 100 * body.count(b"[") + 150 * body.count(b",")
    return 6 * len(body) + 650 * _count_spans(body) + fields + values


def _count_spans(body: bytes) -> int:
    """Fields of the outer message. Behind a byte that no client writes there, as many as could be."""
    count = at = 0
    while at < len(body) and body[at] == 0x0A:
        size, at = length_at(body, at + 1)
        at += size
        count += 1
        if count > MAX_SPANS:
            raise _too_many()
    return count + max(0, len(body) - at) // 2


def _too_many() -> TooLarge:
    return TooLarge(f"The request holds more than {MAX_SPANS:,} spans; send smaller batches.")


def _decoded(found: Any, read: Callable[[Any], ZipkinSpan], parse_string_tags: bool) -> Decoded:
    if len(found) > MAX_SPANS:
        raise _too_many()
    wrong: list[str] = []
    rejected = 0

    def right() -> Iterable[ZipkinSpan]:
        nonlocal rejected
        for index, one in enumerate(found):
            try:
                yield read(one)
            except WrongSpan as error:
                rejected += 1
                if not wrong:
                    wrong.append(f"[{index}]: {error}")

    request = to_otlp(right(), parse_string_tags=parse_string_tags)
    reason = f"{rejected} of {len(found)} spans cannot be kept; the first: {wrong[0]}." if rejected else ""
    return Decoded(request, len(found) - rejected, rejected, reason)
