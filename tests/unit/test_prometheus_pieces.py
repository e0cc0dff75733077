"""Stored series with the same labels become one series, each time once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.native_histogram import STALE_NAN, STALE_NAN_BITS, NativeHistogram
from ares_otel.query.prometheus.pieces import Piece, order_of, whole

LABELS = (("__name__", "wait"),)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def numbers(age: int, *samples: tuple[int, float]) -> Piece:
    return _piece(age, samples, None)


def histograms(age: int, *samples: tuple[int, float]) -> Piece:
    """Of so many measurements, NaN for none."""
    values = [
        (time, sum_ if np.float64(sum_).view(np.uint64) == STALE_NAN_BITS else float("nan")) for time, sum_ in samples
    ]
    return _piece(age, values, [NativeHistogram(schema=0, count=1, sum=sum_) for _, sum_ in samples])


def _piece(age: int, samples: Sequence[tuple[int, float]], told: list[NativeHistogram] | None) -> Piece:
    times = np.array([time for time, _ in samples], np.int64)
    values = np.array([value for _, value in samples], np.float64)
    return Piece(LABELS, "histogram", (NOW + timedelta(seconds=age), UUID(int=age)), times, values, told)


def ends(piece: Piece) -> list[int]:
    """The times at which it ends."""
    return [int(time) for time in piece.timestamps[piece.values.view(np.uint64) == STALE_NAN_BITS]]


def test_a_number_that_ends_a_series_of_native_histograms_is_its_end() -> None:
    for of_numbers, of_histograms in ((2, 1), (1, 2)):  # whichever was stored first
        [piece] = whole(
            [
                numbers(of_numbers, (3, STALE_NAN), (6, STALE_NAN)),
                histograms(of_histograms, (1, 0.5), (2, 0.7), (5, 0.1)),
            ]
        )
        assert piece.timestamps.tolist() == [1, 2, 3, 5, 6]
        assert ends(piece) == [3, 6]
        assert piece.histograms is not None
        assert [one.sum for one in piece.histograms if one.sum == one.sum] == [0.5, 0.7, 0.1]
        assert len(piece.histograms) == 5


def test_an_end_that_is_a_histogram_ends_a_series_of_numbers() -> None:
    [piece] = whole([numbers(1, (1, 4.0), (2, 5.0)), histograms(2, (3, STALE_NAN))])
    assert piece.histograms is None
    assert piece.timestamps.tolist() == [1, 2, 3]
    assert ends(piece) == [3]


def test_of_numbers_and_histograms_the_older_series_counts() -> None:
    [piece] = whole([numbers(1, (1, 4.0)), histograms(2, (2, 0.5))])
    assert (piece.timestamps.tolist(), piece.values.tolist(), piece.histograms) == ([1], [4.0], None)


def test_the_newest_sample_alone_may_be_an_end() -> None:
    [piece] = whole([histograms(1, (1, 0.5)), numbers(2, (3, STALE_NAN))], newest_only=True)
    assert piece.timestamps.tolist() == [3]
    assert ends(piece) == [3]


TEXTS = st.text(st.sampled_from("\x01 aAz\u00e9\uffff\U0001f600"), max_size=4)


@given(st.lists(st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple), max_size=6))
def test_a_text_orders_series_as_their_labels_do(series: list[tuple[tuple[str, str], ...]]) -> None:
    filled = [tuple((name + "n", value + "v") for name, value in labels) for labels in series]
    assert sorted(filled, key=order_of) == sorted(filled)
