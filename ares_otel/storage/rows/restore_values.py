"""Column values back to OTLP values: the inverse of `values` and of the time columns.

jsonb arrives as text (asyncpg's own way; a connection whose codec decodes it works too). Where a list has a protobuf
encoding beside it, that one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

Row = Mapping[str, Any]
"""A row by column name: an asyncpg.Record or a dict."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def json_column(value: Any) -> Any:
    """The content of a jsonb column; None for NULL."""
    return orjson.loads(value) if isinstance(value, (str, bytes)) else value


def any_value(value: Any) -> AnyValue:
    """An AnyValue from exact JSON: numbers with a fraction are doubles, others are ints."""
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
    return AnyValue()


def key_values(fields: Mapping[str, Any]) -> list[KeyValue]:
    """An attribute list from an exact JSON object."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in fields.items()]


def attributes(shown: Any, raw: bytes | None) -> Iterable[KeyValue]:
    """An attribute list from its jsonb column and its protobuf encoding, if it has one."""
    if raw is not None:
        return KeyValueList.FromString(raw).values
    return key_values(json_column(shown) or {})


def unix_nano(time: datetime | None, nanoseconds: int | None) -> int:
    """Nanoseconds since 1970 from a timestamptz and the nanoseconds beyond it; 0 for NULL."""
    if time is None:
        return 0
    return ((time - _EPOCH) // _MICROSECOND) * 1000 + (nanoseconds or 0)


def filed_time(row: Row, time: str, nanoseconds: str) -> int:
    """An item's own time: as sent where it was filed elsewhere, else what it is filed under."""
    original = row["original_time_unix_nano"]
    return int(original) if original is not None else unix_nano(row[time], row[nanoseconds])
