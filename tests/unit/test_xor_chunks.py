"""Samples as Prometheus's chunks, read back by a decoder that was written from the description of the format."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.native_histogram import STALE_NAN_BITS
from ares_otel.model.prometheus.xor_chunks import SAMPLES, XorChunks, xor_chunks
from tests.support.chunks import Point, read_xor_chunk

SPECIAL = [STALE_NAN_BITS, 0x7FF8000000000001, 0xFFF8000000000123, 0x7FF << 52, 0xFFF << 52, 0, 1 << 63, 1, 2**64 - 1]
BITS = st.sampled_from(SPECIAL) | st.integers(0, 2**64 - 1) | st.integers(-1000, 1000).map(lambda n: bits_of(float(n)))
STEPS = (
    st.just(15_000)
    | st.integers(14_990, 15_010)
    | st.integers(1, 2**14)
    | st.sampled_from([8191, 8192, 8193, 65535, 65536, 65537, 524287, 524288, 524289])
    | st.integers(1, 2**62)
)


def bits_of(value: float) -> int:
    bits: int = struct.unpack(">Q", struct.pack(">d", value))[0]
    return bits


@st.composite
def series(draw: st.DrawFn) -> list[Point]:
    """Samples by time, which may be anywhere in an int64."""
    values = draw(st.lists(BITS, max_size=8) | st.lists(BITS, min_size=1, max_size=4).map(lambda some: some * 60))
    time = draw(st.sampled_from([0, -1, 1_700_000_000_000, -(2**63)]) | st.integers(-(2**62), 2**62))
    points = []
    for bits in values:
        points.append(Point(time, bits))
        time += draw(STEPS) if len(values) < 10 else 15_000 + bits % 7
        if time >= 2**63:
            break
    return points


def encoded(many: list[list[Point]], before: int = 0) -> XorChunks:
    """Chunks of several series, of which `before` other samples stand in front."""
    ends = np.cumsum([before, *map(len, many)])
    points = [Point(0, 0)] * before + [point for some in many for point in some]
    times = np.array([point.time for point in points], np.int64)
    values = np.array([point.bits for point in points], np.uint64).view(np.float64)
    return xor_chunks(ends, times, values)


def decoded(made: XorChunks, which: int) -> list[list[Point]]:
    return [
        read_xor_chunk(made.data[made.starts[i] : made.ends[i]])
        for i in range(made.of_series[which], made.of_series[which + 1])
    ]


@given(st.lists(series(), min_size=1, max_size=4), st.integers(0, 3))
def test_samples_come_back_bit_for_bit(many: list[list[Point]], before: int) -> None:
    made = encoded(many, before)
    for i, points in enumerate(many):
        chunks = decoded(made, i)
        assert [point for chunk in chunks for point in chunk] == points
        assert all(len(chunk) == SAMPLES for chunk in chunks[:-1])


@given(st.lists(series(), min_size=1, max_size=3))
def test_each_chunk_tells_its_first_and_last_time(many: list[list[Point]]) -> None:
    made = encoded(many)
    times = list(zip(made.min_times.tolist(), made.max_times.tolist(), strict=True))
    found = [(chunk[0].time, chunk[-1].time) for i in range(len(many)) for chunk in decoded(made, i)]
    assert found == times


@pytest.mark.parametrize("count", [1, 119, 120, 121, 240, 241])
def test_a_chunk_has_120_samples_at_most(count: int) -> None:
    points = [Point(1_700_000_000_000 + 15_000 * i, bits_of(float(i))) for i in range(count)]
    assert [len(chunk) for chunk in decoded(encoded([points]), 0)] == [120] * (count // 120) + [count % 120] * (
        count % 120 > 0
    )


def test_what_does_not_change_takes_two_bits_a_sample() -> None:
    points = [Point(1_700_000_000_000 + 15_000 * i, bits_of(math.pi)) for i in range(SAMPLES)]
    made = encoded([points])
    assert len(made.data[made.starts[0] : made.ends[0]]) <= 2 + 8 + 8 + 3 + SAMPLES * 2 // 8 + 1


def test_a_chunk_is_the_one_that_was_written_down_by_hand() -> None:
    """Two samples, 0 ms → 1.0 and 1 ms → 2.0: count, varint 0, the bits of 1.0, uvarint 1, then `11`, one leading
    zero in 5 bits, 11 significant ones in 6 bits and those, which are all ones."""
    made = encoded([[Point(0, bits_of(1.0)), Point(1, bits_of(2.0))]])
    value = f"{bits_of(1.0) ^ bits_of(2.0):064b}".strip("0")
    bits = f"{2:016b}{0:08b}{bits_of(1.0):064b}{1:08b}11{1:05b}{11:06b}{value}"
    assert len(value) == 11
    bits += "0" * (-len(bits) % 8)
    assert made.data[: made.ends[0]].hex() == int(bits, 2).to_bytes(len(bits) // 8, "big").hex()


def test_no_series_and_series_without_samples_have_no_chunks() -> None:
    assert encoded([[]]).of_series.tolist() == [0, 0]
    assert encoded([[], [Point(1, 2)], []]).of_series.tolist() == [0, 0, 1, 1]
