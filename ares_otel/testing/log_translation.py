"""Log records of the two kinds, `logging`'s and OpenTelemetry's, as the entries that a test reads."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk._logs import ReadWriteLogRecord

from ares_otel.testing.one_capture import LogEntry

_PLUMBING = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)
_PLUMBING_OF_ARES = "ares_otel.sdk"
_LEVELS = ((logging.CRITICAL, 21, "FATAL"), (logging.ERROR, 17, "ERROR"), (logging.WARNING, 13, "WARN"))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def is_plumbing(logger: str) -> bool:
    """Whether a logger is that of an exporter: that the application sends its data to nobody in a test is no fault of
    the code under test. What else OpenTelemetry logs is about how it is called, and is captured."""
    return logger.startswith(_PLUMBING) or logger == _PLUMBING_OF_ARES or logger.startswith(_PLUMBING_OF_ARES + ".")


def entry_of_otel(record: ReadWriteLogRecord) -> LogEntry:
    """A record of OpenTelemetry's Logs API. Its attributes are copied: processors behind may change them."""
    data = record.log_record
    scope = record.instrumentation_scope
    return LogEntry(
        timestamp=data.timestamp,
        observed_timestamp=data.observed_timestamp,
        severity_number=data.severity_number.value if data.severity_number is not None else 0,
        severity_text=data.severity_text,
        body=data.body,
        attributes=dict(data.attributes or {}),
        event_name=data.event_name,
        logger=scope.name if scope is not None else "",
        trace_id=data.trace_id or 0,
        span_id=data.span_id or 0,
        resource=record.resource,
        raw=record,
    )


def entry_of_logging(record: logging.LogRecord) -> LogEntry:
    """A record of `logging`, with the attributes that OpenTelemetry's handler for it gives. Values of `extra` stay as
    they are: a test may compare what an exporter could not carry."""
    context = trace.get_current_span().get_span_context()
    number, text = _severity(record)
    return LogEntry(
        timestamp=int(record.created * 1e9),
        observed_timestamp=None,
        severity_number=number,
        severity_text=text,
        body=record.getMessage(),
        attributes=_attributes(record),
        event_name=None,
        logger=record.name,
        trace_id=context.trace_id,
        span_id=context.span_id,
        resource=None,
        raw=record,
    )


def _severity(record: logging.LogRecord) -> tuple[int, str]:
    for level, number, text in _LEVELS:
        if record.levelno >= level:
            return number, text
    if record.levelno >= logging.INFO:
        return 9, record.levelname
    return (5 if record.levelno >= logging.DEBUG else 1), record.levelname


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    attributes = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    attributes["code.file.path"] = record.pathname
    attributes["code.function.name"] = record.funcName
    attributes["code.line.number"] = record.lineno
    if record.exc_info:
        kind, error, trail = record.exc_info
        if kind is not None:
            attributes["exception.type"] = kind.__name__
        if error is not None:
            attributes["exception.message"] = str(error)
        if trail is not None:
            attributes["exception.stacktrace"] = "".join(traceback.format_exception(kind, error, trail))
    return attributes
