"""Clock skew: spans of one machine that seem to happen before, or after, what caused them on another.

The rules are Jaeger's, and one of our own. Spans of one clock (a host that the resource names, else the resource
itself) are right among each other. A span whose parent is of another clock

* and that is not longer than its parent, must lie within it: if it does not, it is moved so that what is left of the
  parent's time is halved between before and after it, the two ways through the network;
* and that is longer, must not start before its parent: it is moved to the parent's start.

What its own clock measured below it moves along. Our own rule: what a producer sends is consumed when the consumer has
time, so only a start before the parent's says anything there.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.api.jaeger.adjust_parents import ParentOf
from ares_otel.api.jaeger.adjust_spans import Placed
from ares_otel.api.jaeger.warnings import add_warning
from ares_otel.model.go_duration import MAX_NS, show_go_duration

_MAX_TIME = 2**64 - 1


def correct_clocks(spans: Sequence[Placed], parents: ParentOf, max_skew_ns: int) -> None:
    """Moves spans, parents before their children. There must be no cycles.

    Args:
        max_skew_ns: what would be moved by more is not moved, and told so; 0 moves nothing.
    """
    below: dict[int, list[Placed]] = {}
    above: dict[int, Placed] = {}
    for one in spans:
        parent = parents(one)
        if parent is not None:
            above[one.index] = parent
            below.setdefault(parent.index, []).append(one)
    waiting = [(one, 0) for one in spans if one.index not in above]
    while waiting:
        one, skew = waiting.pop()
        parent = above.get(one.index)
        differs = parent is not None and parent.clock != one.clock
        if parent is not None and differs:
            skew = _skew(one.span, parent.span)
        if skew and not _move(one.span, skew, max_skew_ns) and differs:
            skew = 0  # what is below lies right beside it
        waiting += [(child, skew) for child in below.get(one.index, ())]


def _skew(child: Span, parent: Span) -> int:
    """By how many nanoseconds the child's clock must be put on for the child to lie where it can have been."""
    start, end = child.start_time_unix_nano, child.end_time_unix_nano
    lower, upper = parent.start_time_unix_nano, parent.end_time_unix_nano
    if not start or not lower:  # no time at all says nothing about a clock
        return 0
    deferred = parent.kind == Span.SPAN_KIND_PRODUCER or child.kind == Span.SPAN_KIND_CONSUMER
    if deferred or end - start > upper - lower:
        return max(lower - start, 0)
    if lower <= start and end <= upper:
        return 0
    return lower + (upper - lower - (end - start)) // 2 - start


def _move(span: Span, skew: int, max_skew_ns: int) -> bool:
    """Whether there is room for it on the scale of times."""
    shown = show_go_duration(max(-MAX_NS, min(skew, MAX_NS)))
    if max_skew_ns == 0:
        add_warning(span, f"Clock skew of {shown} was found, but its correction is switched off.")
        return True
    if abs(skew) > max_skew_ns:
        limit = show_go_duration(max_skew_ns)
        add_warning(span, f"Clock skew of {shown} was found; it is more than the {limit} that are corrected at most.")
        return True
    if span.start_time_unix_nano + skew < 0 or span.end_time_unix_nano + skew > _MAX_TIME:
        add_warning(span, f"Clock skew of {shown} was found, but the span cannot be moved so far.")
        return False
    span.start_time_unix_nano += skew
    span.end_time_unix_nano += skew
    for event in span.events:
        if event.time_unix_nano and 0 <= event.time_unix_nano + skew <= _MAX_TIME:
            event.time_unix_nano += skew
    add_warning(span, f"Clock skew: the span and its events were moved by {shown}.")
    return True
