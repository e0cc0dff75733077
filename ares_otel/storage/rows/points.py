"""What the points of all metric types share: filing time, start, flags, exemplars and the exact encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Exemplar

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.context import (
    Encoding,
    optional_bytes,
    optional_count,
    optional_numeric,
    optional_time,
)
from ares_otel.storage.rows.copy_format import EPOCH_US, INT8_MAX, NULL
from ares_otel.storage.rows.encoded import Window
from ares_otel.storage.rows.values import json_double, json_object, json_text

_NO_RECORDED_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_TIME = copy_format.fixed_fields("qh")


def is_absent(point: Any) -> bool:
    """Whether the point says that there is no value (flag NoRecordedValue)."""
    return bool(point.flags & _NO_RECORDED_VALUE)


def encode_time(point: Any, window: Window, received_ns: int) -> tuple[bytes, int | None]:
    """The fields timestamp and timestamp_ns, and the point's own time where it is filed under the receive time."""
    time = filed = point.time_unix_nano
    original = None
    if not window.start_ns <= time < window.end_ns or not time:
        original, filed = time, received_ns
    us, ns = divmod(filed, 1000)
    return _TIME(8, us - EPOCH_US, 2, ns), original


def encode_end(encoding: Encoding, point: Any, original: int | None, *, exact: bool) -> bytes:
    """The fields from start_time to original_time_unix_nano, with which the tuples of all points end.

    Args:
        exact: whether the columns before these hold all there is; else the whole point is kept beside them.
    """
    exemplars_field = NULL
    if exemplars := getattr(point, "exemplars", None):  # summaries have none
        exemplars_field, exemplars_exact = _encode_exemplars(encoding, exemplars)
        exact = exact and exemplars_exact
    return b"".join(
        (
            optional_time(point.start_time_unix_nano),
            optional_count(point.flags),
            exemplars_field,
            optional_bytes(None if exact else _raw_point(point)),
            optional_numeric(original),
        )
    )


def _raw_point(point: Message) -> bytes:
    """The protobuf encoding of a point without its attributes, which are the series' own."""
    copy = type(point)()
    copy.CopyFrom(point)
    copy.ClearField("attributes")
    return copy.SerializeToString()


def _encode_exemplars(encoding: Encoding, exemplars: Sequence[Exemplar]) -> tuple[bytes, bool]:
    exact = True
    items = []
    for exemplar in exemplars:
        value, value_exact = _exemplar_value(exemplar)
        attributes, attributes_exact = json_object(exemplar.filtered_attributes)
        items.append(
            {
                "time_unix_nano": exemplar.time_unix_nano,
                "value": value,
                "trace_id": exemplar.trace_id.hex(),
                "span_id": exemplar.span_id.hex(),
                "filtered_attributes": attributes,
            }
        )
        exact = exact and value_exact and attributes_exact
    text, clean = json_text(items, "exemplars", encoding.replaced)
    return copy_format.jsonb(text), exact and clean


def _exemplar_value(exemplar: Exemplar) -> tuple[float | int | str | None, bool]:
    kind = exemplar.WhichOneof("value")
    if kind == "as_double":
        return json_double(exemplar.as_double)
    if kind == "as_int":
        return exemplar.as_int, True
    return None, False


def clamp(count: int) -> int:
    """An unsigned 64-bit count as far as int8 goes; a larger one is exact in the point's encoding only."""
    return count if count <= INT8_MAX else INT8_MAX
