"""Answers of the type STREAMED_XOR_CHUNKS: a frame for each series.

Source: Prometheus, `prompb/remote.proto` and `storage/remote/chunked.go`. A frame is the length of a message as a
varint, its CRC-32C with the highest byte first, and the message, a `ChunkedReadResponse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ares_otel.api.remote_read.runs import PORTION, Run, runs
from ares_otel.model.prometheus.histogram_chunks import histogram_chunks
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.model.prometheus.snappy_blocks import crc32c
from ares_otel.model.prometheus.xor_chunks import XorChunks, xor_chunks
from ares_otel.model.varint import varint
from ares_otel.query.prometheus.select import Labels, Selected

MEDIA_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
MAX_FRAME = 32 * 1024 * 1024
"""Bytes of chunks in one frame. The reader in a Prometheus takes each frame for a series of its own (and at most 50 MB,
`chunked_read_limit`), so one is split only where it would hardly be read otherwise."""
_CHUNKED_SERIES, _CHUNKS, _QUERY_INDEX = b"\x0a", b"\x12", b"\x10"
"""Tags of a response's series, of a series' chunks, and of the number of the query."""
_PIECE = 256 * 1024
"""Frames are sent together up to this size."""


class ChunksAnswer:
    """The answer to the queries of a request."""

    def __init__(self, answers: Sequence[Selected]) -> None:
        self._answers = answers

    def chunks(self) -> Iterator[bytes]:
        """All frames, those of the first query first; small ones joined."""
        piece = bytearray()
        for index, selected in enumerate(self._answers):
            for part in _frames(selected, index):
                if len(piece) + len(part) > _PIECE and piece:
                    yield bytes(piece)
                    piece.clear()
                if len(part) >= _PIECE:
                    yield part
                else:
                    piece += part
        if piece:
            yield bytes(piece)


def _frames(selected: Selected, index: int) -> Iterator[bytes]:
    """Frames, each as what stands before its message and the message."""
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
    fields = list(_fields(made))
    of_series = made.of_series.tolist()
    for i in range(run.last - run.first):
        yield from _frame(selected.labels[run.first + i], fields[of_series[i] : of_series[i + 1]], index)


def _long(selected: Selected, series: int) -> Iterator[bytes]:
    """The chunks of one series, encoded a portion at a time."""
    begin, end = int(selected.offsets[series]), int(selected.offsets[series + 1])
    for first in range(begin, end, PORTION):
        part = selected.offsets[:2].copy()
        part[:] = first, min(first + PORTION, end)
        yield from _fields(xor_chunks(part, selected.timestamps, selected.values))


def _histogram_chunks(selected: Selected, series: int) -> Iterator[bytes]:
    begin, end = selected.offsets[series], selected.offsets[series + 1]
    times = selected.timestamps[begin:end].tolist()
    for chunk in histogram_chunks(times, selected.histograms[series]):
        yield _field(chunk.min_time, chunk.max_time, pb.Chunk.FLOAT_HISTOGRAM, chunk.data)


def _fields(made: XorChunks) -> Iterator[bytes]:
    columns = (made.starts, made.ends, made.min_times, made.max_times)
    for start, end, first, last in zip(*(column.tolist() for column in columns), strict=True):
        yield _field(first, last, pb.Chunk.XOR, made.data[start:end])


def _field(first: int, last: int, encoding: pb.Chunk.Encoding, data: bytes) -> bytes:
    """A chunk as the field of its series. As bytes it takes half the memory that it has as a message."""
    message = pb.Chunk(min_time_ms=first, max_time_ms=last, type=encoding, data=data).SerializeToString()
    return _CHUNKS + varint(len(message)) + message


def _split(labels: Labels, chunks: Iterable[bytes], index: int) -> Iterator[bytes]:
    """One frame, unless it would be too large."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        if held and size + len(chunk) > MAX_FRAME:
            yield from _frame(labels, held, index)
            held, size = [], 0
        held.append(chunk)
        size += len(chunk)
    yield from _frame(labels, held, index)


def _frame(labels: Labels, chunks: Sequence[bytes], index: int) -> tuple[bytes, bytes]:
    names = pb.ChunkedSeries(labels=[pb.Label(name=name, value=value) for name, value in labels]).SerializeToString()
    length = len(names) + sum(map(len, chunks))
    query = _QUERY_INDEX + varint(index) if index else b""
    message = b"".join((_CHUNKED_SERIES, varint(length), names, *chunks, query))
    return varint(len(message)) + crc32c(message).to_bytes(4, "big"), message
