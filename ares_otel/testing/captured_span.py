"""A span as the code under test made it, and what can be asserted about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ares_otel.testing.attributes import difference, has_all, holds, wanted
from ares_otel.testing.failing import did_you_mean, failure
from ares_otel.testing.one_capture import Capture, key_of
from ares_otel.testing.shown import as_text, listed, shown_name, shown_value
from ares_otel.testing.waterfall import draw, milliseconds

if TYPE_CHECKING:
    from typing import Self

    from opentelemetry.sdk.trace import ReadableSpan

    from ares_otel.testing.captured_trace import CapturedTrace

_THIS = "this span"
_SPAN_ID = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class CapturedEvent:
    """An event of a span."""

    name: str
    attributes: Mapping[str, Any]
    timestamp: int
    """Nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class CapturedLink:
    """A link of a span to another one, ids in hex."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


class CapturedSpan:
    """One span. Assertions return the span, so that they can be chained; one that does not hold raises AssertionError
    with a picture of the trace."""

    def __init__(self, raw: ReadableSpan, capture: Capture) -> None:
        self.raw = raw
        """The SDK's own object."""
        self._capture = capture
        context = raw.get_span_context()
        assert context is not None
        self.key = key_of(context.trace_id, context.span_id)

    @property
    def trace_id(self) -> str:
        """In hex."""
        return f"{self.key >> 64:032x}"

    @property
    def span_id(self) -> str:
        """In hex."""
        return f"{self.key & _SPAN_ID:016x}"

    @property
    def parent_id(self) -> str | None:
        """In hex; None for a root."""
        return None if self.raw.parent is None else f"{self.raw.parent.span_id:016x}"

    @property
    def name(self) -> str:
        return as_text(self.raw.name)

    @property
    def kind(self) -> str:
        """internal, server, client, producer or consumer."""
        return self.raw.kind.name.lower()

    @property
    def status(self) -> str:
        """unset, ok or error."""
        return self.raw.status.status_code.name.lower()

    @property
    def status_description(self) -> str | None:
        return self.raw.status.description

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.raw.attributes or {}

    @property
    def resource(self) -> Mapping[str, Any]:
        """Attributes of the resource: `service.name`, …"""
        return self.raw.resource.attributes

    @property
    def scope(self) -> str:
        """Name of the instrumentation scope: what the tracer was got with."""
        return self.raw.instrumentation_scope.name if self.raw.instrumentation_scope is not None else ""

    @property
    def start_time(self) -> int:
        """Nanoseconds since 1970."""
        return self.raw.start_time or 0

    @property
    def end_time(self) -> int | None:
        """Nanoseconds since 1970; None for a span that has not ended."""
        return self.raw.end_time

    @property
    def ended(self) -> bool:
        return self.raw.end_time is not None

    @property
    def duration(self) -> float:
        """Seconds; 0 for a span that has not ended."""
        return (self.raw.end_time - self.start_time) / 1e9 if self.raw.end_time is not None else 0.0

    @property
    def events(self) -> list[CapturedEvent]:
        return [
            CapturedEvent(event.name, MappingProxyType(dict(event.attributes or {})), event.timestamp)
            for event in self.raw.events
        ]

    @property
    def links(self) -> list[CapturedLink]:
        return [
            CapturedLink(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {}))
            for link in self.raw.links
        ]

    @property
    def trace(self) -> CapturedTrace:
        """All spans of its trace."""
        from ares_otel.testing.captured_trace import CapturedTrace

        return CapturedTrace(self.trace_id, self._capture)

    @property
    def parent(self) -> CapturedSpan | None:
        """The span that it was started in, if that was captured too."""
        return next((span for span in self._everything() if self._is_parent(span)), None)

    @property
    def children(self) -> list[CapturedSpan]:
        """In the order of their start."""
        return [span for span in self._everything() if span._is_parent(self)]

    def is_root(self) -> Self:
        """Asserts that it has no parent, neither here nor in another service."""
        __tracebackhide__ = True
        if self.raw.parent is not None:
            whose = "another service" if self.raw.parent.is_remote else "a span that was not captured"
            parent = self.parent
            named = f"'{shown_name(parent.name)}'" if parent is not None else f"{self.parent_id}, of {whose}"
            raise self._fails(f"is not a root: its parent is {named}")
        return self

    def is_child_of(self, parent: CapturedSpan | str) -> Self:
        """Asserts that the given span, or a span of the given name, is its parent: the very next one above."""
        __tracebackhide__ = True
        if isinstance(parent, CapturedSpan):
            if not self._is_parent(parent):
                raise self._fails(
                    f"is not a child of '{shown_name(parent.name)}'{self._parent_is()}",
                    {parent.key: "the parent that is expected"},
                )
            return self
        found = self.parent
        if found is None or found.name != parent:
            others = [span for span in self._everything() if span.name == parent]
            hint = "" if others else f"{self._parent_is()}; no span has that name{did_you_mean(parent, self._names())}"
            raise self._fails(
                f"is not a child of '{shown_name(parent)}'{hint or self._parent_is()}",
                {span.key: "the parent that is expected" for span in others},
            )
        return self

    def is_descendant_of(self, ancestor: CapturedSpan | str) -> Self:
        """Asserts that the given span, or one of the given name, is above it, with any number of spans in between."""
        __tracebackhide__ = True
        above = self._ancestors()
        if isinstance(ancestor, CapturedSpan):
            found = any(span.key == ancestor.key for span in above)
            name, marks = ancestor.name, {ancestor.key: "the ancestor that is expected"}
        else:
            found = any(span.name == ancestor for span in above)
            name, marks = ancestor, {}
        if not found:
            chain = " ← ".join(f"'{shown_name(span.name)}'" for span in above[:8])
            raise self._fails(
                f"is not below '{shown_name(name)}': above it {'is ' + chain if chain else 'nothing was captured'}",
                marks,
            )
        return self

    def has_attributes(self, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts that these attributes are there with these values; others may be there too.

        Keys with dots go into the mapping. A value may be a pattern of `re.compile`, or anything with an `==` of its
        own, such as `pytest.approx`.
        """
        __tracebackhide__ = True
        expected = wanted(attributes, more)
        if not has_all(expected, self.attributes):
            wrong = [key for key in expected if not has_all({key: expected[key]}, self.attributes)]
            raise self._fails(f"is not as expected in {listed(wrong)}", blocks=[difference(expected, self.attributes)])
        return self

    def lacks_attributes(self, *keys: str) -> Self:
        """Asserts that none of these attributes is there."""
        __tracebackhide__ = True
        there = {key: self.attributes[key] for key in keys if key in self.attributes}
        if there:
            raise self._fails(f"has {shown_value(there)}, which should not be there")
        return self

    def has_event(self, name: str, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts an event of this name with these attributes; the event may have others too."""
        __tracebackhide__ = True
        expected = wanted(attributes, more)
        named = [event for event in self.events if event.name == name]
        if not named:
            names = [event.name for event in self.events]
            there = f"its events are {listed(names)}" if names else "it has no events"
            raise self._fails(f"has no event '{shown_name(name)}': {there}{did_you_mean(name, names)}")
        if not any(has_all(expected, event.attributes) for event in named):
            blocks = [difference(expected, event.attributes) for event in named[:3]]
            raise self._fails(f"has an event '{shown_name(name)}', but not with these attributes", blocks=blocks)
        return self

    def has_status(self, status: str, description: object = None) -> Self:
        """Asserts the status (unset, ok or error) and, where it is given, its description (a text or a pattern)."""
        __tracebackhide__ = True
        described = description is None or holds(description, self.status_description)
        if self.status != status.lower() or not described:
            said = "" if description is None else f" {shown_value(description)}"
            raise self._fails(f"has the status {self._status()}, not {status.lower()}{said}")
        return self

    def has_error(self, type: str | type[BaseException] | None = None, message: object = None) -> Self:
        """Asserts the status error and, where they are given, an exception event of this type with this message.

        Args:
            type: a class, or its name with or without the module (semantic conventions: exception.type).
            message: the text, or a pattern.
        """
        __tracebackhide__ = True
        if self.status != "error":
            raise self._fails(f"has no error: its status is {self._status()}")
        if type is None and message is None:
            return self
        found = [event.attributes for event in self.events if event.name == "exception"]
        if not any(_is_exception(one, type, message) for one in found):
            there = "; ".join(
                f"{shown_name(one.get('exception.type', '?'))}: {shown_name(one.get('exception.message', ''))}"
                for one in found[:5]
            )
            asked = "exception" if type is None else _type_name(type)
            asked += "" if message is None else f" {shown_value(message)}"
            raise self._fails(f"recorded no {asked}: it recorded {there or 'no exception'}")
        return self

    def is_kind(self, kind: str) -> Self:
        """Asserts the kind: internal, server, client, producer or consumer."""
        __tracebackhide__ = True
        if self.kind != kind.lower():
            raise self._fails(f"is of kind {self.kind}, not {kind.lower()}")
        return self

    def lasted(self, at_least: float | timedelta | None = None, at_most: float | timedelta | None = None) -> Self:
        """Asserts the duration, in seconds or as a timedelta. A busy machine makes it longer."""
        __tracebackhide__ = True
        low, high = _seconds(at_least), _seconds(at_most)
        if not self.ended:
            raise self._fails("has not ended")
        if low is not None and self.duration < low:
            raise self._fails(f"lasted {milliseconds(self.duration)}, less than {milliseconds(low)}")
        if high is not None and self.duration > high:
            raise self._fails(f"lasted {milliseconds(self.duration)}, more than {milliseconds(high)}")
        return self

    def links_to(self, span: CapturedSpan, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts a link to the span, with these attributes; the link may have others too."""
        __tracebackhide__ = True
        expected = wanted(attributes, more)
        found = [link for link in self.links if (link.trace_id, link.span_id) == (span.trace_id, span.span_id)]
        if not found:
            names = [other.name for other in self._everything() for link in self.links if link.span_id == other.span_id]
            there = f"it links to {listed(names)}" if names else f"it has {len(self.links) or 'no'} links"
            raise self._fails(f"has no link to '{shown_name(span.name)}': {there}", {span.key: "not linked"})
        if not any(has_all(expected, link.attributes) for link in found):
            raise self._fails(
                f"has a link to '{shown_name(span.name)}', but not with these attributes",
                blocks=[difference(expected, link.attributes) for link in found[:3]],
            )
        return self

    def has_resource(self, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts attributes of the resource, such as `service.name`."""
        __tracebackhide__ = True
        expected = wanted(attributes, more)
        if not has_all(expected, self.resource):
            raise self._fails("has another resource", blocks=[difference(expected, self.resource)])
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CapturedSpan) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        took = milliseconds(self.duration) if self.ended else "never ended"
        return f"<span {shown_name(self.name)!r} {self.kind} {self.status} {took} {shown_value(dict(self.attributes))}>"

    def _fails(
        self, what: str, marks: Mapping[int, str] | None = None, blocks: list[list[str]] | None = None
    ) -> AssertionError:
        sentence = f"span '{shown_name(self.name)}' {what}"
        picture = draw(
            [span.raw for span in self._everything() if span.trace_id == self.trace_id or span.key in (marks or {})],
            {self.key: _THIS, **(marks or {})},
        )
        return failure(sentence, *(blocks or []), picture)

    def _everything(self) -> list[CapturedSpan]:
        return [CapturedSpan(raw, self._capture) for raw in (*self._capture.spans(), *self._capture.open_spans())]

    def _names(self) -> list[str]:
        return [span.name for span in self._everything()]

    def _is_parent(self, other: CapturedSpan) -> bool:
        return self.raw.parent is not None and key_of(self.raw.parent.trace_id, self.raw.parent.span_id) == other.key

    def _parent_is(self) -> str:
        if self.raw.parent is None:
            return ": it is a root"
        parent = self.parent
        if parent is not None:
            return f": its parent is '{shown_name(parent.name)}'"
        where = "in another service" if self.raw.parent.is_remote else "not captured"
        return f": its parent {self.parent_id} is {where}"

    def _ancestors(self) -> list[CapturedSpan]:
        known = {span.key: span for span in self._everything()}
        found: list[CapturedSpan] = []
        at = self
        while at.raw.parent is not None and len(found) < len(known):
            above = known.get(key_of(at.raw.parent.trace_id, at.raw.parent.span_id))
            if above is None:
                break
            found.append(above)
            at = above
        return found

    def _status(self) -> str:
        description = self.status_description
        return self.status if description is None else f"{self.status} {shown_value(description)}"


def _is_exception(found: Mapping[str, Any], type: str | type[BaseException] | None, message: object) -> bool:
    if type is not None:
        name, wanted_name = str(found.get("exception.type", "")), _type_name(type)
        if name != wanted_name and not (isinstance(type, str) and name.rpartition(".")[2] == wanted_name):
            return False
    return message is None or holds(message, found.get("exception.message"))


def _type_name(type: str | type[BaseException]) -> str:
    if isinstance(type, str):
        return type
    return type.__qualname__ if type.__module__ == "builtins" else f"{type.__module__}.{type.__qualname__}"


def _seconds(value: float | timedelta | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else value
