"""ExportTraceServiceRequest → rows of service_spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.context import (
    Encoding,
    optional_bytes,
    optional_count,
    optional_numeric,
)
from ares_otel.storage.rows.copy_format import EPOCH_US, INT8_MAX, NULL
from ares_otel.storage.rows.encoded import SPAN_ROLLUPS, SPANS
from ares_otel.storage.rows.envelope import walk
from ares_otel.storage.rows.rollups import SpanIncrements
from ares_otel.storage.rows.values import InvalidItem, json_object, json_text

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
"""span.kind by number."""
STATUSES = ("unset", "ok", "error")
"""span.status.code by number."""

NO_TRACE_ID = bytes(16)
NO_SPAN_ID = bytes(8)

_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[SPANS]))
_TRACE_ID = copy_format.length(16)
_SPAN_ID = copy_format.length(8)
_KIND_FIELDS = tuple(map(copy_format.text, KINDS))
_STATUS_FIELDS = tuple(map(copy_format.text, STATUSES))
_TIMES = copy_format.fixed_fields("qhdqq")  # start_time, start_ns, duration_ms, duration_ns, flags
_ERROR = _STATUS_FIELDS[2]
_NO_LIST = copy_format.jsonb(b"[]")
_ABSENT_STATUS = _STATUS_FIELDS[0] + NULL
_NOTHING_RARE = NULL * 9
_NONE_GIVEN = (None,) * 5


def encode_spans(encoding: Encoding, request: ExportTraceServiceRequest) -> None:
    """Writes the rows of a request into `encoding.out`."""
    increments = SpanIncrements()
    for envelope, spans in walk(encoding, request.resource_spans, "scope_spans", "spans"):
        prefix = _HEAD + encoding.shared + envelope.fields
        noted = increments.of_service(envelope.service_name)
        encoding.append(SPANS, spans, _span_encoder(encoding, prefix, noted.note))
    encoding.add_increments(SPAN_ROLLUPS, increments.rows(encoding.tenant_id))


def _span_encoder(
    encoding: Encoding, prefix: bytes, note: Callable[[int, str, str, int, bool], None]
) -> Callable[[Span], bytes]:
    """A function that turns a span of one scope into a tuple. Raises InvalidItem.

    This is the hot path: what does not change from span to span is bound here once.

    Args:
        note: told of each span that became a tuple, for the roll-ups.
    """
    window_start, window_end = encoding.windows[SPANS]
    received_ns = encoding.filing_ns(encoding.windows[SPANS])
    text = encoding.text
    attributes = encoding.attributes
    prefix += _TRACE_ID

    def encode(span: Span) -> bytes:
        trace_id = span.trace_id
        if len(trace_id) != 16 or trace_id == NO_TRACE_ID:
            raise InvalidItem("span.trace_id must be 16 bytes and not all zero")
        span_id = span.span_id
        if len(span_id) != 8 or span_id == NO_SPAN_ID:
            raise InvalidItem("span.span_id must be 8 bytes and not all zero")
        parent_id = span.parent_span_id
        if not parent_id or parent_id == NO_SPAN_ID:
            parent = NULL
        elif len(parent_id) == 8:
            parent = _SPAN_ID + parent_id
        else:
            raise InvalidItem("span.parent_span_id must be empty or 8 bytes")

        start = filed = span.start_time_unix_nano
        end = span.end_time_unix_nano
        duration = end - start
        original_start = original_end = None
        if not window_start <= start < window_end or not start:
            original_start, filed = start, received_ns
        if not 0 <= duration <= INT8_MAX:
            original_end, duration = end, 0 if duration < 0 else INT8_MAX
        filed_us, filed_ns = divmod(filed, 1000)

        _, attributes_field, attributes_raw = attributes(span.attributes, "attributes")
        events_field = links_field = _NO_LIST
        events_raw = links_raw = None
        if events := span.events:
            events_field, events_raw = _encode_events(encoding, events)
        if links := span.links:
            links_field, links_raw = _encode_links(encoding, links)
        kind = span.kind
        name = span.name
        status = _encode_status(encoding, span)
        row = b"".join(
            (
                prefix,
                trace_id,
                _SPAN_ID,
                span_id,
                parent,
                text(name, "operation_name"),
                _KIND_FIELDS[kind] if 0 <= kind <= 5 else copy_format.text(str(kind)),
                _TIMES(8, filed_us - EPOCH_US, 2, filed_ns, 8, duration / 1_000_000, 8, duration, 8, span.flags),
                attributes_field,
                events_field,
                links_field,
                status,
                _encode_rare(encoding, span, attributes_raw, events_raw, links_raw, original_start, original_end),
            )
        )
        note(filed, name, KINDS[kind] if 0 <= kind <= 5 else str(kind), duration, status.startswith(_ERROR))
        return row

    return encode


def _encode_status(encoding: Encoding, span: Span) -> bytes:
    """The fields status, status_message, status_code."""
    if not span.HasField("status"):
        return _ABSENT_STATUS + NULL
    status = span.status
    code = status.code
    message = encoding.text(status.message, "status_message")
    if 0 <= code <= 2:
        return _STATUS_FIELDS[code] + message + NULL
    return _STATUS_FIELDS[0] + message + copy_format.int4(code)


def _encode_rare(
    encoding: Encoding,
    span: Span,
    attributes_raw: bytes | None,
    events_raw: bytes | None,
    links_raw: bytes | None,
    original_start: int | None,
    original_end: int | None,
) -> bytes:
    """The fields after the status: raw encodings, trace_state, dropped counts, times as sent; NULL for most spans."""
    trace_state = span.trace_state
    attributes, events, links = span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count
    given = (attributes_raw, events_raw, links_raw, original_start, original_end)
    if not (trace_state or attributes or events or links) and given == _NONE_GIVEN:
        return _NOTHING_RARE
    return b"".join(
        (
            optional_bytes(attributes_raw),
            optional_bytes(events_raw),
            optional_bytes(links_raw),
            encoding.optional_text(trace_state, "trace_state"),
            optional_count(attributes),
            optional_count(events),
            optional_count(links),
            optional_numeric(original_start),
            optional_numeric(original_end),
        )
    )


def _encode_events(encoding: Encoding, events: Sequence[Span.Event]) -> tuple[bytes, bytes | None]:
    """The field events, and the protobuf encoding where jsonb is not exact."""
    exact = True
    items = []
    for event in events:
        attributes, attributes_exact = json_object(event.attributes)
        item: dict[str, Any] = {
            "name": event.name,
            "time_unix_nano": event.time_unix_nano,
            "attributes": attributes,
        }
        if dropped := event.dropped_attributes_count:
            item["dropped_attributes_count"] = dropped
        items.append(item)
        exact = exact and attributes_exact
    text, clean = json_text(items, "events", encoding.replaced)
    raw = None if exact and clean else Span(events=events).SerializeToString()
    return copy_format.jsonb(text), raw


def _encode_links(encoding: Encoding, links: Sequence[Span.Link]) -> tuple[bytes, bytes | None]:
    """The field links, and the protobuf encoding where jsonb is not exact."""
    exact = True
    items = []
    for link in links:
        attributes, attributes_exact = json_object(link.attributes)
        item: dict[str, Any] = {
            "trace_id": link.trace_id.hex(),
            "span_id": link.span_id.hex(),
            "attributes": attributes,
        }
        if link.trace_state:
            item["trace_state"] = link.trace_state
        if link.dropped_attributes_count:
            item["dropped_attributes_count"] = link.dropped_attributes_count
        if link.flags:
            item["flags"] = link.flags
        items.append(item)
        exact = exact and attributes_exact
    text, clean = json_text(items, "links", encoding.replaced)
    raw = None if exact and clean else Span(links=links).SerializeToString()
    return copy_format.jsonb(text), raw
