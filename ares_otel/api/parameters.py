"""Query parameters: what each accepts, in one place. Unknown and repeated ones are errors, so that a typo is not an
answer to another question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ares_otel.api.problems import FieldError, InvalidParameters
from ares_otel.model.signal import SIGNALS
from ares_otel.query.instant import Instant
from ares_otel.query.logs import LEVELS
from ares_otel.query.spans import MAX_ATTRIBUTES, AttributeValue, check_attributes
from ares_otel.query.spans import STATUSES as SPAN_STATUSES
from ares_otel.query.traces import parse_trace_id

MAX_LIMIT = 1000
MAX_HOURS = 8760
"""A year."""
MAX_TEXT = 1000
REPEATABLE = frozenset({"attr", "name[]", "match[]", "promote_resource_attributes", "ignore_resource_attributes"})
"""Parameters that may be given more than once."""
SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("online", "degraded", "offline")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_MILLISECONDS = re.compile(r"\d{1,12}(\.\d{1,6})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)


def read_by(parse: Callable[[str], Any]) -> PlainValidator:
    """A parser of text as a validator; the sentence of its ValueError becomes the error's message."""

    def validate(value: Any) -> Any:
        try:
            return parse(str(value))
        except ValueError as error:
            raise PydanticCustomError("parameter", "{message}", {"message": f"The value {error}."}) from None

    return PlainValidator(validate)


def _limit(text: str) -> int:
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _hours(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not 0 < float(text) <= MAX_HOURS:
        raise ValueError(f"must be a number of hours above 0 and at most {MAX_HOURS}, for example 0.5")
    return float(text)


def _level(text: str) -> str:
    if text.upper() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}, in letters of either case")
    return text.upper()


def _text(text: str) -> str:
    if not 1 <= len(text) <= MAX_TEXT:
        raise ValueError(f"must have 1 to {MAX_TEXT} characters; leave the parameter out to not filter by it")
    if "\0" in text:
        raise ValueError("must not contain the character NUL, which no stored text has")
    return text


def _cursor(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text):
        raise ValueError("must be the `next` of an earlier page of this list, unchanged")
    return text


def _milliseconds(text: str) -> int:
    """Nanoseconds."""
    if not _MILLISECONDS.fullmatch(text):
        raise ValueError("must be a number of milliseconds, for example 250 or 0.5")
    return int(Decimal(text) * 1_000_000)


def _attributes(value: Any) -> list[AttributeValue]:
    """Raises PydanticCustomError."""
    try:
        found = [_attribute(str(text)) for text in (value if isinstance(value, list) else [value])]
        check_attributes(found)
    except ValueError as error:
        raise PydanticCustomError("parameter", "{message}", {"message": f"The value {error}."}) from None
    return found


def _attribute(text: str) -> AttributeValue:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ValueError("must be KEY=VALUE, for example http.route=/orders")
    if len(text) > MAX_TEXT:
        raise ValueError(f"must have {MAX_TEXT} characters at most")
    if "\0" in text:
        raise ValueError("must not contain the character NUL, which no stored text has")
    return AttributeValue(key, value)


def _span_kind(text: str) -> str:
    if text not in SPAN_KINDS:
        raise ValueError(f"must be one of {', '.join(SPAN_KINDS)}")
    return text


def _span_status(text: str) -> str:
    if text not in SPAN_STATUSES:
        raise ValueError(f"must be one of {', '.join(SPAN_STATUSES)}")
    return text


def _status(text: str) -> str:
    if text not in STATUSES:
        raise ValueError(f"must be one of {', '.join(STATUSES)}")
    return text


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _signal(text: str) -> str:
    if text not in SIGNALS:
        raise ValueError(f"must be one of {', '.join(SIGNALS)}")
    return text


def _row_id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or int(text) == 0:
        raise ValueError("must be the `id` of a row, a whole number from 1")
    return int(text)


_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_TIME_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}
_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_TRACE_SCHEMA = {"type": "string", "minLength": 16, "maxLength": 36, "examples": [_TRACE]}

_MILLISECONDS_SCHEMA = {"type": "number", "minimum": 0, "examples": [250]}

Milliseconds = Annotated[int | None, read_by(_milliseconds), WithJsonSchema(_MILLISECONDS_SCHEMA)]
Operation = Annotated[str | None, read_by(_text), WithJsonSchema({**_TEXT_SCHEMA, "examples": ["POST /orders"]})]
SpanKind = Annotated[
    str | None,
    read_by(_span_kind),
    WithJsonSchema({"type": "string", "enum": list(SPAN_KINDS), "examples": ["server"]}),
]
SpanStatus = Annotated[
    str | None,
    read_by(_span_status),
    WithJsonSchema({"type": "string", "enum": list(SPAN_STATUSES), "examples": ["error"]}),
]
AttributeValues = Annotated[
    list[AttributeValue],
    PlainValidator(_attributes),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "maxLength": MAX_TEXT},
            "maxItems": MAX_ATTRIBUTES,
            "examples": [["http.route=/orders", "http.response.status_code=402"]],
        }
    ),
]
Text = Annotated[str | None, read_by(_text), WithJsonSchema({**_TEXT_SCHEMA, "examples": ["checkout"]})]
Service = Annotated[str | None, read_by(_text), WithJsonSchema({**_TEXT_SCHEMA, "examples": ["orders"]})]
ServiceName = Annotated[str, read_by(_text), WithJsonSchema({**_TEXT_SCHEMA, "examples": ["orders"]})]
Metric = Annotated[
    str | None, read_by(_text), WithJsonSchema({**_TEXT_SCHEMA, "examples": ["http.server.request.duration"]})
]
Level = Annotated[
    str | None, read_by(_level), WithJsonSchema({"type": "string", "enum": list(LEVELS), "examples": ["ERROR"]})
]
Time = Annotated[Instant | None, read_by(Instant.parse), WithJsonSchema(_TIME_SCHEMA)]
Limit = Annotated[
    int, read_by(_limit), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100})
]
Hours = Annotated[
    float | None,
    read_by(_hours),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MAX_HOURS, "default": 1}),
]
Exact = Annotated[bool, read_by(_flag), WithJsonSchema({"type": "boolean", "default": False, "examples": [True]})]
CursorText = Annotated[str | None, read_by(_cursor), WithJsonSchema({"type": "string", "maxLength": 100})]
TraceFilter = Annotated[UUID | None, read_by(parse_trace_id), WithJsonSchema(_TRACE_SCHEMA)]
TraceId = Annotated[
    UUID,
    read_by(parse_trace_id),
    WithJsonSchema(_TRACE_SCHEMA),
    Path(description="Trace id: 32 hex digits of either case, with or without dashes; one of 64 bits may have 16."),
]
StatusFilter = Annotated[
    str | None, read_by(_status), WithJsonSchema({"type": "string", "enum": list(STATUSES), "examples": ["offline"]})
]
RegistryId = Annotated[
    int,
    read_by(_row_id),
    WithJsonSchema({"type": "integer", "minimum": 1, "examples": [17]}),
    Path(description="`id` of the service's row, from the answer to its registration."),
]

SignalFilter = Annotated[
    str | None, read_by(_signal), WithJsonSchema({"type": "string", "enum": list(SIGNALS), "examples": ["traces"]})
]
RejectedId = Annotated[
    int,
    read_by(_row_id),
    WithJsonSchema({"type": "integer", "minimum": 1, "examples": [7]}),
    Path(description="`id` of a row, as the list has it."),
]

_SERVICE_TEXT = "Exact name of the service. Stored names hold 255 characters, so the rest does not count."
_EXACT_TEXT = "`true` reads all rows of the last hour instead of roll-ups: exact, and slow where there are many."
_LIMIT_TEXT = f"Rows a page, 1 to {MAX_LIMIT}. A page of very large rows ends earlier; `next` tells."
_CURSOR_TEXT = "`next` of the page before, with the same filters."


class NoParameters(BaseModel):
    """An endpoint without query parameters."""

    model_config = ConfigDict(extra="forbid")


class LogParameters(NoParameters):
    """Query of `logs`."""

    service: Service = Field(None, description=_SERVICE_TEXT)
    level: Level = Field(
        None, description="Exactly this level: DEBUG, INFO, WARN or ERROR. TRACE is stored as DEBUG, FATAL as ERROR."
    )
    trace_id: TraceFilter = Field(None, description="Records of this trace.")
    q: Text = Field(None, description="Part of the message, letters of either case. No character is special.")
    start: Time = Field(None, alias="from", description="At or after this time (RFC 3339 with an offset).")
    end: Time = Field(None, alias="to", description="Before this time (RFC 3339 with an offset).")
    limit: Limit = Field(100, description=_LIMIT_TEXT)
    cursor: CursorText = Field(None, description=_CURSOR_TEXT)


class SpanParameters(NoParameters):
    """Query of `spans`."""

    service: Service = Field(None, description=_SERVICE_TEXT)
    operation: Operation = Field(None, description="Exact name of the operation.")
    kind: SpanKind = Field(None, description="Spans of this kind.")
    status: SpanStatus = Field(None, description="Spans with this status.")
    min_duration_ms: Milliseconds = Field(None, description="Spans that took at least so many milliseconds.")
    max_duration_ms: Milliseconds = Field(None, description="Spans that took at most so many milliseconds.")
    attr: AttributeValues = Field(
        [],
        description="KEY=VALUE: spans whose attribute has this value. May be given more than once, then all must hold. "
        "`404` finds the text and the number, `true` the text and the boolean.",
    )
    hours: Hours = Field(None, description="Spans of the last hours. Not with `from` or `to`.")
    start: Time = Field(None, alias="from", description="Started at or after this time (RFC 3339 with an offset).")
    end: Time = Field(None, alias="to", description="Started before this time.")
    limit: Limit = Field(100, description=_LIMIT_TEXT)
    cursor: CursorText = Field(None, description=_CURSOR_TEXT)


class TraceParameters(NoParameters):
    """Query of one trace."""

    start: Time = Field(
        None, alias="from", description="Only spans and log records at or after this time: the trace is found sooner."
    )
    end: Time = Field(None, alias="to", description="Only spans and log records before this time.")


class MetricParameters(NoParameters):
    """Query of `metrics`."""

    service: Service = Field(None, description=_SERVICE_TEXT)
    metric: Metric = Field(None, description="Exact name of the metric.")
    hours: Hours = Field(
        None, description="Points of the last hours, 1 when neither `from` nor `to` is given. Not with `from` or `to`."
    )
    start: Time = Field(None, alias="from", description="At or after this time. With `to` alone: one hour before `to`.")
    end: Time = Field(None, alias="to", description="Before this time.")
    limit: Limit = Field(100, description=_LIMIT_TEXT)
    cursor: CursorText = Field(None, description=_CURSOR_TEXT)


class PerformanceParameters(NoParameters):
    """Query of `performance`."""

    service: Service = Field(None, description=_SERVICE_TEXT)
    exact: Exact = Field(False, description=_EXACT_TEXT)


class HealthParameters(NoParameters):
    """Query of `health`."""

    exact: Exact = Field(False, description=_EXACT_TEXT)


class ServiceMapParameters(NoParameters):
    """Query of `service-map`."""

    hours: Hours = Field(None, description="Calls of the last hours, 1 when not given. Not with `from` or `to`.")
    service: Service = Field(None, description="Only what this service calls, and who calls it.")
    start: Time = Field(
        None,
        alias="from",
        description="From the minute of this time on. Not given: an hour before `to`, or before now.",
    )
    end: Time = Field(None, alias="to", description="Minutes that begin before this time.")


class RejectedParameters(NoParameters):
    """Query of `rejected`."""

    service: Service = Field(None, description=_SERVICE_TEXT)
    signal: SignalFilter = Field(None, description="Items of this signal: traces, logs or metrics.")
    limit: Limit = Field(100, description=_LIMIT_TEXT)
    cursor: CursorText = Field(None, description=_CURSOR_TEXT)


class PinnedParameters(NoParameters):
    """Query of `pinned`."""

    limit: Limit = Field(100, description=_LIMIT_TEXT)
    cursor: CursorText = Field(None, description=_CURSOR_TEXT)


class RegistryParameters(NoParameters):
    """Query of `registry`."""

    status: StatusFilter = Field(None, description="Services with this status: online, degraded or offline.")
    name: Service = Field(None, description="All instances of this service; the name must be exact.")
    limit: Limit = Field(100, description=_LIMIT_TEXT)
    cursor: CursorText = Field(None, description=_CURSOR_TEXT)


def check_hours(hours: float | None, start: Instant | None, end: Instant | None) -> None:
    """Raises InvalidParameters where a time is given in both ways."""
    if hours is not None and (start is not None or end is not None):
        raise InvalidParameters(FieldError("hours", "Give either `hours`, or `from` and `to`, not both."))


def hours_before(hours: float, end: Instant) -> Instant:
    """The time so many hours before `to`. Raises InvalidParameters where there is none."""
    try:
        return end.minus_hours(hours)
    except OverflowError:
        raise InvalidParameters(FieldError("to", "The time is too long ago; give a later one.")) from None


async def each_once(request: Request) -> None:
    """Raises InvalidParameters where a query parameter is given twice that means one thing."""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    repeated = [name for name, count in counts.items() if count > 1 and name not in REPEATABLE]
    if repeated:
        raise InvalidParameters(
            *(FieldError(name[:100], "The parameter is given more than once; give it once.") for name in repeated[:20])
        )


def check_order(start: Instant | None, end: Instant | None) -> None:
    """Raises InvalidParameters for a window that ends before it starts."""
    if start is not None and end is not None and start > end:
        raise InvalidParameters(FieldError("from", "The time is after `to`; exchange the two."))
