"""Contexts of OpenTelemetry as the facade's calls take them, and the beginning of a trace."""

from __future__ import annotations

import random

from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes


def context_of(given: Context | None) -> Context:
    """The context that a call means: the given one, or the current one for None. Never an empty one, which the SDK
    takes for none at all: a given context without a span stays without.

    Raises:
        TypeError: it is no context. The message is a sentence without a subject.
    """
    if given is None:
        given = get_current()
    elif not isinstance(given, Context):
        raise TypeError(f"has to be a context of OpenTelemetry or None, and was a {type(given).__name__}")
    return given or _NOWHERE


def begin_trace(tracer: Tracer, operation: str, context: Context, attributes: Attributes) -> Context:
    """The context with a new trace in it. It has a root span that ends at once, named `operation`: what belongs to the
    trace later has a parent that exists, and the sampler has decided about all of it.

    Without an SDK nobody makes spans: see `without_root`.
    """
    root = tracer.start_span(operation, context, attributes=attributes)
    root.end()
    begun = root.get_span_context()
    return set_span_in_context(NonRecordingSpan(begun), context) if begun.is_valid else without_root(context)


def without_root(context: Context) -> Context:
    """The context with ids of a trace that nobody has a span of. It is not sampled."""
    ids = SpanContext(trace_id=_random(128), span_id=_random(64), is_remote=False)
    return set_span_in_context(NonRecordingSpan(ids), context)


def span_context_of(context: Context) -> SpanContext:
    """The ids in a context; invalid ones where it has none."""
    return get_current_span(context).get_span_context()


def _random(bits: int) -> int:
    return random.getrandbits(bits) or 1


_NOWHERE = set_span_in_context(INVALID_SPAN, Context())
