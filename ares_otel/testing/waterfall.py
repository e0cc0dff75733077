"""Spans as text: each trace a tree, with kind, duration, status and a bar that shows when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ares_otel.testing.shown import NAME_WIDTH, cells, padded, shown_name

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

MOST_LINES = 40
_DEEPEST = 12
_BAR = 20
_REASON = 100
_STATUS = {"UNSET": "", "OK": "ok", "ERROR": "ERROR"}


def draw(spans: Sequence[ReadableSpan], marks: Mapping[int, str] | None = None, at_most: int = MOST_LINES) -> list[str]:
    """The lines. `marks`: the key of a span → what is written behind it; marked spans and those above them are always
    shown, others up to `at_most` lines."""
    marks = marks or {}
    rows = _rows(spans)
    shown = _kept(rows, marks, at_most)
    width = max((cells(row.label) for row in shown if row is not None), default=0)
    lines: list[str] = []
    left_out = 0
    traces = len({row.trace for row in rows})
    last: int | None = None
    numbers: dict[int, int] = {}
    for row in shown:
        if row is None:
            left_out += 1
            continue
        if left_out:
            lines.append(f"⋮ {left_out} more")
            left_out = 0
        if traces > 1 and row.trace != last:
            last = row.trace
            numbers.setdefault(last, len(numbers) + 1)
            lines.append(f"trace {numbers[last]}")
        mark = marks.get(row.key)
        lines.append(f"{padded(row.label, width)}  {row.facts}{f'  ◀ {mark}' if mark else ''}".rstrip())
        lines += row.reasons
    if left_out:
        lines.append(f"⋮ {left_out} more")
    return lines


def milliseconds(seconds: float) -> str:
    """`12.3 ms`, or seconds where there are many."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"


class _Row:
    """One line of a picture."""

    __slots__ = ("above", "facts", "key", "label", "reasons", "trace")

    def __init__(self, span: ReadableSpan, prefix: str, below: str, above: int | None, window: tuple[int, int]) -> None:
        """`prefix` stands before its name, `below` before what is written under it."""
        context = span.get_span_context()
        assert context is not None
        self.trace = context.trace_id
        self.key = context.trace_id << 64 | context.span_id
        self.above = above
        self.label = prefix + shown_name(span.name, NAME_WIDTH)
        start, end = span.start_time or 0, span.end_time
        took = "not ended" if end is None else milliseconds((end - start) / 1e9)
        status = _STATUS[span.status.status_code.name]
        self.facts = f"{span.kind.name.lower():8}  {took:>10}  {status:5}  {_bar(span, window)}"
        if above is None and span.parent is not None:
            self.facts += f"  (parent {'in another service' if span.parent.is_remote else 'not captured'})"
        self.reasons = _reasons(span, below)


def _rows(spans: Sequence[ReadableSpan]) -> list[_Row]:
    by_key = {_key(span): span for span in sorted(spans, key=lambda one: one.start_time or 0)}
    children: dict[int, list[int]] = {}
    tops: list[int] = []
    windows: dict[int, tuple[int, int]] = {}
    for key, span in by_key.items():
        parent = span.parent.trace_id << 64 | span.parent.span_id if span.parent is not None else None
        if parent in by_key:
            children.setdefault(parent, []).append(key)
        else:
            tops.append(key)
        start = span.start_time or 0
        end = span.end_time or start
        low, high = windows.get(key >> 64, (start, end))
        windows[key >> 64] = (min(low, start), max(high, end))
    rows: dict[int, _Row] = {}
    # What is left after the roots are spans that are above themselves, in a circle: ids that were given twice.
    for top in (*tops, *by_key):
        # Depth first without recursion: a trace may be a chain of a thousand spans.
        waiting: list[tuple[int, str, str, int | None, int]] = [(top, "", "", None, 0)]
        while waiting:
            key, prefix, below, above, depth = waiting.pop()
            if key in rows:
                continue
            under = [child for child in children.get(key, ()) if child not in rows and child != key]
            reason = below + ("│    " if under else "     ")
            rows[key] = _Row(by_key[key], prefix, reason, above, windows[key >> 64])
            for number, child in enumerate(reversed(under)):
                if depth < _DEEPEST:
                    branch, more = ("└─ ", "   ") if number == 0 else ("├─ ", "│  ")
                    waiting.append((child, below + branch, below + more, key, depth + 1))
                else:
                    waiting.append((child, f"{below[:-3]}({depth + 1}) ", below, key, depth + 1))
    # Traces one after the other, in the order of their first spans.
    order = {trace: number for number, trace in enumerate(dict.fromkeys(key >> 64 for key in rows))}
    return sorted(rows.values(), key=lambda row: order[row.trace])


def _kept(rows: list[_Row], marks: Mapping[int, str], at_most: int) -> list[_Row | None]:
    """The rows, with None for each that is left out."""
    if len(rows) <= at_most:
        return list(rows)
    by_key = {row.key: row for row in rows}
    wanted: set[int] = set()
    for key in marks:
        at: int | None = key
        while at is not None and at in by_key and at not in wanted and len(wanted) < 2 * at_most:
            wanted.add(at)
            at = by_key[at].above
    room = max(0, at_most - len(wanted))
    kept: list[_Row | None] = []
    for row in rows:
        if row.key in wanted:
            kept.append(row)
        elif room:
            room -= 1
            kept.append(row)
        else:
            kept.append(None)
    return kept


def _bar(span: ReadableSpan, window: tuple[int, int]) -> str:
    low, high = window
    start = span.start_time or 0
    end = span.end_time if span.end_time is not None else high
    if high <= low:
        return "█" * _BAR
    first = min(_BAR - 1, int((start - low) * _BAR / (high - low)))
    length = max(1, min(_BAR - first, round((end - start) * _BAR / (high - low))))
    return "·" * first + "█" * length + "·" * (_BAR - first - length)


def _reasons(span: ReadableSpan, indent: str) -> list[str]:
    """Why it failed, in a line below it."""
    if span.status.status_code.name != "ERROR":
        return []
    text = span.status.description
    for event in reversed(span.events):
        if event.name == "exception" and event.attributes:
            text = f"{event.attributes.get('exception.type')}: {event.attributes.get('exception.message')}"
            break
    return [f"{indent}{shown_name(text, _REASON)}"] if text else []


def _key(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id << 64 | context.span_id
