"""The critical path of a trace: tables of shapes, and what holds for any tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.cli.traceview.view import view_of
from ares_otel.query.critical_path import critical_path
from ares_otel.query.rows import SpanRow
from ares_otel.query.trace_tree import TreeSpan, build_tree
from tests.support.trace_shapes import path_of, span, trace_of

Path = list[tuple[str, float, float]]

TABLE: dict[str, tuple[list[SpanRow], Path]] = {
    "a span alone": ([span("root", 0, 10)], [("root", 0, 10)]),
    "a span without length": ([span("root", 0, 0)], []),
    "children one after the other": (
        [span("root", 0, 100), span("a", 10, 40, "root"), span("b", 50, 90, "root")],
        [("root", 0, 10), ("a", 10, 40), ("root", 40, 50), ("b", 50, 90), ("root", 90, 100)],
    ),
    "one begins in the moment in which the other ends": (
        [span("root", 0, 100), span("a", 0, 50, "root"), span("b", 50, 100, "root")],
        [("a", 0, 50), ("b", 50, 100)],
    ),
    "of children that overlap the one that ends last": (
        [span("root", 0, 100), span("a", 10, 60, "root"), span("b", 40, 90, "root")],
        [("root", 0, 40), ("b", 40, 90), ("root", 90, 100)],
    ),
    "what ended before an overlapping child began counts again": (
        [span("root", 0, 100), span("a", 5, 20, "root"), span("b", 10, 60, "root"), span("c", 30, 90, "root")],
        [("root", 0, 5), ("a", 5, 20), ("root", 20, 30), ("c", 30, 90), ("root", 90, 100)],
    ),
    "a short child inside a long one is not waited for": (
        [span("root", 0, 100), span("long", 10, 90, "root"), span("short", 20, 30, "root")],
        [("root", 0, 10), ("long", 10, 90), ("root", 90, 100)],
    ),
    "of two that end together the longer one": (
        [span("root", 0, 100), span("short", 50, 80, "root"), span("long", 20, 80, "root")],
        [("root", 0, 20), ("long", 20, 80), ("root", 80, 100)],
    ),
    "grandchildren": (
        [span("root", 0, 100), span("a", 10, 90, "root"), span("b", 20, 70, "a")],
        [("root", 0, 10), ("a", 10, 20), ("b", 20, 70), ("a", 70, 90), ("root", 90, 100)],
    ),
    "a child that outlives its parent counts as long as the parent runs": (
        [span("root", 0, 100), span("a", 60, 300, "root")],
        [("root", 0, 60), ("a", 60, 100)],
    ),
    "a consumer that outlives the sender is not waited for": (
        [span("root", 0, 100), span("send", 40, 50, "root"), span("work", 60, 300, "root", kind="consumer")],
        [("root", 0, 40), ("send", 40, 50), ("root", 50, 100)],
    ),
    "a consumer that ends in time is": (
        [span("root", 0, 100), span("work", 60, 80, "root", kind="consumer")],
        [("root", 0, 60), ("work", 60, 80), ("root", 80, 100)],
    ),
    "a child that begins after its parent is not on it": (
        [span("root", 0, 100), span("late", 150, 300, "root")],
        [("root", 0, 100)],
    ),
    "a child whose clock is behind begins with its parent": (
        [span("root", 50, 100), span("a", 20, 80, "root")],
        [("a", 50, 80), ("root", 80, 100)],
    ),
    "a child whose clock is off by more is left out, and what is below it": (
        [span("root", 50, 100), span("a", 0, 40, "root"), span("b", 5, 30, "a")],
        [("root", 50, 100)],
    ),
    "a grandchild is cut to what is left of its parent": (
        [span("root", 0, 100), span("a", 60, 140, "root"), span("b", 80, 140, "a")],
        [("root", 0, 60), ("a", 60, 80), ("b", 80, 100)],
    ),
    "a child without length": (
        [span("root", 0, 100), span("a", 50, 50, "root")],
        [("root", 0, 100)],
    ),
    "the earliest root without a parent is explained": (
        [span("orphan", 0, 500, "gone"), span("root", 10, 100), span("other", 20, 400)],
        [("root", 10, 100)],
    ),
    "where all roots lost their parents, the longest of them": (
        [span("short", 0, 5, "gone"), span("long", 3, 50, "gone"), span("child", 10, 20, "long")],
        [("long", 3, 10), ("child", 10, 20), ("long", 20, 50)],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_path_is_what_the_root_waited_for(case: str) -> None:
    spans, expected = TABLE[case]
    assert path_of(view_of(trace_of(spans))) == expected


_IDS = st.integers(0, 12).map(lambda number: bytes([number]) * 8)
_SPANS = st.lists(
    st.builds(
        TreeSpan,
        _IDS,
        st.none() | _IDS,
        st.sampled_from(["a", "b"]),
        st.integers(0, 60) | st.just(2**63),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=30,
)


@given(_SPANS, st.sets(st.integers(0, 29)))
def test_whatever_the_spans_are_the_path_is_the_time_of_the_root(spans: list[TreeSpan], detached: set[int]) -> None:
    """With cycles, orphans, twins, clocks that are off: the sections follow each other without a gap from the root's
    start to its end, and each lies within its span."""
    children: list[list[int]] = [[] for _ in spans]
    above: list[int] = []
    roots: list[int] = []
    for placed in build_tree(spans).order:
        del above[placed.depth :]
        (children[above[-1]] if above else roots).append(placed.index)
        above.append(placed.index)
    for root in roots:
        path = critical_path(spans, children, root, detached)
        assert all(section.start_ns < section.end_ns for section in path)
        edges = [edge for section in path for edge in (section.start_ns, section.end_ns)]
        end = spans[root].start_ns + spans[root].duration_ns
        assert edges[1:-1:2] == edges[2::2]
        assert ([edges[0], edges[-1]] if edges else []) == (
            [spans[root].start_ns, end] if spans[root].duration_ns else []
        )
        for section in path:
            span = spans[section.index]
            assert span.start_ns <= section.start_ns
            assert section.end_ns <= span.start_ns + span.duration_ns
            assert section.index == root or section.index not in detached


def test_a_chain_and_a_fan_of_ten_thousand_are_walked_without_recursion() -> None:
    count = 10_000
    chain = [TreeSpan(bytes(8), None, "a", number, 2 * (count - number)) for number in range(count)]
    path = critical_path(chain, [[number + 1] if number + 1 < count else [] for number in range(count)], 0)
    assert {section.index for section in path} == set(range(count))
    fan = [TreeSpan(bytes(8), None, "a", 0, count), *(TreeSpan(bytes(8), None, "a", at, 1) for at in range(count))]
    children: list[list[int]] = [list(range(1, count + 1)), *([] for _ in range(count))]
    assert len(critical_path(fan, children, 0)) == count
