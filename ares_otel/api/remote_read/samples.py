"""Answers of the type SAMPLES: one `ReadResponse`, as one block of snappy.

Lengths stand before what they are the lengths of, so all of them are computed first; then the message is written piece
by piece, and no more than a piece of it is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ares_otel.api.remote_read.runs import PORTION, Run, runs
from ares_otel.model.errors import AresError
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.model.prometheus.read_records import histogram_message, record_sizes, records
from ares_otel.model.prometheus.snappy_blocks import MAX_LENGTH, deflate_pieces
from ares_otel.model.varint import varint
from ares_otel.query.prometheus.select import Labels, Selected

MEDIA_TYPE = "application/x-protobuf"
_FIRST_FIELD = b"\x0a"
"""Tag of `results` in a response and of `timeseries` in a result."""
_HISTOGRAM = b"\x22"
"""Tag of `histograms` in a series."""
_PIECE = 256 * 1024


class TooLong(AresError):
    """The answer has more than 4 GiB, which snappy cannot hold; ask for less time, fewer series, or streamed chunks."""


class SamplesAnswer:
    """The answer to the queries of a request."""

    def __init__(self, answers: Sequence[Selected]) -> None:
        """Raises TooLong."""
        self._results = [_Result(selected) for selected in answers]
        self._length = sum(1 + len(varint(result.length)) + result.length for result in self._results)
        if self._length > MAX_LENGTH:
            raise TooLong

    def chunks(self) -> Iterator[bytes]:
        """The compressed answer."""
        return deflate_pieces(self._length, self._joined())

    def _joined(self) -> Iterator[bytes]:
        piece = bytearray()
        for result in self._results:
            piece += _FIRST_FIELD + varint(result.length)
            for part in result.parts():
                piece += part
                if len(piece) >= _PIECE:
                    yield bytes(piece)
                    piece.clear()
        yield bytes(piece)


class _Result:
    """The series of one query."""

    def __init__(self, selected: Selected) -> None:
        self._selected = selected
        self._lengths: list[int] = record_sizes(selected.offsets, selected.timestamps).tolist()
        """Bytes of the samples of each series, then of all that it has."""
        for series in selected.histograms:
            self._lengths[series] = sum(map(len, self._histograms(series)))
        self._labels = [_labels(labels) for labels in selected.labels]
        for series, labels in enumerate(self._labels):
            self._lengths[series] += len(labels)
        self.length = sum(1 + len(varint(length)) + length for length in self._lengths)

    def parts(self) -> Iterator[bytes]:
        for run in runs(self._selected):
            if run.are_histograms:
                yield self._head(run.first)
                yield from self._histograms(run.first)
            elif run.last == run.first + 1:
                yield from self._long(run.first)
            else:
                yield from self._short(run)

    def _head(self, series: int) -> bytes:
        return _FIRST_FIELD + varint(self._lengths[series]) + self._labels[series]

    def _short(self, run: Run) -> Iterator[bytes]:
        offsets = self._selected.offsets[run.first : run.last + 1]
        begin, end = offsets[0], offsets[-1]
        made, starts = records(self._selected.timestamps[begin:end], self._selected.values[begin:end])
        at: list[int] = starts[offsets - begin].tolist()
        for i in range(run.last - run.first):
            yield self._head(run.first + i)
            yield made[at[i] : at[i + 1]]

    def _long(self, series: int) -> Iterator[bytes]:
        yield self._head(series)
        begin, end = int(self._selected.offsets[series]), int(self._selected.offsets[series + 1])
        for first in range(begin, end, PORTION):
            part = slice(first, min(first + PORTION, end))
            yield records(self._selected.timestamps[part], self._selected.values[part])[0]

    def _histograms(self, series: int) -> Iterator[bytes]:
        begin, end = self._selected.offsets[series], self._selected.offsets[series + 1]
        times = self._selected.timestamps[begin:end].tolist()
        for time, histogram in zip(times, self._selected.histograms[series], strict=True):
            message = histogram_message(time, histogram).SerializeToString()
            yield _HISTOGRAM + varint(len(message)) + message


def _labels(labels: Labels) -> bytes:
    """The labels as the fields of a series."""
    return pb.TimeSeries(labels=[pb.Label(name=name, value=value) for name, value in labels]).SerializeToString()
