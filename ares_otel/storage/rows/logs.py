"""ExportLogsServiceRequest → rows of service_logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.context import (
    Encoding,
    optional_bytes,
    optional_count,
    optional_numeric,
)
from ares_otel.storage.rows.copy_format import EPOCH_US, INT4_MAX, INT4_MIN, NULL
from ares_otel.storage.rows.encoded import LOG_ROLLUPS, LOGS, Window
from ares_otel.storage.rows.envelope import walk
from ares_otel.storage.rows.rollups import LogIncrements
from ares_otel.storage.rows.spans import NO_SPAN_ID, NO_TRACE_ID
from ares_otel.storage.rows.values import InvalidItem, json_text, json_value

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
_LEVEL_BY_NUMBER = (None, *["DEBUG"] * 8, *["INFO"] * 4, *["WARN"] * 4, *["ERROR"] * 8)
# The logs data model, appendix B: how well-known sources name their levels.
_LEVEL_BY_TEXT = {
    **dict.fromkeys(("trace", "finest", "finer", "fine", "debug", "verbose", "config", "dbg"), "DEBUG"),
    **dict.fromkeys(("info", "information", "informational", "notice", "default", "log"), "INFO"),
    **dict.fromkeys(("warn", "warning"), "WARN"),
    **dict.fromkeys(
        ("err", "error", "severe", "failure", "crit", "critical", "alert", "emerg", "emergency", "fatal", "panic"),
        "ERROR",
    ),
}

_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[LOGS]))
_UUID = copy_format.length(16)
_SPAN_ID = copy_format.length(8)
_LEVEL_FIELDS = {level: copy_format.text(level) for level in LEVELS}
_FIXED = copy_format.fixed_fields("qhiq")  # timestamp, timestamp_ns, severity_number, flags
_FIXED_OBSERVED = copy_format.fixed_fields("qhiqqh")  # and observed_timestamp, observed_ns


def encode_logs(encoding: Encoding, request: ExportLogsServiceRequest) -> None:
    """Writes the rows of a request into `encoding.out`."""
    increments = LogIncrements()
    for envelope, log_records in walk(encoding, request.resource_logs, "scope_logs", "log_records"):
        prefix = _HEAD + encoding.shared + envelope.fields
        encoding.append(LOGS, log_records, _log_encoder(encoding, prefix, envelope.service_name, increments))
    encoding.add_increments(LOG_ROLLUPS, increments.rows(encoding.tenant_id))


def _log_encoder(
    encoding: Encoding, prefix: bytes, service_name: str, increments: LogIncrements
) -> Callable[[LogRecord], bytes]:
    """A function that turns a log record of one scope into a tuple and notes it in `increments`. Raises InvalidItem."""
    window = encoding.windows[LOGS]
    received_ns = encoding.filing_ns(window)
    attributes = encoding.attributes

    def encode(record: LogRecord) -> bytes:
        time = record.time_unix_nano
        observed = record.observed_time_unix_nano
        filed, original = file_time(time, observed, window, received_ns)
        filed_us, filed_ns = divmod(filed, 1000)
        severity = record.severity_number
        if observed:
            observed_us, observed_ns = divmod(observed, 1000)
            fixed = _FIXED_OBSERVED(
                *(8, filed_us - EPOCH_US, 2, filed_ns, 4, severity, 8, record.flags),
                *(8, observed_us - EPOCH_US, 2, observed_ns),
            )
        else:
            fixed = _FIXED(8, filed_us - EPOCH_US, 2, filed_ns, 4, severity, 8, record.flags) + NULL + NULL
        fields, metadata, attributes_raw = attributes(record.attributes, "metadata")
        message, body, body_raw = _encode_body(encoding, record)
        severity_text = record.severity_text
        trace_id = _encode_id(record.trace_id, _UUID, NO_TRACE_ID, "log_record.trace_id must be empty or 16 bytes")
        level = log_level(severity, severity_text)
        row = b"".join(
            (
                prefix,
                trace_id,
                _encode_id(record.span_id, _SPAN_ID, NO_SPAN_ID, "log_record.span_id must be empty or 8 bytes"),
                _LEVEL_FIELDS[level],
                fixed,
                encoding.optional_text(severity_text, "severity_text"),
                message,
                metadata,
                _encode_code_attributes(encoding, fields),
                body,
                optional_bytes(body_raw),
                optional_bytes(attributes_raw),
                encoding.optional_text(record.event_name, "event_name"),
                optional_count(record.dropped_attributes_count),
                optional_numeric(original),
            )
        )
        increments.note(filed, service_name, level, trace_id[4:])  # the field without its length: empty for NULL
        return row

    return encode


def file_time(time: int, observed: int, window: Window, received_ns: int) -> tuple[int, int | None]:
    """Under which time a record is filed (nanoseconds since 1970), and its own time where that is another one.

    That is the record's time, else its observed time, else the receive time; a time outside the window of partitions is
    replaced by the receive time.
    """
    if time:
        return (time, None) if window.start_ns <= time < window.end_ns else (received_ns, time)
    if observed and window.start_ns <= observed < window.end_ns:
        return observed, 0
    return received_ns, 0


def log_level(severity_number: int, severity_text: str) -> str:
    """DEBUG, INFO, WARN or ERROR: by the number, else by the text, else INFO."""
    if 0 < severity_number <= 24:
        level = _LEVEL_BY_NUMBER[severity_number]
        assert level is not None
        return level
    if severity_text:
        return _LEVEL_BY_TEXT.get(severity_text.strip().lower(), "INFO")
    return "INFO"


def _encode_id(value: bytes, length: bytes, zero: bytes, reason: str) -> bytes:
    """A uuid or bytea field, NULL for an empty or all-zero id."""
    if not value or value == zero:
        return NULL
    if len(value) != len(zero):
        raise InvalidItem(reason)
    return length + value


def _encode_body(encoding: Encoding, record: LogRecord) -> tuple[bytes, bytes, bytes | None]:
    """The fields message and body, and the protobuf encoding where they are not exact.

    A string body is the message; of another one the message is the JSON text. No body and a body without a value have
    neither; they differ in the encoding, which is empty for the latter.
    """
    value = record.body
    if text := value.string_value:
        message = encoding.text(text, "message")
        return message, NULL, value.SerializeToString() if "\0" in text else None
    if not record.HasField("body"):
        return NULL, NULL, None
    return _encode_other_body(encoding, value)


def _encode_other_body(encoding: Encoding, value: AnyValue) -> tuple[bytes, bytes, bytes | None]:
    if value.WhichOneof("value") == "string_value":
        return copy_format.text(""), NULL, None
    shown, exact = json_value(value)
    if shown is None:
        return NULL, NULL, value.SerializeToString()
    json, clean = json_text(shown, "body", encoding.replaced)
    return (
        copy_format.length(len(json)) + json,
        copy_format.jsonb(json),
        None if exact and clean else value.SerializeToString(),
    )


def _encode_code_attributes(encoding: Encoding, fields: dict[str, Any]) -> bytes:
    """The fields parent_span_id, source_file, source_line, as attributes give them."""
    parent = _parent_span_id(fields.get("parent_span_id"))
    file = fields.get("code.file.path") or fields.get("code.filepath")
    line = _source_line(fields.get("code.line.number"))
    if line is None:
        line = _source_line(fields.get("code.lineno"))
    return b"".join(
        (
            NULL if parent is None else _SPAN_ID + parent,
            encoding.text(file, "source_file") if file and isinstance(file, str) else NULL,
            NULL if line is None else copy_format.int4(line),
        )
    )


def _parent_span_id(value: object) -> bytes | None:
    """8 bytes from 16 hex digits; None for anything else and for the all-zero id."""
    if not isinstance(value, str) or len(value) != 16:
        return None
    try:
        parent = bytes.fromhex(value)
    except ValueError:
        return None
    return parent if len(parent) == 8 and parent != NO_SPAN_ID else None


def _source_line(value: object) -> int | None:
    """A line number that fits int4, from a number or from digits."""
    if isinstance(value, str) and 0 < len(value) <= 10 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and INT4_MIN <= value <= INT4_MAX:
        return value
    return None
