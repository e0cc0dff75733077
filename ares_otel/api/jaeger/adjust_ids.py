"""Span ids that occur more than once in a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.api.jaeger.adjust_spans import Placed
from ares_otel.api.jaeger.warnings import add_warning

_CLIENT = Span.SPAN_KIND_CLIENT
_SERVER = Span.SPAN_KIND_SERVER


def separate_ids(spans: Sequence[Placed]) -> None:
    """Gives server spans that share their id with a client span an id of their own, as Jaeger does, and warns of every
    other id that occurs twice.

    The children of a shared id go to the span of their own resource, and to the server span where there is none: a
    client span that was shared has its children on the server's side.
    """
    holders: dict[bytes, list[Placed]] = {}
    for one in spans:
        holders.setdefault(one.id, []).append(one)
    shared = {
        span_id: group
        for span_id, group in holders.items()
        if len(group) > 1 and any(one.span.kind == _CLIENT for one in group)
    }
    fresh = _unused(holders)
    moved: dict[bytes, dict[int, bytes]] = {}  # shared id → resource of a server span → its new id
    renamed: set[int] = set()
    for span_id, group in shared.items():
        for one in group:
            if one.span.kind != _SERVER:
                continue
            new = next(fresh)
            told = f"The span ID {span_id.hex()} is also that of a client span"
            add_warning(one.span, f"{told}; shown with the ID {new.hex()}, as its child.")
            one.span.span_id = new
            one.span.parent_span_id = span_id
            renamed.add(one.index)
            moved.setdefault(span_id, {}).setdefault(one.resource, new)
    clients = {span_id: {one.resource for one in shared[span_id] if one.index not in renamed} for span_id in moved}
    for one in spans:
        parent = one.parent_id
        if parent is None or parent not in moved or one.index in renamed:
            continue
        servers = moved[parent]
        if one.resource in servers:
            one.span.parent_span_id = servers[one.resource]
        elif one.resource not in clients[parent] and one.id != parent:
            one.span.parent_span_id = next(iter(servers.values()))
    for span_id, group in holders.items():
        left = [one for one in group if one.index not in renamed]
        if len(left) > 1:
            for one in left:
                add_warning(one.span, f"The span ID {span_id.hex()} is that of {len(left)} spans of the trace.")


def _unused(used: dict[bytes, list[Placed]]) -> Iterator[bytes]:
    """Ids that no span of the trace has, from 1 on, as Jaeger gives them."""
    number = 0
    while True:
        number += 1
        candidate = number.to_bytes(8, "big")
        if candidate not in used:
            yield candidate
