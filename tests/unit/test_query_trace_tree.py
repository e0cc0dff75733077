"""Any set of spans becomes a tree, in a bounded number of steps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.query.trace_tree import Tree, TreeSpan, build_tree


def span(number: int, parent: int | None = None, start: int = 0, duration: int = 10, service: str = "a") -> TreeSpan:
    return TreeSpan(
        number.to_bytes(8, "big"), None if parent is None else parent.to_bytes(8, "big"), service, start, duration
    )


def shape(tree: Tree) -> list[tuple[int, int]]:
    return [(place.index, place.depth) for place in tree.order]


def test_a_parent_stands_before_its_children_and_siblings_stand_by_start() -> None:
    spans = [span(3, 1, start=5), span(1), span(4, 2, start=3), span(2, 1, start=2)]
    assert shape(build_tree(spans)) == [(1, 0), (3, 1), (2, 2), (0, 1)]


def test_no_spans_are_an_empty_tree() -> None:
    assert build_tree([]) == Tree([], [])


def test_self_time_leaves_out_overlapping_children_once_and_what_runs_outside_of_the_parent() -> None:
    spans = [
        span(1, start=100, duration=100),
        span(2, 1, start=110, duration=30),  # 110-140
        span(3, 1, start=120, duration=30),  # 120-150, overlaps
        span(4, 1, start=125, duration=5),  # inside of both
        span(5, 1, start=190, duration=500),  # ends after the parent
        span(6, 1, start=50, duration=55),  # starts before it: 100-105
        span(7, 1, start=900, duration=50),  # entirely after it
    ]
    places = {place.index: place for place in build_tree(spans).order}
    assert places[0].self_time_ns == 100 - 40 - 10 - 5
    assert places[4].self_time_ns == 500


def test_an_orphan_is_a_root_and_is_named() -> None:
    tree = build_tree([span(1), span(2, 99, start=1)])
    assert shape(tree) == [(0, 0), (1, 0)]
    assert tree.warnings == ["1 of the spans name a parent that is not here; they stand as roots: 0000000000000002."]


def test_a_span_that_is_its_own_parent_is_a_root() -> None:
    tree = build_tree([span(1, 1), span(2, 1)])
    assert shape(tree) == [(0, 0), (1, 1)]
    assert "themselves as parent" in tree.warnings[0]


def test_the_earliest_span_of_a_cycle_is_its_root_and_its_branches_stay() -> None:
    tree = build_tree([span(1, 3, start=3), span(2, 1, start=1), span(3, 2, start=2), span(4, 3, start=0)])
    assert shape(tree) == [(1, 0), (2, 1), (3, 2), (0, 2)]
    assert tree.warnings == [
        "1 of the spans were the earliest of a cycle of parents; they stand as roots: 0000000000000002."
    ]


def test_children_of_twins_belong_to_the_twin_of_their_service_else_to_the_earliest() -> None:
    spans = [
        span(1, start=0, service="client"),
        span(1, start=1, service="server"),
        span(2, 1, start=2, service="server"),
        span(3, 1, start=3, service="elsewhere"),
    ]
    tree = build_tree(spans)
    assert shape(tree) == [(0, 0), (3, 1), (1, 0), (2, 1)]
    assert "several spans have" in tree.warnings[0]


def test_a_chain_of_ten_thousand_spans_needs_no_recursion() -> None:
    spans = [span(n, n - 1 if n else None, start=n) for n in range(10_000)]
    assert [place.depth for place in build_tree(spans).order] == list(range(10_000))


def test_a_warning_names_a_few_spans_only() -> None:
    tree = build_tree([span(n, 10**6) for n in range(1, 2000)])
    assert len(tree.warnings) == 1
    assert len(tree.warnings[0]) < 200


@settings(max_examples=100)
@given(
    st.lists(
        st.builds(
            span,
            st.integers(0, 12),
            st.none() | st.integers(0, 12),
            st.integers(0, 100),
            st.integers(0, 100),
            st.sampled_from("ab"),
        ),
        max_size=25,
    )
)
def test_any_spans_stand_in_the_tree_once_below_their_parent_with_a_self_time_within_their_duration(
    spans: list[TreeSpan],
) -> None:
    tree = build_tree(spans)
    assert sorted(place.index for place in tree.order) == list(range(len(spans)))
    path: list[int] = []
    for place in tree.order:
        assert place.depth <= len(path)
        del path[place.depth :]
        if path:
            assert spans[place.index].parent_span_id == spans[path[-1]].span_id
        path.append(place.index)
        assert 0 <= place.self_time_ns <= spans[place.index].duration_ns
