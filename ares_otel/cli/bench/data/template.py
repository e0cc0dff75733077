"""A finished request that is repeated with other ids and other times, by arithmetic on its bytes.

As a little-endian number, a request with all its times moved by d is `number + d · T`, where T has a one at each time
(the sums do not carry over: a time is a fixed64 and stays one). With all its ids changed by the same bits r it is
`number ^ r · I`. So the spans of a trace stay one trace, also over several requests, and logs stay with their traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal

Kind: TypeAlias = Literal["trace", "span", "time"]
Layout: TypeAlias = "Mapping[int, Kind | Layout]"
"""Field number → what stands there. Fields that are not named are passed over."""

_EXEMPLAR: Layout = {2: "time", 4: "span", 5: "trace"}
_NUMBERS: Layout = {1: {2: "time", 3: "time", 5: _EXEMPLAR}}
LAYOUTS: dict[Signal, Layout] = {
    TRACES: {
        1: {
            2: {
                2: {
                    1: "trace",
                    2: "span",
                    4: "span",
                    7: "time",
                    8: "time",
                    11: {1: "time"},
                    13: {1: "trace", 2: "span"},
                }
            }
        }
    },
    LOGS: {1: {2: {2: {1: "time", 9: "trace", 10: "span", 11: "time"}}}},
    METRICS: {
        1: {
            2: {
                2: {
                    5: _NUMBERS,
                    7: _NUMBERS,
                    9: {1: {2: "time", 3: "time", 8: _EXEMPLAR}},
                    10: {1: {2: "time", 3: "time", 11: _EXEMPLAR}},
                    11: {1: {2: "time", 3: "time"}},
                }
            }
        }
    },
}
"""Field numbers of opentelemetry-proto 1.x."""


class Template:
    """A request of `items` items."""

    def __init__(self, body: bytes, signal: Signal, items: int) -> None:
        self.items = items
        self.size = len(body)
        self._number = int.from_bytes(body, "little")
        marks = {"trace": bytearray(self.size), "span": bytearray(self.size), "time": bytearray(self.size)}
        for kind, offset in _find(memoryview(body), LAYOUTS[signal], 0):
            marks[kind][offset] = 1
        self._traces, self._spans, self._times = (int.from_bytes(marks[kind], "little") for kind in marks)

    def body(self, trace_bits: int, span_bits: int, later: int) -> bytes:
        """The request again. `trace_bits` (128 bits) and `span_bits` (64) change the ids; `later`: nanoseconds."""
        number = self._number + later * self._times
        number ^= trace_bits * self._traces ^ span_bits * self._spans
        return number.to_bytes(self.size, "little")


def _find(data: memoryview, layout: Layout, base: int) -> Iterator[tuple[Kind, int]]:
    """Kind and place of each id and time in a message that begins at `base`."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wanted = layout.get(tag >> 3)
        if tag & 7 == 2:
            size, at = _varint(data, at)
            if isinstance(wanted, str):
                if size:
                    yield wanted, base + at
            elif wanted is not None:
                yield from _find(data[at : at + size], wanted, base + at)
            at += size
        elif tag & 7 == 1:
            if isinstance(wanted, str):
                yield wanted, base + at
            at += 8
        elif tag & 7 == 5:
            at += 4
        else:
            _, at = _varint(data, at)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
