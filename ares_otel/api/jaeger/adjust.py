"""What is done to a trace before a person looks at it; v1 and v3 share it. Programs get traces as they are stored."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

WARNINGS = "@jaeger@warnings"
"""Span attribute, an array of strings, that tells what was done to the span, and what is odd about it. The name is
Jaeger's: its UI shows these as warnings."""
MAX_SPANS = 10_000
"""A trace with more spans is shown as it is stored, with a warning that says so."""


def adjust(data: TracesData) -> TracesData:
    """One whole trace, ready to be looked at: a new message, the given one is not changed.

    Nothing is lost: every span that was given is there, in the same order. Adjusting what was adjusted changes
    nothing. Takes O(n log n) and no recursion, whatever the spans refer to.
    """
    result = TracesData()
    result.CopyFrom(data)
    return result
