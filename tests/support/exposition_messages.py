"""Reads the protobuf exposition of Prometheus."""

from __future__ import annotations

from google.protobuf.internal.decoder import _DecodeVarint32  # type: ignore[attr-defined]

from ares_otel.model.prometheus.proto.exposition_pb2 import Histogram, Metric, MetricFamily

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


def families_of(body: bytes) -> dict[str, MetricFamily]:
    """The families of an answer by name; each is there once."""
    found: dict[str, MetricFamily] = {}
    place = 0
    while place < len(body):
        size, place = _DecodeVarint32(body, place)
        family = MetricFamily.FromString(body[place : place + size])
        assert family.name not in found, f"{family.name} is there twice"
        assert family.metric
        found[family.name] = family
        place += size
    assert place == len(body)
    return found


def labels_of(metric: Metric) -> dict[str, str]:
    """Its labels."""
    return {pair.name: pair.value for pair in metric.label}


def native_buckets(histogram: Histogram, side: str = "positive") -> dict[int, int]:
    """The counts of a native histogram by index."""
    deltas = list(getattr(histogram, f"{side}_delta"))
    found: dict[int, int] = {}
    index = count = 0
    for span in getattr(histogram, f"{side}_span"):
        index += span.offset
        for _ in range(span.length):
            count += deltas.pop(0)
            found[index] = count
            index += 1
    assert not deltas
    return found


def is_native(histogram: Histogram) -> bool:
    """As Prometheus decides it."""
    spans = histogram.positive_span or histogram.negative_span
    return bool(spans) or histogram.zero_threshold > 0 or histogram.zero_count > 0
