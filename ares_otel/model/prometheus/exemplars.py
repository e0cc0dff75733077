"""Exemplars of OTLP as Prometheus has them: one a bucket, the newest, within 128 characters."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence

from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.labels import attribute_labels
from ares_otel.model.prometheus.text import ExemplarLine, exemplar_labels
from ares_otel.model.prometheus.values import any_value_text


def newest(exemplars: Iterable[Exemplar]) -> Exemplar:
    """The newest of some."""
    return max(exemplars, key=lambda exemplar: exemplar.time_unix_nano)


def by_bucket(
    bounds: Sequence[float], exemplars: Iterable[Exemplar], config: TranslationConfig
) -> dict[int, ExemplarLine]:
    """The newest exemplar of each classic bucket, by its place; `bounds` ascend and end with infinity."""
    found: dict[int, Exemplar] = {}
    for exemplar in sorted(exemplars, key=lambda exemplar: exemplar.time_unix_nano):
        value = value_of(exemplar)
        if not math.isnan(value):
            found[bisect_left(bounds, value)] = exemplar
    return {place: exemplar_line(exemplar, config) for place, exemplar in found.items()}


def by_native_bucket(schema: int, exemplars: Iterable[Exemplar], config: TranslationConfig) -> list[ExemplarLine]:
    """The newest exemplar of each bucket of a native histogram, the oldest first; those without a time are left out,
    for Prometheus has no place for them."""
    found: dict[Hashable, Exemplar] = {}
    for exemplar in sorted(exemplars, key=lambda exemplar: exemplar.time_unix_nano):
        value = value_of(exemplar)
        if exemplar.time_unix_nano and math.isfinite(value):
            index = math.ceil(math.log2(abs(value)) * 2.0**schema) if value else None
            found.pop((value > 0, index), None)  # the order is that of time
            found[value > 0, index] = exemplar
    return [exemplar_line(exemplar, config) for exemplar in found.values()]


def exemplar_line(exemplar: Exemplar, config: TranslationConfig) -> ExemplarLine:
    """Its labels, value and time."""
    attributes = {pair.key: any_value_text(pair.value) for pair in exemplar.filtered_attributes}
    try:
        filtered = attribute_labels(attributes, config).labels
    except Untranslatable:
        filtered = {}
    labels = exemplar_labels(exemplar.trace_id, exemplar.span_id, list(filtered.items()))
    return ExemplarLine(labels, value_of(exemplar), exemplar.time_unix_nano)


def value_of(exemplar: Exemplar) -> float:
    """Its value: a whole one is an int."""
    return exemplar.as_int if exemplar.WhichOneof("value") == "as_int" else exemplar.as_double
