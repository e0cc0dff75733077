"""Decodes remote write requests and reads what they became."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from ares_otel.model.prometheus.verbatim import METADATA_TYPE
from ares_otel.receivers.prometheusremotewrite.decode import decode_v1, decode_v2
from ares_otel.receivers.prometheusremotewrite.series import SeriesBook
from ares_otel.receivers.prometheusremotewrite.written import Decoded
from tests.support.remote_write import NOW_MS, Told, request_v1, request_v2

NOW_NS = NOW_MS * 10**6
Decode = Callable[[Sequence[Told]], Decoded]


def first(told: Sequence[Told], book: SeriesBook | None = None) -> Decoded:
    return decode_v1(request_v1(told).SerializeToString(), NOW_NS, book or SeriesBook(2**20))


def second(told: Sequence[Told], book: SeriesBook | None = None) -> Decoded:
    return decode_v2(request_v2(told).SerializeToString(), NOW_NS, book or SeriesBook(2**20))


both = pytest.mark.parametrize("decode", [first, second], ids=["1.0", "2.0"])


def otlp(decoded: Decoded) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(decoded.payload)


def metrics(decoded: Decoded) -> list[tuple[dict[str, str], Metric]]:
    """Each metric with the attributes of its resource."""
    return [
        ({pair.key: pair.value.string_value for pair in found.resource.attributes}, metric)
        for found in otlp(decoded).resource_metrics
        for scope in found.scope_metrics
        for metric in scope.metrics
    ]


def only_metric(decoded: Decoded) -> Metric:
    [(_, metric)] = metrics(decoded)
    return metric


def type_of(metric: Metric) -> str:
    found = {pair.key: pair.value.string_value for pair in metric.metadata}
    assert next(iter(found)) == METADATA_TYPE
    return found[METADATA_TYPE]


def labels_of(point: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in point.attributes}
