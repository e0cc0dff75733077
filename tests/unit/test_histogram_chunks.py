"""Native histograms as Prometheus's chunks, read back by an independent decoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.bit_writer import BitWriter
from ares_otel.model.prometheus.histogram_chunks import histogram_chunks
from ares_otel.model.prometheus.native_histogram import STALE_NAN, NativeHistogram, ResetHint, is_stale_bits
from tests.support.chunks import read_histogram_chunk

ONE = NativeHistogram(
    schema=3,
    count=12,
    sum=18.4,
    zero_threshold=2.0**-128,
    zero_count=2,
    positive_spans=((-2, 2), (1, 1)),
    positive_counts=(1.0, 2.0, 3.0),
    negative_spans=((0, 1),),
    negative_counts=(4.0,),
)
COUNTS = st.floats(0, 1e12) | st.integers(0, 50).map(float)


@st.composite
def histograms(draw: st.DrawFn) -> NativeHistogram:
    if draw(st.integers(0, 9)) == 0:
        return NativeHistogram(schema=0, count=0, sum=STALE_NAN)
    custom = draw(st.booleans())
    spans = draw(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 3)), max_size=2))
    negative = [] if custom else draw(st.lists(st.tuples(st.integers(-300, 300), st.integers(1, 3)), max_size=1))

    def counts(of: list[tuple[int, int]]) -> tuple[float, ...]:
        return tuple(draw(COUNTS) for _ in range(sum(length for _, length in of)))

    return NativeHistogram(
        schema=-53 if custom else draw(st.integers(-4, 8)),
        count=draw(COUNTS),
        sum=draw(st.floats(allow_nan=False)),
        zero_threshold=0.0 if custom else draw(st.sampled_from([0.0, 2.0**-128, 1e-128, 0.001, 1024.0, 2048.0])),
        zero_count=0.0 if custom else draw(COUNTS),
        positive_spans=tuple(spans),
        positive_counts=counts(spans),
        negative_spans=tuple(negative),
        negative_counts=counts(negative),
        custom_values=(0.005, 0.1, 2.5, 33_554.43, 33_554.431, 1e9, -1.0) if custom else (),
        reset_hint=draw(st.sampled_from(ResetHint)),
    )


@st.composite
def samples(draw: st.DrawFn) -> list[tuple[int, NativeHistogram]]:
    few = draw(st.lists(histograms(), min_size=1, max_size=3))
    many = [draw(st.sampled_from(few)) for _ in range(draw(st.integers(1, 8)))]
    time = draw(st.sampled_from([0, 1_700_000_000_000, -5]))
    found = []
    for histogram in many:
        found.append((time, histogram))
        time += draw(st.integers(1, 2**40) | st.just(15_000))
    return found


def chunks_of(some: list[tuple[int, NativeHistogram]]) -> list[list[tuple[int, NativeHistogram]]]:
    made = list(histogram_chunks([time for time, _ in some], [histogram for _, histogram in some]))
    read = [read_histogram_chunk(chunk.data) for chunk in made]
    assert [(chunk.min_time, chunk.max_time) for chunk in made] == [(some[0][0], some[-1][0]) for some in read]
    return read


def without_hint(histogram: NativeHistogram) -> NativeHistogram | None:
    """None for the end of a series, which is not equal to itself."""
    return None if is_stale_bits(histogram.sum) else replace(histogram, reset_hint=ResetHint.UNKNOWN)


@given(samples())
def test_histograms_come_back(some: list[tuple[int, NativeHistogram]]) -> None:
    read = [sample for chunk in chunks_of(some) for sample in chunk]
    assert [time for time, _ in read] == [time for time, _ in some]
    assert [without_hint(histogram) for _, histogram in read] == [without_hint(histogram) for _, histogram in some]


@given(samples())
def test_no_sample_is_told_to_be_without_a_reset_that_has_one(some: list[tuple[int, NativeHistogram]]) -> None:
    read = [sample for chunk in chunks_of(some) for _, sample in chunk]
    for i, histogram in enumerate(read):
        if histogram.reset_hint is ResetHint.NO:
            before = some[i - 1][1]
            assert histogram.count >= before.count
            assert all(new >= old for new, old in zip(histogram.positive_counts, before.positive_counts, strict=True))


@given(st.lists(histograms(), min_size=1, max_size=5))
def test_gauges_stay_gauges(some: list[NativeHistogram]) -> None:
    gauges = [replace(histogram, reset_hint=ResetHint.GAUGE) for histogram in some]
    for chunk in chunks_of(list(enumerate(gauges))):
        assert all(one.reset_hint is ResetHint.GAUGE for _, one in chunk if not is_stale_bits(one.sum))


@pytest.mark.parametrize(
    "after",
    [
        replace(ONE, count=11),
        replace(ONE, positive_counts=(1.0, 1.0, 3.0)),
        replace(ONE, zero_count=1),
        replace(ONE, schema=2),
        replace(ONE, positive_spans=((-2, 3),)),
        replace(ONE, reset_hint=ResetHint.YES),
        replace(ONE, sum=STALE_NAN),
    ],
    ids=["count", "bucket", "zero", "schema", "spans", "hint", "end"],
)
def test_a_chunk_ends_where_counts_go_down_or_the_buckets_are_others(after: NativeHistogram) -> None:
    assert [len(chunk) for chunk in chunks_of([(0, ONE), (1, ONE), (2, after)])] == [2, 1]


def test_a_chunk_has_120_samples_at_most() -> None:
    assert [len(chunk) for chunk in chunks_of([(time, ONE) for time in range(250)])] == [120, 120, 10]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(64, 70)), max_size=60))
def test_bits_are_written_one_after_the_other(numbers: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    for number, width in numbers:
        writer.write(number, width)
    bits = "".join(f"{number:0{width}b}" for number, width in numbers)
    bits += "0" * (-len(bits) % 8)
    assert writer.bytes() == int(bits or "0", 2).to_bytes(len(bits) // 8, "big")
