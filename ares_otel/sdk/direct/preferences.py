"""What the metric exporter prefers, by the variables that the OTLP exporters read.

Source: OpenTelemetry specification, "Metrics Exporter - OTLP", "Additional Environment Variable Configuration".
"""

from __future__ import annotations

import logging
import os

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
)
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)

_KINDS = (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter, ObservableGauge)
_DELTA: dict[str, tuple[type, ...]] = {
    "CUMULATIVE": (),
    "DELTA": (Counter, Histogram, ObservableCounter),
    "LOWMEMORY": (Counter, Histogram),
}
"""Preference → instruments with delta temporality."""
_AGGREGATIONS: dict[str, type[Aggregation]] = {
    "explicit_bucket_histogram": ExplicitBucketHistogramAggregation,
    "base2_exponential_bucket_histogram": ExponentialBucketHistogramAggregation,
}

log = logging.getLogger("ares_otel.sdk.direct")


def temporality(given: dict[type, AggregationTemporality] | None) -> dict[type, AggregationTemporality]:
    """By class of instrument; what is given wins."""
    variable = OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE
    preference = os.environ.get(variable, "").strip().upper() or "CUMULATIVE"
    if preference not in _DELTA:
        log.warning("%s must be one of %s, not %s; cumulative holds.", variable, ", ".join(_DELTA), preference)
        preference = "CUMULATIVE"
    delta = _DELTA[preference]
    found = {
        kind: AggregationTemporality.DELTA if kind in delta else AggregationTemporality.CUMULATIVE for kind in _KINDS
    }
    return found | (given or {})


def aggregation(given: dict[type, Aggregation] | None) -> dict[type, Aggregation]:
    """By class of instrument; what is given wins."""
    variable = OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION
    preference = os.environ.get(variable, "").strip().lower() or "explicit_bucket_histogram"
    if preference not in _AGGREGATIONS:
        log.warning("%s must be one of %s, not %s.", variable, ", ".join(_AGGREGATIONS), preference)
        preference = "explicit_bucket_histogram"
    return {Histogram: _AGGREGATIONS[preference]()} | (given or {})
