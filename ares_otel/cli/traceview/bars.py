"""A span's bar on the time axis of its trace."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from ares_otel.cli.traceview.text import Symbols


def bar(
    start: int,
    end: int,
    path: Sequence[tuple[int, int]],
    axis: tuple[int, int],
    cells: int,
    symbols: Symbols,
    *,
    failed: bool = False,
) -> Text:
    """`cells` columns, in which at least one stands for the span; the parts on the critical path are drawn full.

    Args:
        path: the span's sections of the critical path, by time.
        axis: start and end of the trace.
    """
    low, high = axis
    length = max(high - low, 1)
    first = min(cells - 1, max(0, (start - low) * cells // length))
    last = min(cells - 1, max(first, -((low - end) * cells // length) - 1))
    full = _on_path(path, (start, end), low, length, cells, range(first, last + 1))
    text = Text(" " * first)
    for on_path, run in groupby(range(first, last + 1), key=full.__contains__):
        style = "red" if failed else "yellow" if on_path else "blue"
        text.append((symbols.on_path if on_path else symbols.off_path) * len(list(run)), style)
    return text


def _on_path(
    path: Sequence[tuple[int, int]], span: tuple[int, int], low: int, length: int, cells: int, columns: range
) -> set[int]:
    """The columns in which half of the span's time or more is the path's; where there is none, the one that has most
    of the path. Everything is counted in `cells` times a nanosecond, so that a column is `length` wide."""
    shares: dict[int, int] = {}
    for begin, stop in path:
        left, right = (begin - low) * cells, (stop - low) * cells
        for place in range(max(columns[0], left // length), min(columns[-1], -(-right // length) - 1) + 1):
            shares[place] = shares.get(place, 0) + _overlap(left, right, place, length)
    start, end = (span[0] - low) * cells, (span[1] - low) * cells
    full = {place for place, share in shares.items() if share and 2 * share >= _overlap(start, end, place, length)}
    return full or ({max(shares, key=shares.__getitem__)} if shares else set())


def _overlap(left: int, right: int, place: int, length: int) -> int:
    return min(right, (place + 1) * length) - max(left, place * length)
