"""Answers of the type STREAMED_XOR_CHUNKS: a frame for each series.

Source: Prometheus, `prompb/remote.proto` and `storage/remote/chunked.go`. A frame is the length of a message as a
varint, its CRC-32C with the highest byte first, and the message, a `ChunkedReadResponse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ares_otel.api.remote_read.runs import PORTION, Run, runs
from ares_otel.model.prometheus.histogram_chunks import histogram_chunks
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.model.prometheus.snappy_blocks import crc32c, varint
from ares_otel.model.prometheus.xor_chunks import XorChunks, xor_chunks
from ares_otel.query.prometheus.select import Labels, Selected

MEDIA_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
MAX_FRAME = 32 * 1024 * 1024
"""Bytes of chunks in one frame. The reader in a Prometheus takes each frame for a series of its own (and at most 50 MB,
`chunked_read_limit`), so one is split only where it would hardly be read otherwise."""
_PIECE = 256 * 1024
"""Frames are sent together up to this size."""


def frames(answers: Sequence[Selected]) -> Iterator[bytes]:
    """All frames, those of the first query first; small ones joined."""
    piece = bytearray()
    for index, selected in enumerate(answers):
        for frame in _frames(selected, index):
            piece += frame
            if len(piece) >= _PIECE:
                yield bytes(piece)
                piece.clear()
    if piece:
        yield bytes(piece)


def _frames(selected: Selected, index: int) -> Iterator[bytes]:
    for run in runs(selected):
        if run.are_histograms:
            yield from _split(selected.labels[run.first], _histogram_chunks(selected, run.first), index)
        elif run.last == run.first + 1:
            yield from _split(selected.labels[run.first], _long(selected, run.first), index)
        else:
            yield from _short(selected, run, index)


def _short(selected: Selected, run: Run, index: int) -> Iterator[bytes]:
    """Frames of series that are encoded together."""
    made = xor_chunks(selected.offsets[run.first : run.last + 1], selected.timestamps, selected.values)
    messages = list(_messages(made))
    of_series = made.of_series.tolist()
    for i in range(run.last - run.first):
        yield _frame(selected.labels[run.first + i], messages[of_series[i] : of_series[i + 1]], index)


def _long(selected: Selected, series: int) -> Iterator[pb.Chunk]:
    """The chunks of one series, encoded a portion at a time."""
    begin, end = int(selected.offsets[series]), int(selected.offsets[series + 1])
    for first in range(begin, end, PORTION):
        part = selected.offsets[:2].copy()
        part[:] = first, min(first + PORTION, end)
        yield from _messages(xor_chunks(part, selected.timestamps, selected.values))


def _histogram_chunks(selected: Selected, series: int) -> Iterator[pb.Chunk]:
    begin, end = selected.offsets[series], selected.offsets[series + 1]
    times = selected.timestamps[begin:end].tolist()
    for chunk in histogram_chunks(times, selected.histograms[series]):
        yield pb.Chunk(
            min_time_ms=chunk.min_time, max_time_ms=chunk.max_time, type=pb.Chunk.FLOAT_HISTOGRAM, data=chunk.data
        )


def _messages(made: XorChunks) -> Iterator[pb.Chunk]:
    columns = (made.starts, made.ends, made.min_times, made.max_times)
    for start, end, first, last in zip(*(column.tolist() for column in columns), strict=True):
        yield pb.Chunk(min_time_ms=first, max_time_ms=last, type=pb.Chunk.XOR, data=made.data[start:end])


def _split(labels: Labels, chunks: Iterable[pb.Chunk], index: int) -> Iterator[bytes]:
    """One frame, unless it would be too large."""
    held: list[pb.Chunk] = []
    size = 0
    for chunk in chunks:
        if held and size + len(chunk.data) > MAX_FRAME:
            yield _frame(labels, held, index)
            held, size = [], 0
        held.append(chunk)
        size += len(chunk.data)
    yield _frame(labels, held, index)


def _frame(labels: Labels, chunks: Sequence[pb.Chunk], index: int) -> bytes:
    series = pb.ChunkedSeries(labels=[pb.Label(name=name, value=value) for name, value in labels], chunks=chunks)
    message = pb.ChunkedReadResponse(chunked_series=[series], query_index=index).SerializeToString()
    return varint(len(message)) + crc32c(message).to_bytes(4, "big") + message
