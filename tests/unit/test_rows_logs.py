"""A log record as a row: what each column says, what is refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ares_otel.storage.rows.encoded import LOGS
from ares_otel.storage.rows.logs import log_level
from tests.support.copy_rows import rows_of
from tests.support.otlp_samples import any_value, log_record, logs_request, pairs
from tests.support.rows_encoding import HOUR, NOW, encoded, only_row

pytestmark = pytest.mark.usefixtures("encoder")


def row_of(**fields: Any) -> dict[str, Any]:
    return only_row(logs_request(records=[log_record(**fields)]), LOGS)


def test_a_log_record_becomes_a_row_that_reads_like_the_line() -> None:
    sent = log_record(time_unix_nano=NOW, observed_time_unix_nano=NOW + 1001, event_name="paid")
    row = only_row(logs_request("orders", [sent]), LOGS)
    assert (row["service_name"], row["log_level"], row["message"]) == ("orders", "INFO", "order 42 was paid")
    assert (row["severity_number"], row["severity_text"], row["event_name"]) == (9, "INFO", "paid")
    assert row["trace_id"].bytes == sent.trace_id
    assert row["span_id"] == sent.span_id
    assert (row["timestamp"], row["timestamp_ns"]) == divmod(NOW, 1000)
    assert (row["observed_timestamp"], row["observed_ns"]) == divmod(NOW + 1001, 1000)
    assert (row["source_file"], row["source_line"]) == ("/srv/shop/orders.py", 118)
    assert json.loads(row["metadata"])["code.function.name"] == "pay"
    assert (row["body"], row["body_raw"], row["attributes_raw"]) == (None, None, None)
    assert row["original_time_unix_nano"] is None


@pytest.mark.parametrize(
    ("number", "text", "level"),
    [
        *((number, "", "DEBUG") for number in (1, 4, 5, 8)),
        *((number, "", "INFO") for number in (9, 12)),
        *((number, "", "WARN") for number in (13, 16)),
        *((number, "", "ERROR") for number in (17, 20, 21, 24)),
        (0, "Trace", "DEBUG"),
        (0, "notice", "INFO"),
        (0, "WARNING", "WARN"),
        (0, "Critical", "ERROR"),
        (0, "fatal", "ERROR"),
        (0, "", "INFO"),
        (0, "chatty", "INFO"),
        (99, "error", "ERROR"),
        (-1, "", "INFO"),
        (9, "error", "INFO"),
    ],
)
def test_the_level_follows_the_number_and_else_the_text(number: int, text: str, level: str) -> None:
    assert log_level(number, text) == level


@pytest.mark.parametrize(
    ("time", "observed", "filed", "original"),
    [
        (NOW - HOUR, NOW, NOW - HOUR, None),
        (0, NOW - HOUR, NOW - HOUR, 0),
        (0, 0, NOW, 0),
        (0, NOW + 48 * HOUR, NOW, 0),
        (1, NOW - HOUR, NOW, 1),
        (2**64 - 1, 0, NOW, 2**64 - 1),
    ],
    ids=["own time", "observed time", "neither", "observed time too far", "1970", "2554"],
)
def test_the_event_time_is_the_records_else_the_observed_else_the_receive_time(
    time: int, observed: int, filed: int, original: int | None
) -> None:
    row = row_of(time_unix_nano=time, observed_time_unix_nano=observed)
    assert row["timestamp"] * 1000 + row["timestamp_ns"] == filed
    assert row["original_time_unix_nano"] == original


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        (None, (None, None, None)),
        (AnyValue(), (None, None, b"")),
        (any_value(""), ("", None, None)),
        (any_value("text"), ("text", None, None)),
        (any_value(42), ("42", "42", None)),
        (any_value({"a": [1, 2.0]}), ('{"a":[1,2.0]}', '{"a":[1,2.0]}', None)),
        (any_value(b"\x01"), ('"AQ=="', '"AQ=="', any_value(b"\x01").SerializeToString())),
        (any_value("a\0b"), ("a\ufffdb", None, any_value("a\0b").SerializeToString())),
    ],
    ids=["none", "not set", "empty", "string", "int", "object", "bytes", "nul"],
)
def test_the_body_is_the_message_and_other_types_are_json_too(body: AnyValue | None, columns: tuple[Any, ...]) -> None:
    row = row_of(body=body)
    assert (row["message"], row["body"], row["body_raw"]) == columns


@pytest.mark.parametrize("field", ["trace_id", "span_id"])
def test_a_log_record_needs_no_ids_but_wrong_ones_are_refused(field: str) -> None:
    size = 16 if field == "trace_id" else 8
    assert row_of(**{field: b""})[field] is None
    assert row_of(**{field: bytes(size)})[field] is None
    result = encoded(logs_request(records=[log_record(), log_record(**{field: b"x" * (size - 1)})]))
    assert (result.stored, result.rejected) == (1, 1)
    assert result.reasons == {f"log_record.{field} must be empty or {size} bytes": 1}


@pytest.mark.parametrize(
    ("attributes", "file", "line"),
    [
        ({"code.filepath": "a.py", "code.lineno": 3}, "a.py", 3),
        ({"code.file.path": "b.py", "code.filepath": "a.py", "code.line.number": "17"}, "b.py", 17),
        ({"code.file.path": 5, "code.line.number": 2**31}, None, None),
        ({"code.line.number": "x", "code.lineno": -1}, None, -1),
        ({"code.line.number": True}, None, None),
        ({"code.line.number": "99999999999"}, None, None),
    ],
)
def test_source_file_and_line_come_from_the_code_attributes(
    attributes: dict[str, Any], file: str | None, line: int | None
) -> None:
    row = row_of(attributes=pairs(attributes))
    assert (row["source_file"], row["source_line"]) == (file, line)


@pytest.mark.parametrize(
    ("value", "parent"),
    [("00f067aa0ba902b7", bytes.fromhex("00f067aa0ba902b7")), ("0" * 16, None), ("xyz", None), (7, None)],
)
def test_the_parent_span_comes_from_its_attribute(value: Any, parent: bytes | None) -> None:
    assert row_of(attributes=pairs({"parent_span_id": value}))["parent_span_id"] == parent


def test_an_empty_log_record_is_a_row_too() -> None:
    row = only_row(logs_request(records=[LogRecord()]), LOGS)
    assert (row["log_level"], row["severity_number"], row["metadata"]) == ("INFO", 0, "{}")
    assert [name for name in ("message", "severity_text", "event_name", "trace_id", "span_id") if row[name]] == []


def test_nul_in_a_message_is_replaced_for_readers_and_counted() -> None:
    result = encoded(logs_request(records=[log_record(body=any_value("\0"), severity_text="\0\0")]))
    assert rows_of(result, LOGS)[0]["message"] == "\ufffd"
    assert result.replaced == {"message": 1, "severity_text": 2}
