"""Metrics through the native encoder: two tables of rows, and the series that are new."""

from __future__ import annotations

from ares_otel.model.batch import Batch
from ares_otel.model.errors import TooLarge
from ares_otel.storage.rows import _native
from ares_otel.storage.rows.context import EXPANDS, Encoding
from ares_otel.storage.rows.encoded import DELTAS, DISTRIBUTIONS, MAX_BYTES, SAMPLES, SERIES
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.rows.native_result import ODD, ODD_CLOCK, add_rows, by_uuid, fill, is_usual_clock

REASONS = (
    "",
    "metric.name must not be empty",
    "metric.sum.aggregation_temporality must be delta or cumulative",
    "metric.histogram.aggregation_temporality must be delta or cumulative",
    "metric.exponential_histogram.aggregation_temporality must be delta or cumulative",
    "histogram.bucket_counts must be one longer than explicit_bounds, or both empty",
    "histogram.explicit_bounds must be numbers that increase strictly",
    "histogram.count must be the sum of bucket_counts",
    "exponential_histogram.scale must be -10 to 20",
    "exponential_histogram.positive.bucket_counts must have at most 100000 buckets",
    "exponential_histogram.negative.bucket_counts must have at most 100000 buckets",
    "exponential_histogram.positive: offset plus the number of buckets must fit 32 bits",
    "exponential_histogram.negative: offset plus the number of buckets must fit 32 bits",
    "exponential_histogram.count must be zero_count plus all bucket_counts",
    "summary.quantile_values.quantile must be 0 to 1",
)
"""Why a point is rejected, by the extension's number. The texts are those of the reference."""


def encode_metrics(encoding: Encoding, batch: Batch, known: KnownSeries | None) -> str:
    """Points into `encoding.out`. Returns why the request is for the reference; empty when it is not.

    Raises:
        TooLarge: it takes too much as rows and definitions.
    """
    generation = None if known is None else known.generation  # before anything is looked up
    times: list[tuple[int, int, int]] = []
    for table in (SAMPLES, DISTRIBUTIONS):
        window = encoding.windows[table]
        filing_ns = encoding.filing_ns(window)
        if not is_usual_clock(window, filing_ns):
            return ODD_CLOCK
        times.append((window.start_ns, window.end_ns, filing_ns))
    samples_at, distributions_at = times
    made = _native.encode_metrics(
        batch.payload, batch.tenant_id, encoding.shared, samples_at, distributions_at, MAX_BYTES, known
    )
    if isinstance(made, int):
        return ODD[made]
    too_large, samples, sample_count, distributions, distribution_count, distributions_first = made[:6]
    if too_large:
        raise TooLarge(EXPANDS)
    out = encoding.out
    out.items, out.rejected, reasons = made[6:9]
    for reason, count in reasons:
        out.reasons[REASONS[reason]] = count
    tables = [(SAMPLES, samples, sample_count), (DISTRIBUTIONS, distributions, distribution_count)]
    for name, rows, count in reversed(tables) if distributions_first else tables:
        add_rows(out, name, rows, count)
    fill(out, *made[9:13])
    series, left_out, deltas, delta_count = made[13:]
    add_rows(out, DELTAS, deltas, delta_count)
    if series:
        out.definitions[SERIES] = by_uuid(series)
    if left_out:
        out.relies_on = generation
    return ""
