"""Parts of series that become whole ones."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from ares_otel.model.prometheus.native_histogram import STALE_NAN, NativeHistogram, is_stale_bits
from ares_otel.query.prometheus.pieces import Piece, whole

LABELS = (("__name__", "wait"), ("job", "shop"))
ONE = NativeHistogram(schema=0, count=1, sum=1.0, positive_spans=((0, 1),), positive_counts=(1.0,))
END = NativeHistogram(schema=0, count=0, sum=STALE_NAN)


def numbers(age: int, *samples: tuple[int, float]) -> Piece:
    times, values = [time for time, _ in samples], [value for _, value in samples]
    return Piece(LABELS, "gauge", _age(age), np.array(times, np.int64), np.array(values, np.float64))


def native(age: int, *samples: tuple[int, NativeHistogram]) -> Piece:
    histograms = [histogram for _, histogram in samples]
    values = np.array([histogram.sum if is_stale_bits(histogram.sum) else np.nan for histogram in histograms])
    times = np.array([time for time, _ in samples], np.int64)
    return Piece(LABELS, "histogram", _age(age), times, values, histograms)


def _age(day: int) -> tuple[datetime, UUID]:
    return datetime(2026, 1, day, tzinfo=UTC), UUID(int=day)


@pytest.mark.parametrize("newest_only", [False, True])
def test_a_number_that_ends_a_native_histogram_ends_it(newest_only: bool) -> None:
    """A Prometheus writes the end of a native histogram as that of a number, which is stored as another series."""
    [made] = whole([numbers(2, (3, STALE_NAN)), native(1, (1, ONE), (2, ONE))], newest_only=newest_only)
    assert made.histograms is not None
    assert made.timestamps.tolist() == ([3] if newest_only else [1, 2, 3])
    assert len(made.histograms) == len(made.timestamps)
    assert is_stale_bits(made.histograms[-1].sum)
    assert is_stale_bits(made.values[-1])


def test_a_native_histogram_that_ends_ends_numbers_of_the_same_name() -> None:
    [made] = whole([numbers(1, (1, 5.0)), native(2, (2, END))])
    assert made.histograms is None
    assert made.timestamps.tolist() == [1, 2]
    assert is_stale_bits(made.values[1])


def test_of_numbers_and_native_histograms_of_one_name_the_older_ones_stay() -> None:
    [made] = whole([numbers(2, (1, 5.0), (3, 6.0)), native(1, (2, ONE))])
    assert (made.timestamps.tolist(), made.histograms) == ([2], [ONE])
    [made] = whole([numbers(1, (1, 5.0), (3, 6.0)), native(2, (2, ONE))])
    assert (made.timestamps.tolist(), made.histograms) == ([1, 3], None)
