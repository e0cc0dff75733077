"""Who is whose parent, made a forest: whatever the spans say, everything can be drawn."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.api.jaeger.adjust_spans import Placed
from ares_otel.api.jaeger.warnings import add_warning

_CALLERS = (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER)
_CALLED = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)


class ParentOf:
    """Finds the parent of a span. Where several have its id: one of the span's own resource; for what is called, one
    that calls; else the first."""

    def __init__(self, spans: Sequence[Placed]) -> None:
        self._holders: dict[bytes, list[Placed]] = {}
        self._by_resource: dict[tuple[bytes, int], Placed] = {}
        for one in spans:
            self._holders.setdefault(one.id, []).append(one)
            self._by_resource.setdefault((one.id, one.resource), one)

    def __contains__(self, span_id: bytes) -> bool:
        return span_id in self._holders

    def __call__(self, one: Placed) -> Placed | None:
        parent = one.parent_id
        if parent is None or parent not in self._holders:
            return None
        holders = self._holders[parent]
        if len(holders) == 1:
            return holders[0]
        found = self._by_resource.get((parent, one.resource))
        if found is None and one.span.kind in _CALLED:
            found = next((other for other in holders[:100] if other.span.kind in _CALLERS), None)
        return found or holders[0]


def cut_cycles(spans: Sequence[Placed], parents: ParentOf) -> None:
    """Takes the parent away from spans that are their own, and from the earliest span of each cycle, and warns; warns
    also of parents that are not there.

    What counts are ids, as for those who draw the trace: with every id that is left, following parents ends.
    """
    children: dict[bytes, set[bytes]] = {}
    above: dict[bytes, set[bytes]] = {}
    starts: dict[bytes, tuple[int, int]] = {}
    holders: dict[bytes, list[Placed]] = {}
    for one in spans:
        holders.setdefault(one.id, []).append(one)
        start = (one.span.start_time_unix_nano, one.index)
        starts[one.id] = min(starts.get(one.id, start), start)
        parent = one.parent_id
        if parent is None:
            continue
        if parent == one.id:
            _make_root(one, "The span is its own parent")
        elif parent not in parents:
            add_warning(one.span, f"The parent span {parent.hex()} is not in the trace; shown as a root.")
        else:
            children.setdefault(parent, set()).add(one.id)
            above.setdefault(one.id, set()).add(parent)
    for span_id, cut in _cycles(children, above, starts):
        for one in holders[span_id]:
            if one.parent_id in cut:
                _make_root(one, "The span is an ancestor of its own parent")


def _cycles(
    children: dict[bytes, set[bytes]], above: dict[bytes, set[bytes]], starts: dict[bytes, tuple[int, int]]
) -> list[tuple[bytes, set[bytes]]]:
    """The ids to cut, each with the parents it must lose. Ids that nothing leads to, and that lead to nothing, are
    taken away again and again; what is left lies on cycles (or between two). There the earliest id loses its parents.
    """
    rest = set(above) | set(children)
    loose = [span_id for span_id in rest if not above.get(span_id) or not children.get(span_id)]
    heap: list[tuple[tuple[int, int], bytes]] | None = None
    cuts: list[tuple[bytes, set[bytes]]] = []
    while rest:
        while loose:
            span_id = loose.pop()
            if span_id not in rest:
                continue
            rest.discard(span_id)
            for child in children.pop(span_id, ()):
                above[child].discard(span_id)
                if not above[child]:
                    loose.append(child)
            for parent in above.pop(span_id, ()):
                children[parent].discard(span_id)
                if not children[parent]:
                    loose.append(parent)
        if not rest:
            break
        if heap is None:
            heap = [(starts[span_id], span_id) for span_id in rest]
            heapq.heapify(heap)
        _, earliest = heapq.heappop(heap)
        if earliest not in rest:
            continue
        cut = above[earliest]
        cuts.append((earliest, set(cut)))
        for parent in cut:
            children[parent].discard(earliest)
            if not children[parent]:
                loose.append(parent)
        above[earliest] = set()
        loose.append(earliest)
    return cuts


def _make_root(one: Placed, why: str) -> None:
    add_warning(one.span, f"{why} ({one.span.parent_span_id.hex()}); shown as a root.")
    one.span.parent_span_id = b""
