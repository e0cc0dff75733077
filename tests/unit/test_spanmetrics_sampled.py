"""Spans that a sampler kept, counted as those that they stand for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.connectors.points import MOST
from ares_otel.connectors.spanmetrics.sampled import AdjustedCounts
from ares_otel.model.thresholds import encode_threshold
from tests.support.spanmetrics import CALLS, DURATION, Place


@pytest.mark.parametrize(
    ("trace_state", "expected"),
    [
        ("", (1, False)),
        ("ot=th:8", (2, True)),
        ("ot=th:c", (4, True)),
        ("ot=rv:abcdef01234567;th:0", (1, True)),
        ("vendor=x, ot=p:8;th:f", (16, True)),
        ("ot=th:ffffffffffffff", (2**56, True)),
        ("ot=rv:abcdef01234567", (1, False)),
        ("vendor=th:8", (1, False)),
        ("ot=th:xyz", (1, False)),
        ("ot=th:123456789012345", (1, False)),
        ("ot=" + "a:b;" * 5000, (1, False)),
    ],
)
def test_the_threshold_of_a_trace_state_says_how_many_spans_one_stands_for(
    trace_state: str, expected: tuple[int, bool]
) -> None:
    assert AdjustedCounts().of(trace_state) == expected


def test_a_fraction_is_rounded_up_as_often_as_it_is_large() -> None:
    drawn = iter([0.49, 0.51, 0.0, 0.99])
    counts = AdjustedCounts(lambda: next(drawn))
    two_and_a_half = f"ot=th:{encode_threshold(2**56 * 3 // 5)}"  # two in five are kept
    assert [counts.of(two_and_a_half)[0] for _ in range(4)] == [3, 2, 3, 2]


@given(threshold=st.integers(min_value=0, max_value=2**56 - 2**46), seed=st.integers(0, 100))
def test_sums_of_many_spans_come_right(threshold: int, seed: int) -> None:
    counts = AdjustedCounts(random.Random(seed).random)
    text = f"ot=th:{encode_threshold(threshold)}"
    total = sum(counts.of(text)[0] for _ in range(1000))
    assert total / 1000 == pytest.approx(2**56 / (2**56 - threshold), abs=0.1)


@given(text=st.text(max_size=60) | st.text(alphabet="ot=hrv:;,08af ", max_size=40).map(lambda text: "ot=" + text))
def test_any_text_counts_one_or_more(text: str) -> None:
    count, known = AdjustedCounts().of(text)
    assert count >= 1
    assert known or count == 1


async def test_calls_durations_and_events_count_them_and_say_so_where_wanted() -> None:
    place = Place(
        enable_metrics_sampling_method=True,
        histogram={"exponential": {}},
        events={"enabled": True, "dimensions": [{"name": "kind"}]},
    )
    event = {"name": "e", "attributes": []}
    await place.see({"trace_state": "ot=th:c", "milliseconds": 3, "events": [event, event]}, {"milliseconds": 3})
    found = await place.flush()
    assert [(labels["sampling.method"], point.as_int) for labels, point in found[CALLS]] == [
        ("extrapolated", 4),
        ("counted", 1),
    ]
    assert [(point.count, point.sum) for _, point in found[DURATION]] == [(4, 12), (1, 3)]
    assert [sum(point.positive.bucket_counts) for _, point in found[DURATION]] == [4, 1]
    assert [point.as_int for _, point in found["traces.span.metrics.events"]] == [8]


@pytest.mark.parametrize("histogram", [{}, {"exponential": {}}])
async def test_counts_that_somebody_made_up_end_at_the_greatest_number(histogram: dict[str, object]) -> None:
    place = Place(histogram=histogram)
    await place.see(*({"trace_state": "ot=th:ffffffffffffff", "milliseconds": 0 if n % 2 else 3} for n in range(300)))
    found = await place.flush()
    ((_, calls),), ((_, duration),) = found[CALLS], found[DURATION]
    assert calls.as_int == duration.count == MOST
    kept = duration.positive.bucket_counts if histogram else duration.bucket_counts
    assert sum(kept) + (duration.zero_count if histogram else 0) == MOST
