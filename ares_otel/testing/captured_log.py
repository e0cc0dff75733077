"""A log record as the code under test wrote it, and what can be asserted about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ares_otel.testing.attributes import difference, has_all, holds, wanted
from ares_otel.testing.captured_span import CapturedSpan
from ares_otel.testing.failing import failure
from ares_otel.testing.one_capture import Capture, LogEntry, key_of
from ares_otel.testing.shown import VALUE_WIDTH, as_text, listed, padded, shown_name, shown_value

if TYPE_CHECKING:
    from typing import Self

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
"""As in `service_logs.log_level`: TRACE is DEBUG, and FATAL is ERROR."""
_NAMES = {"TRACE": "DEBUG", "WARNING": "WARN", "CRITICAL": "ERROR", "FATAL": "ERROR"}
_LINES = 30


class CapturedLog:
    """One log record, of `logging` or of OpenTelemetry's Logs API. Assertions return it and can be chained."""

    def __init__(self, entry: LogEntry, capture: Capture) -> None:
        self._entry = entry
        self._capture = capture

    @property
    def message(self) -> str:
        """The body as text."""
        body = self._entry.body
        return "" if body is None else as_text(body)

    @property
    def body(self) -> Any:
        return self._entry.body

    @property
    def level(self) -> str:
        """DEBUG, INFO, WARN or ERROR."""
        number = self._entry.severity_number
        return LEVELS[0 if number < 9 else 1 if number < 13 else 2 if number < 17 else 3]

    @property
    def severity_number(self) -> int:
        """1 to 24, 0 where none was given (OTLP: SeverityNumber)."""
        return self._entry.severity_number

    @property
    def severity_text(self) -> str | None:
        return self._entry.severity_text

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What `extra` gave, `code.*`, `exception.*`."""
        return self._entry.attributes

    @property
    def event_name(self) -> str | None:
        return self._entry.event_name

    @property
    def logger(self) -> str:
        """Name of the logger: the instrumentation scope."""
        return self._entry.logger

    @property
    def timestamp(self) -> int | None:
        """Nanoseconds since 1970; None where only `raw.observed_timestamp` is known."""
        return self._entry.timestamp

    @property
    def trace_id(self) -> str | None:
        """In hex; None outside of a span."""
        return f"{self._entry.trace_id:032x}" if self._entry.trace_id else None

    @property
    def span_id(self) -> str | None:
        """In hex; None outside of a span."""
        return f"{self._entry.span_id:016x}" if self._entry.span_id else None

    @property
    def span(self) -> CapturedSpan | None:
        """The span that it was written in, if that was captured."""
        key = key_of(self._entry.trace_id, self._entry.span_id)
        spans = (CapturedSpan(raw, self._capture) for raw in (*self._capture.spans(), *self._capture.open_spans()))
        return next((span for span in spans if span.key == key), None)

    @property
    def raw(self) -> Any:
        """The SDK's ReadWriteLogRecord, or the `logging.LogRecord`."""
        return self._entry.raw

    def has_attributes(self, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts that these attributes are there with these values; others may be there too."""
        __tracebackhide__ = True
        expected = wanted(attributes, more)
        if not has_all(expected, self.attributes):
            wrong = [key for key in expected if not has_all({key: expected[key]}, self.attributes)]
            raise failure(
                f"{self._named()} is not as expected in {listed(wrong)}", difference(expected, self.attributes)
            )
        return self

    def has_level(self, level: str) -> Self:
        """Asserts the level: DEBUG, INFO, WARN or ERROR."""
        __tracebackhide__ = True
        if self.level != level_named(level):
            raise failure(f"{self._named()} has the level {self.level}, not {level_named(level)}")
        return self

    def has_exception(self, type: str | type[BaseException] | None = None, message: object = None) -> Self:
        """Asserts that it was written with an exception (`logger.exception`), of this type and with this message (a
        text or a pattern) where they are given."""
        __tracebackhide__ = True
        found = self.attributes.get("exception.type")
        name = type if isinstance(type, str) or type is None else type.__name__
        if found is None:
            raise failure(f"{self._named()} has no exception", [repr(self)])
        if name is not None and name not in (found, str(found).rpartition(".")[2]):
            raise failure(f"{self._named()} has the exception {shown_name(found)}, not {shown_name(name)}")
        if message is not None and not holds(message, self.attributes.get("exception.message")):
            said = shown_value(self.attributes.get("exception.message"))
            raise failure(f"{self._named()} has an exception with {said}, not {shown_value(message)}")
        return self

    def is_in(self, span: CapturedSpan | str) -> Self:
        """Asserts that it was written in the span, or in one of that name."""
        __tracebackhide__ = True
        at = self.span
        right = at is not None and (at == span if isinstance(span, CapturedSpan) else at.name == span)
        if not right:
            name = span.name if isinstance(span, CapturedSpan) else span
            where = "outside of any span" if not self._entry.span_id else "in a span that was not captured"
            if at is not None:
                where = f"in '{shown_name(at.name)}'"
            raise failure(f"{self._named()} was not written in '{shown_name(name)}' but {where}")
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CapturedLog) and other._entry is self._entry

    def __hash__(self) -> int:
        return id(self._entry)

    def __repr__(self) -> str:
        return f"<log {self.level} {shown_name(self.message, VALUE_WIDTH)!r} {shown_value(dict(self.attributes))}>"

    def _named(self) -> str:
        return f"log record '{shown_name(self.message)}'"


def level_named(level: str) -> str:
    """One of the four levels.

    Raises:
        ValueError: there is no such level.
    """
    name = level.upper()
    name = _NAMES.get(name, name)
    if name not in LEVELS:
        raise ValueError(f"{level!r} is no level; say DEBUG, INFO, WARN or ERROR.")
    return name


def log_lines(logs: list[CapturedLog]) -> list[str]:
    """One a line: level, logger, message, the span."""
    spans = {span.key: span.name for log in logs[:1] for span in _all_spans(log)}
    rows = []
    for log in logs[:_LINES]:
        key = key_of(log._entry.trace_id, log._entry.span_id)
        where = f"  (in '{shown_name(spans[key])}')" if key in spans else ""
        rows.append((log.level, shown_name(log.logger or "-", 30), shown_name(log.message, VALUE_WIDTH) + where))
    width = max((len(name) for _, name, _ in rows), default=0)
    lines = [f"{level:5}  {padded(name, width)}  {text}" for level, name, text in rows]
    if len(logs) > _LINES:
        lines.append(f"⋮ {len(logs) - _LINES} more")
    return lines


def _all_spans(log: CapturedLog) -> list[CapturedSpan]:
    capture = log._capture
    return [CapturedSpan(raw, capture) for raw in (*capture.spans(), *capture.open_spans())]
