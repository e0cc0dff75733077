"""Samples on their way from the database into columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.errors import AresError

_EPOCH_2000_US = 946_684_800_000_000
_SAMPLE = np.dtype([("time", ">i8"), ("bits", ">u8")])
_ORDERED = np.dtype([("time", ">i8"), ("bits", ">u8"), ("ns", ">i2"), ("id", ">i8")])
_ARRAY_HEAD = 20
"""Bytes before the elements of an array of one dimension: dimensions, flags, type, length, first index."""
_SHIFTS = (("short_shifts", ">i2"), ("shifts", ">i4"), ("long_shifts", ">i8"))


class TooManySamples(AresError):
    """The query would read too many samples; shorten its time range, or choose fewer series."""


class Part(NamedTuple):
    """Samples of one series."""

    times: NDArray[np.int64]
    """Microseconds since 2000."""
    bits: NDArray[np.uint64]
    """Of the values."""
    ns: NDArray[np.int64]
    """Nanoseconds beyond the time. They and the row numbers tell which of several came first; empty where nobody
    asks."""
    ids: NDArray[np.int64]


_NONE = np.empty(0, np.int64)


def part_of_rows(samples: bytes, *, ordered: bool) -> Part:
    """Samples as the statement `numbers` gives them."""
    found = np.frombuffer(samples, _ORDERED if ordered else _SAMPLE)
    ns, ids = (found["ns"].astype(np.int64), found["id"].astype(np.int64)) if ordered else (_NONE, _NONE)
    return Part(found["time"].astype(np.int64), found["bits"].astype(np.uint64), ns, ids)


def part_of_pack(pack: Any, lower_us: int, upper_us: int, *, ordered: bool) -> Part:
    """The samples of a row of `metric_packs` from one time on, before another (microseconds since 2000), as the
    function `unpacked` of the database has them."""
    n = np.arange(pack["count"], dtype=np.int64)
    times = int.from_bytes(pack["first"], "big", signed=True) + n * pack["time_step"] + _shifts(pack, "time")
    if pack["divisor"] is None:
        bits = _elements(pack["doubles"], ">u8").astype(np.uint64)
    else:
        numbers = pack["first_number"] + n * pack["number_step"] + _shifts(pack, "number")
        bits = (numbers.astype(np.float64) / pack["divisor"]).view(np.uint64)
    begin, end = np.searchsorted(times, (lower_us, upper_us))
    kept = slice(begin, end)
    if not ordered:
        return Part(times[kept], bits[kept], _NONE, _NONE)
    ns = np.zeros(len(n), np.int64) if pack["nanoseconds"] is None else _elements(pack["nanoseconds"], ">i2")
    ids = pack["first_id"] + n * pack["id_step"] + _shifts(pack, "id")
    return Part(times[kept], bits[kept], ns[kept].astype(np.int64), ids[kept])


def _shifts(pack: Any, name: str) -> NDArray[np.int64] | int:
    for suffix, kind in _SHIFTS:
        sent = pack.get(f"{name}_{suffix}")
        if sent is not None:
            return _elements(sent, kind).astype(np.int64)
    return 0


def _elements(sent: bytes, kind: str) -> NDArray[Any]:
    """The elements of an array without NULL, in the form in which the server sends it."""
    elements: NDArray[Any] = np.frombuffer(sent, np.dtype([("length", ">i4"), ("value", kind)]), offset=_ARRAY_HEAD)
    return elements["value"]


class Gathered:
    """Samples by the number of their series, in the order in which they were read."""

    def __init__(self, count: int, max_samples: int) -> None:
        """
        Args:
            count: number of series.
            max_samples: of all of them.
        """
        self._max_samples = max_samples
        self._size = 0
        self.parts: list[list[Part]] = [[] for _ in range(count)]

    @property
    def left(self) -> int:
        """How many samples there may still be."""
        return self._max_samples - self._size

    def add(self, number: int, part: Part) -> None:
        """Raises TooManySamples."""
        if len(part.times):
            self.parts[number].append(part)
            self._size += len(part.times)
            if self._size > self._max_samples:
                raise TooManySamples

    def newest(self, number: int, part: Part) -> None:
        """Keeps one sample of a series: this one when its millisecond is newer, or when it is the first of the same."""

        def age(part: Part) -> tuple[int, ...]:
            return (-(int(part.times[0]) // 1000), int(part.times[0]), int(part.ns[0]), int(part.ids[0]))

        parts = self.parts[number]
        if not parts or age(part) < age(parts[0]):
            parts[:] = [part]

    def doubled(self) -> list[int]:
        """Series that have two samples in one millisecond. Puts the samples of the others in order."""
        found = []
        for number, parts in enumerate(self.parts):
            if not parts:
                continue
            part = _joined(parts)
            if not np.all(np.diff(part.times // 1000) > 0):
                order = np.argsort(part.times, kind="stable")
                part = Part(part.times[order], part.bits[order], _NONE, _NONE)
                if not np.all(np.diff(part.times // 1000) > 0):
                    found.append(number)
            self.parts[number] = [part]
        return found

    def replace(self, numbers: Sequence[int], others: Gathered) -> None:
        """Takes the samples of some series out of others that were read with what orders them: the first of each
        millisecond, by time and then by row number."""
        for number in numbers:
            if not others.parts[number]:
                self.parts[number] = []
                continue
            part = _joined(others.parts[number])
            order = np.lexsort((part.ids, part.ns, part.times))
            milliseconds = part.times[order] // 1000
            first = np.ones(len(order), np.bool_)
            np.not_equal(milliseconds[1:], milliseconds[:-1], out=first[1:])
            kept = order[first]
            self.parts[number] = [Part(part.times[kept], part.bits[kept], _NONE, _NONE)]

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Offsets, milliseconds since 1970, and values. Each series has one part by now, or none; it is let go."""
        offsets = np.zeros(len(self.parts) + 1, np.int64)
        np.cumsum([sum(len(part.times) for part in parts) for parts in self.parts], out=offsets[1:])
        times, bits = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.uint64)
        for number, parts in enumerate(self.parts):
            for part in parts:
                times[offsets[number] : offsets[number + 1]] = part.times
                bits[offsets[number] : offsets[number + 1]] = part.bits
            self.parts[number] = []
        times += _EPOCH_2000_US
        times //= 1000
        return offsets, times, bits.view(np.float64)


def _joined(parts: Sequence[Part]) -> Part:
    return parts[0] if len(parts) == 1 else Part(*map(np.concatenate, zip(*parts, strict=True)))


def since_2000(micros: int) -> int:
    """Microseconds since 1970 as such since 2000."""
    return micros - _EPOCH_2000_US
