"""A client of remote read, and answers of it in one shape whichever type they have."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cramjam
import httpx
import numpy as np

from ares_otel.model.prometheus.native_histogram import NativeHistogram
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.query.prometheus.select import Selected
from tests.support.chunks import Point, read_frames, read_histogram_chunk, read_xor_chunk

PATH = "/prometheus/api/v1/read"
SAMPLES, CHUNKS = pb.ReadRequest.SAMPLES, pb.ReadRequest.STREAMED_XOR_CHUNKS
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
OPERATORS = {"=": pb.LabelMatcher.EQ, "!=": pb.LabelMatcher.NEQ, "=~": pb.LabelMatcher.RE, "!~": pb.LabelMatcher.NRE}


@dataclass
class Read:
    """A series of an answer."""

    labels: dict[str, str]
    points: list[Point] = field(default_factory=list)
    histograms: list[tuple[int, NativeHistogram | pb.Histogram]] = field(default_factory=list)

    @property
    def samples(self) -> list[tuple[int, float]]:
        """Times and values."""
        return [(point.time, struct.unpack(">d", point.bits.to_bytes(8, "big"))[0]) for point in self.points]


def query(*matchers: tuple[str, str, str], start: int = 0, end: int = 2**62, **hints: Any) -> pb.Query:
    """A query; a matcher is label, operator, value."""
    made = pb.Query(start_timestamp_ms=start, end_timestamp_ms=end, hints=pb.ReadHints(**hints) if hints else None)
    for name, operator, value in matchers:
        made.matchers.add(type=OPERATORS[operator], name=name, value=value)
    return made


def body_of(*queries: pb.Query, accepted: Sequence[int] = ()) -> bytes:
    """The body of a request."""
    message = pb.ReadRequest(queries=queries, accepted_response_types=accepted)  # type: ignore[arg-type]
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


async def post(client: httpx.AsyncClient, body: bytes, url: str = PATH, **headers: str) -> httpx.Response:
    """The answer to a body, with headers as a Prometheus sends them; `Content_Type` is `Content-Type`."""
    others = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(url, content=body, headers={**HEADERS, **others})


async def read(
    client: httpx.AsyncClient, *queries: pb.Query, type_: int = SAMPLES, url: str = PATH
) -> list[list[Read]]:
    """The series of each query, of an answer that must be 200 and of the type that was asked for."""
    answer = await post(client, body_of(*queries, accepted=[type_]), url)
    assert answer.status_code == 200, answer.text
    results = read_samples(answer) if type_ == SAMPLES else read_chunks(answer)
    return [results.get(i, []) for i in range(len(queries))]


def read_samples(answer: httpx.Response) -> dict[int, list[Read]]:
    """The series of an answer of the type SAMPLES, by query."""
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert answer.headers["content-encoding"] == "snappy"
    message = pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.content)))
    return {i: [_of_samples(series) for series in result.timeseries] for i, result in enumerate(message.results)}


def _of_samples(series: pb.TimeSeries) -> Read:
    found = Read({label.name: label.value for label in series.labels})
    assert len(found.labels) == len(series.labels)
    for sample in series.samples:
        found.points.append(Point(sample.timestamp, int.from_bytes(struct.pack(">d", sample.value), "big")))
    found.histograms = [(histogram.timestamp, histogram) for histogram in series.histograms]
    return found


def read_chunks(answer: httpx.Response) -> dict[int, list[Read]]:
    """The series of a streamed answer, by query; each frame is a series, as the reader in a Prometheus has it."""
    assert answer.headers["content-type"] == "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    assert "content-encoding" not in answer.headers
    results: dict[int, list[Read]] = {}
    for frame in read_frames(answer.content):
        [series] = frame.chunked_series
        found = Read({label.name: label.value for label in series.labels})
        for chunk in series.chunks:
            if chunk.type == pb.Chunk.XOR:
                part = read_xor_chunk(chunk.data)
                times = [point.time for point in part]
                found.points += part
            else:
                assert chunk.type == pb.Chunk.FLOAT_HISTOGRAM
                some = read_histogram_chunk(chunk.data)
                times = [time for time, _ in some]
                found.histograms += some
            assert (chunk.min_time_ms, chunk.max_time_ms) == (times[0], times[-1])
        results.setdefault(frame.query_index, []).append(found)
    return results


def selected(*series: tuple[dict[str, str], list[tuple[int, float]] | list[tuple[int, NativeHistogram]]]) -> Selected:
    """Series as `select` gives them."""
    labels, times, values, offsets = [], [], [], [0]
    histograms: dict[int, list[NativeHistogram]] = {}
    for i, (names, samples) in enumerate(series):
        labels.append(tuple(sorted(names.items())))
        for time, value in samples:
            times.append(time)
            if isinstance(value, NativeHistogram):
                histograms.setdefault(i, []).append(value)
                value = value.sum
            values.append(value)
        offsets.append(len(times))
    return Selected(
        labels,
        ["unknown"] * len(labels),
        np.array(offsets, np.int64),
        np.array(times, np.int64),
        np.array(values, np.float64),
        histograms,
    )
