"""The `include` and `exclude` blocks: which spans, log records and metrics a processor acts upon."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Self

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import Field, JsonValue, model_validator

from ares_otel.model.errors import StartError
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.pipeline.component import ComponentConfig
from ares_otel.processors.regex import Pattern, Patterns
from ares_otel.processors.values import Attributes, as_string, find, scalar, to_any_value

Matcher = Callable[[Any, Any, Any], bool]
"""(span, log record or metric; scope group; resource group) -> whether it is meant."""

FIELDS = {
    TRACES: {"services", "span_names", "span_kinds", "attributes", "resources", "libraries"},
    LOGS: {"log_bodies", "log_severity_texts", "log_severity_number", "attributes", "resources", "libraries"},
    METRICS: {"metric_names", "resources"},
}
"""The options that have a meaning for a signal (Collector, attributesprocessor: "Include/Exclude Filtering")."""


class AttributeMatch(ComponentConfig):
    """An attribute that must be there."""

    key: str = Field(min_length=1, description="Key of the attribute.")
    value: JsonValue = Field(default=None, description="Its value; without it the key alone must be there.")


class LibraryMatch(ComponentConfig):
    """An instrumentation scope."""

    name: str = Field(description="Name of the scope.")
    version: str | None = Field(default=None, description="Its version; any when not set.")


class SeverityMatch(ComponentConfig):
    """A lowest severity."""

    min: int = Field(ge=1, le=24, description="The lowest severity number that matches.")
    match_undefined: bool = Field(default=False, description="Whether a log record without severity matches.")


class MatchProperties(ComponentConfig):
    """What an item must be like. Every option that is given must match; in a list one entry is enough, except in
    `attributes` and `resources`, where all must."""

    match_type: Literal["strict", "regexp"] = Field(description="How texts are compared.")
    services: list[str] = Field(default=[], description="The resource's `service.name` (traces).")
    span_names: list[str] = Field(default=[], description="Names of spans (traces).")
    span_kinds: list[str] = Field(default=[], description="Kinds of spans, as `SPAN_KIND_SERVER` (traces).")
    log_bodies: list[str] = Field(default=[], description="Bodies that are texts (logs).")
    log_severity_texts: list[str] = Field(default=[], description="Severity texts (logs).")
    log_severity_number: SeverityMatch | None = Field(default=None, description="Lowest severity (logs).")
    metric_names: list[str] = Field(default=[], description="Names of metrics (metrics).")
    attributes: list[AttributeMatch] = Field(default=[], description="Attributes of the item (traces, logs).")
    resources: list[AttributeMatch] = Field(default=[], description="Attributes of the resource.")
    libraries: list[LibraryMatch] = Field(default=[], description="Instrumentation scopes (traces, logs).")

    @model_validator(mode="after")
    def _something_to_match(self) -> Self:
        given = self.given()
        if not given:
            raise ValueError("The block matches nothing in particular; add for example services or span_names.")
        if not any(given <= fields for fields in FIELDS.values()):
            raise ValueError(f"{' and '.join(sorted(given))} do not exist together on any signal.")
        if self.match_type == "regexp":
            for texts in (self.services, self.span_names, self.span_kinds, self.log_bodies):
                _ = [Pattern(text) for text in texts]
            for texts in (self.log_severity_texts, self.metric_names, [library.name for library in self.libraries]):
                _ = [Pattern(text) for text in texts]
            for library in self.libraries:
                Pattern(library.version or "")
        for attribute in (*self.attributes, *self.resources):
            if self.match_type == "regexp" and isinstance(attribute.value, str):
                Pattern(attribute.value)
            to_any_value(attribute.value)
        return self

    def given(self) -> set[str]:
        """Names of the options that say what to match."""
        return {name for name in type(self).model_fields if name != "match_type" and getattr(self, name)}


def compile_match(properties: MatchProperties, signal: Signal, *, setting: str) -> Matcher:
    """One function for the whole block.

    Args:
        setting: full name of the block, for the error.

    Raises:
        StartError: an option of the block does not exist for this signal.
    """
    if wrong := sorted(properties.given() - FIELDS[signal]):
        raise StartError(
            f"{setting}: {' and '.join(wrong)} cannot be matched in a {signal.name} pipeline;"
            f" possible are {', '.join(sorted(FIELDS[signal]))}."
        )
    compare = _strict if properties.match_type == "strict" else _regexp
    checks: list[Matcher] = []
    if properties.services:
        services = compare(properties.services)
        checks.append(lambda item, scope, group: services(scalar(find(group.resource.attributes, "service.name"))))
    for texts, field in (
        (properties.span_names, "name"),
        (properties.metric_names, "name"),
        (properties.log_severity_texts, "severity_text"),
    ):
        if texts:
            checks.append(_text_check(compare(texts), field))
    if properties.span_kinds:
        kinds = compare(properties.span_kinds)
        checks.append(lambda item, scope, group: kinds(_kind_name(item.kind)))
    if properties.log_bodies:
        bodies = compare(properties.log_bodies)
        checks.append(lambda item, scope, group: bodies(scalar(item.body)))
    if (severity := properties.log_severity_number) is not None:
        lowest, undefined = severity.min, severity.match_undefined
        checks.append(
            lambda item, scope, group: undefined if item.severity_number == 0 else item.severity_number >= lowest
        )
    if properties.attributes:
        own = _attributes_check(properties.attributes, regexp=properties.match_type == "regexp")
        checks.append(lambda item, scope, group: own(item.attributes))
    if properties.resources:
        resources = _attributes_check(properties.resources, regexp=properties.match_type == "regexp")
        checks.append(lambda item, scope, group: resources(group.resource.attributes))
    if properties.libraries:
        wanted = [
            (compare([library.name]), None if library.version is None else compare([library.version]))
            for library in properties.libraries
        ]
        checks.append(
            lambda item, scope, group: any(
                name(scope.scope.name) and (version is None or version(scope.scope.version)) for name, version in wanted
            )
        )
    return lambda item, scope, group: all(check(item, scope, group) for check in checks)


def _text_check(matches: Callable[[Any], bool], field: str) -> Matcher:
    return lambda item, scope, group: matches(getattr(item, field))


def _strict(texts: list[str]) -> Callable[[Any], bool]:
    wanted = frozenset(texts)
    return lambda value: isinstance(value, str) and value in wanted


def _regexp(texts: list[str]) -> Callable[[Any], bool]:
    patterns = Patterns(texts)
    return lambda value: isinstance(value, str) and patterns.any_matches(value)


def _attributes_check(wanted: list[AttributeMatch], *, regexp: bool) -> Callable[[Attributes], bool]:
    checks: list[tuple[str, Callable[[Any], bool]]] = []
    for attribute in wanted:
        if attribute.value is None:
            checks.append((attribute.key, lambda found: True))
        elif regexp and isinstance(attribute.value, str):
            checks.append((attribute.key, _found_by(Pattern(attribute.value))))
        else:
            checks.append((attribute.key, partial(operator.eq, to_any_value(attribute.value))))

    def check(attributes: Attributes) -> bool:
        return all((found := find(attributes, key)) is not None and matches(found) for key, matches in checks)

    return check


def _found_by(pattern: Pattern) -> Callable[[Any], bool]:
    return lambda found: pattern.matches(as_string(found))


def _kind_name(kind: int) -> str:
    return Span.SpanKind.Name(Span.SpanKind.ValueType(kind)) if kind in Span.SpanKind.values() else ""
