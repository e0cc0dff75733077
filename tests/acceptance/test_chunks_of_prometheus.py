"""A real Prometheus as the judge of chunks: what it encodes of its own samples is what Ares encodes of them, bit by
bit, and the same for what was
written to it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

import cramjam
import httpx
import numpy as np
import pytest

from ares_otel.model.prometheus.histogram_chunks import histogram_chunks
from ares_otel.model.prometheus.native_histogram import STALE_NAN, NativeHistogram, ResetHint
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.model.prometheus.read_records import histogram_message
from ares_otel.model.prometheus.xor_chunks import xor_chunks
from tests.support.chunks import Point, read_frames, read_histogram_chunk, read_xor_chunk
from tests.support.prometheus import BUILD_SECONDS, Prometheus, current_or_skip, running_prometheus
from tests.support.remote_read import CHUNKS, HEADERS, body_of, post, query

START = 1_700_000_000_000
VALUES = [
    [float(i) for i in range(250)],
    [math.sin(i) for i in range(100)],
    [1e300 * (-1) ** i for i in range(20)],
    [1.0, math.inf, -math.inf, math.nan, STALE_NAN, 0.0, -0.0, 5e-324, 1.0],
    [7.0] * 130,
]
GAPS = [15_000, 15_001, 14_990, 1, 8191, 8192 + 15_000, 65_536 + 15_000, 524_288 + 30_000, 600_000, 15_000]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Prometheus]:
    """A Prometheus that is written to and has nothing else."""
    arguments = ["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"]
    config = {"storage": {"tsdb": {"out_of_order_time_window": "30d"}}, "scrape_configs": []}
    with running_prometheus(current_or_skip(), config, arguments) as server:
        yield server


def points_of(values: list[float]) -> list[Point]:
    times = accumulate(GAPS[i % len(GAPS)] for i in range(len(values)))
    bits = (int.from_bytes(struct.pack(">d", value), "big") for value in values)
    return [Point(START + time, bit) for time, bit in zip(times, bits, strict=True)]


async def write(server: Prometheus, series: pb.TimeSeries) -> None:
    body = bytes(cramjam.snappy.compress_raw(pb.WriteRequest(timeseries=[series]).SerializeToString()))
    headers = {**HEADERS, "X-Prometheus-Remote-Write-Version": "0.1.0"}
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            answer = await client.post(f"{server.url}/api/v1/write", content=body, headers=headers)
        except httpx.TransportError as error:
            error.add_note(server.said)
            raise
    assert answer.status_code // 100 == 2, answer.text


async def chunks_of(server: Prometheus, name: str) -> list[pb.Chunk]:
    async with httpx.AsyncClient(trust_env=False) as client:
        body = body_of(query(("__name__", "=", name)), accepted=[CHUNKS])
        answer = await post(client, body, f"{server.url}/api/v1/read")
    assert answer.status_code == 200, answer.text
    return [chunk for frame in read_frames(answer.content) for chunk in frame.chunked_series[0].chunks]


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("which", range(len(VALUES)))
async def test_numbers_are_encoded_as_prometheus_encodes_them(receiver: Prometheus, which: int) -> None:
    written = points_of(VALUES[which])
    series = pb.TimeSeries(labels=[pb.Label(name="__name__", value=f"numbers_{which}")])
    for time, bits in written:
        series.samples.add(timestamp=time, value=struct.unpack(">d", bits.to_bytes(8, "big"))[0])
    await write(receiver, series)
    found: list[Point] = []
    for chunk in await chunks_of(receiver, f"numbers_{which}"):  # which it cuts where it likes
        points = read_xor_chunk(chunk.data)
        found += points
        times = np.array([point.time for point in points], np.int64)
        values = np.array([point.bits for point in points], np.uint64).view(np.float64)
        ours = xor_chunks(np.array([0, len(points)]), times, values)
        assert ours.data[: ours.ends[0]].hex() == chunk.data.hex()
        assert (ours.min_times[0], ours.max_times[0]) == (chunk.min_time_ms, chunk.max_time_ms)
    assert found == written


SPANS = ((-3, 2), (4, 3))
HISTOGRAMS = [
    NativeHistogram(
        schema=schema,
        count=20.5 + 7 * i,
        sum=3.25 * i,
        zero_threshold=threshold,
        zero_count=float(i),
        positive_spans=SPANS,
        positive_counts=(1.0 + i, 2.0 + i, 3.5 + i, 4.0, 5.0 + 2 * i),
        negative_spans=((100, 1),),
        negative_counts=(5.0 + i,),
    )
    for schema, threshold in ((3, 2.0**-128), (-4, 1e-128), (8, 0.0))
    for i in range(5)
]


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("hint", [ResetHint.UNKNOWN, ResetHint.GAUGE], ids=["counter", "gauge"])
async def test_native_histograms_are_encoded_as_prometheus_encodes_them(receiver: Prometheus, hint: ResetHint) -> None:
    name = f"histograms_{hint.name.lower()}"
    series = pb.TimeSeries(labels=[pb.Label(name="__name__", value=name)])
    written = [(START + 15_000 * i, replace(one, reset_hint=hint)) for i, one in enumerate(HISTOGRAMS)]
    for time, histogram in written:
        message = histogram_message(time, histogram)
        assert message.WhichOneof("count") == "count_float"
        series.histograms.append(message)
    await write(receiver, series)
    found = []
    for chunk in await chunks_of(receiver, name):
        assert chunk.type == pb.Chunk.FLOAT_HISTOGRAM
        samples = read_histogram_chunk(chunk.data)
        found += samples
        first = {0b00: hint, 0b10: ResetHint.YES}.get(chunk.data[2] >> 6, hint)
        hints = [first, *[hint] * len(samples)]
        whole = [replace(histogram, reset_hint=hints[i]) for i, (_, histogram) in enumerate(samples)]
        [ours] = histogram_chunks([time for time, _ in samples], whole)
        assert ours.data.hex() == chunk.data.hex()
        assert (ours.min_time, ours.max_time) == (chunk.min_time_ms, chunk.max_time_ms)
    assert [(time, replace(one, reset_hint=hint)) for time, one in found] == written
