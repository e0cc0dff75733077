"""Warnings that a span carries: an attribute of it, named and shaped as Jaeger has it."""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.api.jaeger.v1_tags import any_text

WARNINGS = "@jaeger@warnings"
"""Span attribute, an array of texts. The name is Jaeger's: its UI and its v1 API show these as warnings."""


def add_warning(span: Span, text: str) -> None:
    """Adds a warning to the span, unless it has it. An attribute of this name that is no array becomes the first."""
    pair = _find(span)
    if pair is None:
        pair = span.attributes.add(key=WARNINGS)
    elif pair.value.WhichOneof("value") != "array_value":
        before = any_text(pair.value)
        pair.value.array_value.values.add(string_value=before)
    values = pair.value.array_value.values
    if all(value.string_value != text for value in values):
        values.add(string_value=text)


def warnings_of(span: Span) -> list[str]:
    """The warnings that the span carries."""
    pair = _find(span)
    if pair is None:
        return []
    if pair.value.WhichOneof("value") != "array_value":
        return [any_text(pair.value)]
    return [any_text(value) for value in pair.value.array_value.values]


def _find(span: Span) -> KeyValue | None:
    for pair in span.attributes:
        if pair.key == WARNINGS:
            return pair
    return None
