"""OTLP's messages as bytes, put together from pieces: what is the same in every request is encoded once.

Source of the layout: protobuf documentation, "Encoding"; the field numbers are those of opentelemetry-proto. A test
compares all of it with the official messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ares_otel.model.prometheus.verbatim import CUSTOM, METADATA_BUCKETS, METADATA_TYPE, SCOPE_NAME, resource_of
from ares_otel.model.varint import varint

GAUGE, SUM, HISTOGRAM, EXPONENTIAL = 0x2A, 0x3A, 0x4A, 0x52
"""Tags of the kinds within `Metric`: the fields 5, 7, 9 and 10."""
_CUMULATIVE = b"\x10\x02"
_KIND_END = {GAUGE: b"", SUM: _CUMULATIVE + b"\x18\x01", HISTOGRAM: _CUMULATIVE, EXPONENTIAL: _CUMULATIVE}
_NUMBER = Struct("<BQBd").pack
_STARTED_NUMBER = Struct("<BQBQBd").pack
_TIME = Struct("<BQ").pack
_STARTED_TIME = Struct("<BQBQ").pack
_NO_RECORDED_VALUE = b"\x40\x01"
NUMBER_ATTRIBUTES = 0x3A
"""Tag of an attribute within `NumberDataPoint`."""


class Family(NamedTuple):
    """What the points of one metric of one resource share."""

    resource: bytes
    head: bytes
    """The metric's fields before its points."""
    tail: bytes
    """Those behind them."""
    kind: int


def field(tag: int, content: bytes) -> bytes:
    """A field with a length."""
    return b"%c%b%b" % (tag, varint(len(content)), content)


def metric_head(name: str) -> bytes:
    """The fields of a `Metric` before its points."""
    return Metric(name=name).SerializeToString()


def metric_tail(type_name: str, *, custom: bool = False) -> bytes:
    """The fields of a `Metric` behind its points: what Prometheus calls its type, and whether a histogram has custom
    buckets."""
    metric = Metric()
    for key, value in ((METADATA_TYPE, type_name), *([(METADATA_BUCKETS, CUSTOM)] if custom else [])):
        metric.metadata.add(key=key).value.string_value = value
    return metric.SerializeToString()


def attributes(labels: Iterable[tuple[str, str]]) -> bytes:
    """The attributes of a `NumberDataPoint`."""
    return b"".join(field(NUMBER_ATTRIBUTES, _pair(name, value)) for name, value in labels)


def resource(job: str, instance: str) -> bytes:
    """A `Resource`."""
    made = Resource()
    for name, value in resource_of(job, instance).items():
        made.attributes.add().MergeFromString(_pair(name, value))
    return made.SerializeToString()


def number_point(time_ns: int, start_ns: int, value: float, attributes: bytes) -> bytes:
    """A `NumberDataPoint` with a value."""
    if start_ns:
        return _STARTED_NUMBER(0x11, start_ns, 0x19, time_ns, 0x21, value) + attributes
    return _NUMBER(0x19, time_ns, 0x21, value) + attributes


def absent_point(time_ns: int, start_ns: int, attributes: bytes) -> bytes:
    """A `NumberDataPoint` without a recorded value: the end of a series."""
    times = _STARTED_TIME(0x11, start_ns, 0x19, time_ns) if start_ns else _TIME(0x19, time_ns)
    return times + attributes + _NO_RECORDED_VALUE


def request_of(families: Mapping[Family, list[bytes]]) -> bytes:
    """An `ExportMetricsServiceRequest` with the points of each family."""
    by_resource: dict[bytes, list[bytes]] = {}
    for family, points in families.items():
        data = b"".join([b"\x0a%b%b" % (varint(len(point)), point) for point in points]) + _KIND_END[family.kind]
        metric = b"%b%c%b%b%b" % (family.head, family.kind, varint(len(data)), data, family.tail)
        by_resource.setdefault(family.resource, []).append(field(0x12, metric))
    return b"".join(
        [field(0x0A, field(0x0A, of) + field(0x12, _SCOPE + b"".join(metrics))) for of, metrics in by_resource.items()]
    )


def _pair(name: str, value: str) -> bytes:
    """A `KeyValue`."""
    return field(0x0A, name.encode()) + field(0x12, field(0x0A, value.encode()))


_SCOPE = field(0x0A, InstrumentationScope(name=SCOPE_NAME).SerializeToString())
