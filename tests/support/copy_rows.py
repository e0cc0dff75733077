"""A reader of binary COPY tuples, written apart from the encoders: what PostgreSQL would see in the bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.encoded import EncodedBatch

_TYPES = {
    "uuid": "trace_id resource_id scope_id series_id",
    "bytea": "span_id parent_span_id attributes_raw events_raw links_raw body_raw point_raw",
    "text": "service_name operation_name kind status status_message trace_state log_level severity_text message "
    "source_file event_name",
    "jsonb": "attributes events links metadata body exemplars",
    "timestamp with time zone": "received_at start_time timestamp observed_timestamp minute",
    "smallint": "start_ns timestamp_ns observed_ns",
    "integer": "tenant_id status_code severity_number source_line scale positive_offset negative_offset",
    "bigint": "duration_ns flags dropped_attributes_count dropped_events_count dropped_links_count value_int count "
    "zero_count calls errors duration_ns_sum duration_ns_max debug info warn error threshold",
    "double precision": "duration_ms value sum min max zero_threshold",
    "numeric(20,0)": "original_time_unix_nano original_end_unix_nano",
    "bigint[]": "bucket_counts positive_counts negative_counts counts trace_hashes",
    "smallint[]": "buckets",
    "double precision[]": "explicit_bounds quantiles quantile_values",
}
ENCODED_AS = {column: kind for kind, columns in _TYPES.items() for column in columns.split()}
"""The type each column's bytes are made for."""


def _numeric(data: bytes) -> int:
    count, weight, sign, scale, *digits = struct.unpack(f">{len(data) // 2}h", data)
    assert (sign, scale, count) == (0, 0, len(digits))
    return int(sum(digit * 10_000 ** (weight - place) for place, digit in enumerate(digits)))


def _array(code: str) -> Callable[[bytes], list[Any]]:
    def read(data: bytes) -> list[Any]:
        dimensions, has_null, _ = struct.unpack_from(">iii", data)
        assert not has_null
        if not dimensions:
            return []
        (count,) = struct.unpack_from(">i", data, 12)
        step = 4 + struct.calcsize(">" + code)
        return [struct.unpack_from(">" + code, data, 20 + step * place + 4)[0] for place in range(count)]

    return read


def _number(code: str) -> Callable[[bytes], Any]:
    return lambda data: struct.unpack(">" + code, data)[0]


_READERS: dict[str, Callable[[bytes], Any]] = {
    "uuid": lambda data: UUID(bytes=data),
    "bytea": bytes,
    "text": bytes.decode,
    "jsonb": lambda data: data[1:].decode(),
    "timestamp with time zone": lambda data: int.from_bytes(data, "big", signed=True) + 946_684_800_000_000,
    "smallint": _number("h"),
    "integer": _number("i"),
    "bigint": _number("q"),
    "double precision": _number("d"),
    "numeric(20,0)": _numeric,
    "bigint[]": _array("q"),
    "smallint[]": _array("h"),
    "double precision[]": _array("d"),
}


def rows_of(encoded: EncodedBatch, table: str) -> list[dict[str, Any]]:
    """The rows of a table by column. Times are microseconds since 1970, jsonb is its text."""
    rows = encoded.tables.get(table)
    if rows is None:
        return []
    data, place, found = bytes(rows.data), 0, []
    while place < len(data):
        row, place = _row(data, place, COPY_COLUMNS[table])
        found.append(row)
    assert len(found) == rows.count
    return found


def _row(data: bytes, place: int, columns: tuple[str, ...]) -> tuple[dict[str, Any], int]:
    """The tuple at `place`, and where the next one begins."""
    (count,) = struct.unpack_from(">h", data, place)
    assert count == len(columns)
    row: dict[str, Any] = {}
    place += 2
    for column in columns:
        (length,) = struct.unpack_from(">i", data, place)
        place += 4
        row[column] = None if length < 0 else _READERS[ENCODED_AS[column]](data[place : place + length])
        place += max(length, 0)
    return row, place
