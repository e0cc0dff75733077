"""Types of metrics as Prometheus has them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    INFO = "info"
    """Facts that do not change: `target_info`. A gauge where the format knows no such type."""


DELTA = "delta"
_NUMBERS = {"gauge": Kind.GAUGE, "counter": Kind.COUNTER, "updowncounter": Kind.GAUGE}
_DISTRIBUTIONS = {"histogram": Kind.HISTOGRAM, "exponential_histogram": Kind.HISTOGRAM, "summary": Kind.SUMMARY}


def kind_of(metric_type: str, temporality: str | None) -> Kind | None:
    """The type of a metric of OTLP; None for one that Prometheus has no place for as it is: deltas.

    Args:
        metric_type: gauge, counter (a monotonic sum), updowncounter (another sum), histogram, exponential_histogram,
            summary.
        temporality: cumulative, delta, or a number that OTLP does not define; None for gauges and summaries.
    """
    if temporality is not None and temporality != "cumulative":
        return None
    return _NUMBERS.get(metric_type) or _DISTRIBUTIONS.get(metric_type)
