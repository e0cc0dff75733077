"""Fields: what each level has besides attributes, by the names that Jaeger gives them.

The names and types are those of RFC 0005 of Jaeger, "Structured Query Filters for Trace Search", and
`jaeger-idl/query/expression/v1`; `flags` is ours. Case and underscores do not count: `traceID` and `trace_id` are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ares_otel.query.search.expression import LEVELS, Refused

START = "coalesce(s.original_time_unix_nano, extract(epoch FROM s.start_time) * 1000000000 + s.start_ns)"
"""When a span began, as it was sent: nanoseconds since 1970, numeric."""
_EVENT_TIME = "CASE jsonb_typeof(e.v -> 'time_unix_nano') WHEN 'number' THEN (e.v -> 'time_unix_nano')::numeric END"
_TRACE_ID = "replace(s.trace_id::text, '-', '')"


class Holds(StrEnum):
    """What a field's values are."""

    TEXT = "text"
    ID = "id"
    KIND = "kind"
    STATUS = "status"
    DURATION = "duration"
    INSTANT = "instant"
    NUMBER = "number"


WORDS = (Holds.KIND, Holds.STATUS)
"""Texts out of a closed set, without an order."""
TEXTS = (Holds.TEXT, Holds.ID, *WORDS)


@dataclass(frozen=True, slots=True)
class SpanField:
    """A field of a level."""

    level: str
    name: str
    holds: Holds
    sql: str
    """Its value: text, or a number. `s` is the span, `r` and `c` its resource and scope, `e` an event, `l` a link."""
    digits: int = 0
    """Of an id."""

    def same_text(self, text: str) -> str:
        """How a value that equals this text is written: ids in lower case without dashes, with their leading zeros."""
        digits = text.replace("-", "").lower() if self.digits else ""
        return digits.zfill(self.digits) if 0 < len(digits) <= self.digits else text


def _fields() -> dict[tuple[str, str], SpanField]:
    text, number = Holds.TEXT, Holds.NUMBER
    made = [
        SpanField("span", "traceID", Holds.ID, _TRACE_ID, 32),
        SpanField("span", "spanID", Holds.ID, "encode(s.span_id, 'hex')", 16),
        SpanField("span", "parentSpanID", Holds.ID, "encode(s.parent_span_id, 'hex')", 16),
        SpanField("span", "traceState", text, "nullif(s.trace_state, '')"),
        SpanField("span", "name", text, "s.operation_name"),
        SpanField("span", "kind", Holds.KIND, "s.kind"),
        SpanField("span", "startTime", Holds.INSTANT, START),
        SpanField("span", "endTime", Holds.INSTANT, f"coalesce(s.original_end_unix_nano, {START} + s.duration_ns)"),
        SpanField("span", "duration", Holds.DURATION, "s.duration_ns"),
        SpanField("span", "status", Holds.STATUS, "s.status"),
        SpanField("span", "statusMessage", text, "nullif(s.status_message, '')"),
        SpanField("span", "flags", number, "s.flags"),
        SpanField("resource", "service", text, "s.service_name"),
        SpanField("resource", "schemaURL", text, "nullif(r.schema_url, '')"),
        SpanField("scope", "name", text, "nullif(c.name, '')"),
        SpanField("scope", "version", text, "nullif(c.version, '')"),
        SpanField("scope", "schemaURL", text, "nullif(c.schema_url, '')"),
        SpanField("event", "name", text, "(e.v ->> 'name')"),
        SpanField("event", "time", Holds.INSTANT, _EVENT_TIME),
        SpanField("event", "timeSinceStart", Holds.DURATION, f"({_EVENT_TIME} - {START})"),
        SpanField("link", "traceID", Holds.ID, "(l.v ->> 'trace_id')", 32),
        SpanField("link", "spanID", Holds.ID, "(l.v ->> 'span_id')", 16),
        SpanField("link", "traceState", text, "nullif(l.v ->> 'trace_state', '')"),
    ]
    return {(field.level, field.name): field for field in made}


FIELDS = _fields()
_ALIASES = {
    ("span", "operationname"): "name",
    ("span", "operation"): "name",
    ("span", "spankind"): "kind",
    ("span", "statuscode"): "status",
    ("span", "statusdescription"): "statusMessage",
    ("resource", "servicename"): "service",
    ("resource", "service.name"): "service",
    ("event", "timestamp"): "time",
}
_KNOWN = {(level, name.lower()): name for level, name in FIELDS} | _ALIASES


def field_named(name: str, level: str, at: str) -> SpanField:
    """The field; without a level it is the span's, else the resource's.

    Raises:
        Refused: there is none. `at` names the place.
    """
    if level and level not in LEVELS:
        raise Refused(f"{at}: {level[:100]!r} is not a level; use one of {', '.join(LEVELS)}.")
    plain = name.replace("_", "").lower()
    for candidate in (level,) if level else ("span", "resource"):
        known = _KNOWN.get((candidate, plain))
        if known is not None:
            return FIELDS[candidate, known]
    there = ", ".join(field.name for field in FIELDS.values() if field.level == (level or "span"))
    raise Refused(f"{at}: the level {level or 'span'} has no field {name[:100]!r}; it has {there}.")
