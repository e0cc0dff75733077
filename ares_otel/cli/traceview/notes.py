"""What stands under a span: log records, events, links, and times in which nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from ares_otel.query.instant import to_micros
from ares_otel.query.rows import LogRow, SpanRow

_VALUE = 200
"""Characters of an attribute's value; the picture cuts further."""
_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say, at a time in nanoseconds. `text` is the sender's: it is made harmless where it is shown."""

    kind: Literal["log", "event", "link", "gap", "clock"]
    at: int
    text: str = ""
    level: str = ""
    """Of a log record: DEBUG, INFO, WARN or ERROR; ERROR of an exception."""
    length: int = 0
    """Of a gap, or by how much a span was moved, in nanoseconds."""


def log_note(row: LogRow, service: str | None) -> Note:
    """A log record. `service`: of its span; the record's own is said where it is another."""
    text = row.message if row.message is not None else row.body or row.event_name or ""
    if row.service_name != service:
        text = f"{row.service_name}: {text}"
    return Note("log", log_time(row), text[:_TEXT], row.log_level)


def log_time(row: LogRow) -> int:
    """When it happened, as its sender said."""
    if row.original_time_unix_nano is not None and row.original_time_unix_nano:
        return int(row.original_time_unix_nano)
    return to_micros(row.timestamp) * 1000 + row.timestamp_ns


def event_note(event: Mapping[str, Any], reason: str | None = None) -> Note:
    """An event of a span, as `service_spans.events` has it.

    Args:
        reason: why the span failed, which is shown already: an exception need not say it again.
    """
    attributes = dict(event.get("attributes") or {})
    name, level = str(event.get("name", "")), ""
    if name == "exception":
        level = "ERROR"
        kind = value_text(attributes.pop("exception.type", ""))
        message = value_text(attributes.pop("exception.message", ""))
        for key in ("exception.stacktrace", "exception.escaped"):
            attributes.pop(key, None)
        name = f"exception {kind}"
        if message and message not in (reason or ""):
            name += f": {message}"
    text = name + "".join(f"  {key}={value_text(value)}" for key, value in attributes.items())
    return Note("event", int(event.get("time_unix_nano", 0)), text[:_TEXT], level)


def link_note(link: Mapping[str, Any], row: SpanRow, at: int) -> Note:
    """A link of a span, as `service_spans.links` has it. `at`: the span's start."""
    trace, span = str(link.get("trace_id", "")), str(link.get("span_id", ""))
    text = f"span {span}" + ("" if trace == row.trace_id.hex else f" of trace {trace}")
    for key, value in (link.get("attributes") or {}).items():
        text += f"  {key}={value_text(value)}"
    return Note("link", at, text[:_TEXT])


def value_text(value: Any) -> str:
    """An attribute's value in a line: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _VALUE else text[:_VALUE] + "…"


def attribute_lines(attributes: str, most: int = 40) -> list[str]:
    """`key = value` for each attribute (of JSON text), by key; the last line says how many are left out."""
    values = orjson.loads(attributes)
    lines = [f"{key} = {value_text(values[key])}" for key in sorted(values)]
    return lines if len(lines) <= most else [*lines[:most], f"{len(lines) - most} more attributes"]
