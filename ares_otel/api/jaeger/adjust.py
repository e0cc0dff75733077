"""What is done to a trace before a person looks at it; v1 and v3 share it. Programs get traces as they are stored."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from ares_otel.api.jaeger.adjust_clocks import correct_clocks
from ares_otel.api.jaeger.adjust_ids import separate_ids
from ares_otel.api.jaeger.adjust_parents import ParentOf, cut_cycles
from ares_otel.api.jaeger.adjust_spans import spans_of
from ares_otel.api.jaeger.warnings import WARNINGS, add_warning
from ares_otel.model.go_duration import MAX_NS, show_go_duration

MAX_SPANS = 10_000
"""A trace with more spans, or of more than MAX_MIB, is shown as it is stored, with the warning TOO_LARGE."""
MAX_MIB = 32
TOO_LARGE = (
    f"The trace has more than {MAX_SPANS:,} spans or {MAX_MIB} MiB: it is shown as it was stored, without correction "
    "of clock skew, duplicate span IDs, cycles and wrong times."
)
MAX_SKEW_NS = 24 * 3_600 * 10**9
"""Clocks that differ by more than a day are not skewed but wrong, and a span shown at another day helps nobody."""


def adjust(data: TracesData, *, max_skew_ns: int = MAX_SKEW_NS) -> TracesData:
    """One whole trace, ready to be looked at: a new message, the given one is not changed.

    Nothing is lost: every span that was given is there, in the same order. What was done to a span, and what is odd
    about it, is told in its attribute `@jaeger@warnings`. Adjusting what was adjusted changes nothing. Takes
    O(n log n) and no recursion, whatever the spans refer to.

    * A span that ends before it starts ends when it starts.
    * A server span that has the id of a client span (Zipkin's shared spans) gets an id of its own and becomes the
      client span's child; its children stay its children. Other ids that occur twice are only told.
    * A span that is its own parent, and the earliest span of a cycle, is a root.
    * A span of another clock than its parent's that lies outside of it is moved into it, with what its own process
      did under it: see `adjust_clocks`.

    Args:
        max_skew_ns: spans are moved by at most so much; 0 moves none. What is not moved for this reason is told.
    """
    result = TracesData()
    result.CopyFrom(data)
    spans = spans_of(result)
    for one in spans:
        _end_after_start(one.span)
    separate_ids(spans)
    parents = ParentOf(spans)
    cut_cycles(spans, parents)
    correct_clocks(spans, parents, max_skew_ns)
    return result


def _end_after_start(span: Span) -> None:
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    if end >= start:
        return
    if end:
        early = show_go_duration(min(start - end, MAX_NS))
        add_warning(span, f"The span ended {early} before it started; shown without duration.")
    else:
        add_warning(span, "The span has no end; shown without duration.")
    span.end_time_unix_nano = start


__all__ = ["MAX_SKEW_NS", "MAX_SPANS", "TOO_LARGE", "WARNINGS", "adjust"]
