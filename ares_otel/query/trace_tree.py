"""Spans of one trace as a tree, whatever the senders made of it: cycles, self parents, twins and orphans included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NAMED = 5  # span ids that a warning names


@dataclass(frozen=True, slots=True)
class TreeSpan:
    """What the tree needs to know of a span. Times in nanoseconds; the duration is never negative."""

    span_id: bytes
    parent_span_id: bytes | None
    service: str
    start_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a span stands in the tree."""

    index: int
    """Of the span in the sequence that was given."""
    depth: int
    """0 for a root."""
    self_time_ns: int
    """The span's duration minus the time in which at least one of its children ran."""


@dataclass(frozen=True, slots=True)
class Tree:
    order: list[Placed]
    """Every span once: a parent stands before its children, siblings by start."""
    warnings: list[str]
    """What is odd about the trace, in sentences; at most one for each kind of oddity."""


def build_tree(spans: Sequence[TreeSpan]) -> Tree:
    """Orders spans as a tree. Takes O(n log n) and no recursion, for any input.

    * A span whose parent is not there, or that is its own parent, is a root; so is the earliest span of a cycle.
    * Where several spans have one id, its children belong to the one of their own service, else to the earliest.
    """
    by_time = sorted(range(len(spans)), key=lambda i: (spans[i].start_ns, spans[i].span_id, i))
    holders: dict[bytes, list[int]] = {}
    for index in by_time:
        holders.setdefault(spans[index].span_id, []).append(index)
    homes = {(spans[i].span_id, spans[i].service): i for i in reversed(by_time)}  # the earliest of each wins

    parents: list[int | None] = [None] * len(spans)
    orphans, own_parents = [], []
    for index in by_time:
        span = spans[index]
        if span.parent_span_id is None:
            continue
        if span.parent_span_id == span.span_id:
            own_parents.append(index)
        elif span.parent_span_id not in holders:
            orphans.append(index)
        else:
            home = homes.get((span.parent_span_id, span.service))
            parents[index] = holders[span.parent_span_id][0] if home is None else home
    cut = _cut_cycles(by_time, parents)

    children: list[list[int]] = [[] for _ in spans]
    for index in by_time:
        if (parent := parents[index]) is not None:
            children[parent].append(index)
    order: list[Placed] = []
    stack = [(index, 0) for index in reversed(by_time) if parents[index] is None]
    while stack:
        index, depth = stack.pop()
        order.append(Placed(index, depth, _self_time(spans, index, children[index])))
        stack.extend((child, depth + 1) for child in reversed(children[index]))

    twins = [indexes[0] for indexes in holders.values() if len(indexes) > 1]
    reasons = (
        (orphans, "name a parent that is not here; they stand as roots"),
        (own_parents, "name themselves as parent; they stand as roots"),
        (cut, "were the earliest of a cycle of parents; they stand as roots"),
        (twins, "have an id that several spans have"),
    )
    return Tree(order, [_warning(spans, indexes, text) for indexes, text in reasons if indexes])


def _cut_cycles(by_time: Iterable[int], parents: list[int | None]) -> list[int]:
    """Makes the earliest span of every cycle a root, in `parents`, and returns those spans. Visits each span once."""
    rank = {index: position for position, index in enumerate(by_time)}
    done: set[int] = set()
    cut = []
    for start in rank:
        path: dict[int, None] = {}
        index: int | None = start
        while index is not None and index not in done and index not in path:
            path[index] = None
            index = parents[index]
        if index is not None and index in path:
            walked = list(path)
            earliest = min(walked[walked.index(index) :], key=rank.__getitem__)
            parents[earliest] = None
            cut.append(earliest)
        done.update(path)
    return cut


def _self_time(spans: Sequence[TreeSpan], index: int, children: Iterable[int]) -> int:
    """The duration minus the union of the children's intervals, clipped to the span. Children come by start."""
    start = spans[index].start_ns
    end = start + spans[index].duration_ns
    covered, reached = 0, start
    for child in children:
        left = max(spans[child].start_ns, reached)
        right = min(spans[child].start_ns + spans[child].duration_ns, end)
        if right > left:
            covered += right - left
            reached = right
    return spans[index].duration_ns - covered


def _warning(spans: Sequence[TreeSpan], indexes: Sequence[int], text: str) -> str:
    named = ", ".join(spans[index].span_id.hex() for index in indexes[:_NAMED])
    return f"{len(indexes)} of the spans {text}: {named}{', …' if len(indexes) > _NAMED else ''}."
