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
    UNKNOWN = "unknown"
    """A number of which nobody said what it is, or one line of a histogram; only of what came from a Prometheus."""


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


def accumulated_kind(metric_type: str) -> Kind:
    """The type of what deltas make when they are added up: counters and histograms."""
    return _NUMBERS.get(metric_type) or _DISTRIBUTIONS[metric_type]


def verbatim_kind(name: str, metric_type: str, told: str) -> Kind:
    """The type of a series that came as Prometheus has it, see `verbatim`.

    A series is what it says only where its lines are of that type: `x_bucket` of remote write says that it belongs to a
    histogram, but alone it is none.

    Args:
        metric_type: as it is stored.
        told: the type in Prometheus's words, "" where nobody said one.
    """
    if metric_type in _DISTRIBUTIONS:
        return _DISTRIBUTIONS[metric_type]
    if told == "info" and name.endswith("_info"):
        return Kind.INFO
    if told == "counter" or (metric_type == "counter" and not told):
        return Kind.COUNTER
    return Kind.GAUGE if metric_type != "counter" and told in ("gauge", "stateset", "info") else Kind.UNKNOWN
