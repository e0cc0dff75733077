"""What is done to a trace before a person looks at it: told on each span, and never more than that."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from ares_otel.api.jaeger.adjust import adjust
from ares_otel.api.jaeger.warnings import WARNINGS, warnings_of
from tests.support.jaeger_traces import MS, all_spans, resource_spans, sid, span, trace
from tests.support.otlp_samples import pairs

BASE = 1_700_000_000_000 * MS


def shown(data: TracesData, **options: Any) -> dict[str, Span]:
    """The adjusted spans by name."""
    return {one.name: one for one in all_spans(adjust(data, **options))}


def place(one: Span) -> tuple[int, int]:
    """Start and duration in milliseconds."""
    return (one.start_time_unix_nano - BASE) // MS, (one.end_time_unix_nano - one.start_time_unix_nano) // MS


# --- clocks -----------------------------------------------------------------------------------------------------------

SKEWED = [
    # start and duration of the child under a parent of 0…100 ms, and where it is shown
    pytest.param(-50, 20, 40, id="a child that starts before its parent is put into its middle"),
    pytest.param(90, 20, 40, id="a child that ends after its parent is put into its middle"),
    pytest.param(5_000, 20, 40, id="a child that starts after its parent's end is put into its middle"),
    pytest.param(-50, 100, 0, id="a child as long as its parent is put over it"),
    pytest.param(-50, 300, 0, id="a longer child that starts before its parent is put to its start"),
    pytest.param(50, 300, 50, id="a longer child that starts after its parent stays"),
    pytest.param(0, 100, 0, id="a child that just fits stays"),
    pytest.param(30, 20, 30, id="a child within its parent stays"),
]


@pytest.mark.parametrize(("start", "duration", "expected"), SKEWED)
def test_a_span_of_another_clock_is_moved_into_its_parent(start: int, duration: int, expected: int) -> None:
    child = span(2, 1, start, duration, kind="server")
    child.events.add(name="half way", time_unix_nano=child.start_time_unix_nano + duration * MS // 2)
    data = trace({"web": [span(1, 0, 0, 100, kind="client")], "orders": [child]})
    found = shown(data)["span 2"]
    assert place(found) == (expected, duration)
    assert found.events[0].time_unix_nano == found.start_time_unix_nano + duration * MS // 2
    told = warnings_of(found)
    if expected == start:
        assert told == []
    else:
        assert told == [f"Clock skew: the span and its events were moved by {told[0].rpartition(' ')[2]}"]
    assert not warnings_of(shown(data)["span 1"])


def test_what_the_same_clock_measured_below_moves_along() -> None:
    data = trace(
        {
            "web": [span(1, 0, 0, 100, kind="client")],
            "orders": [span(2, 1, -50, 20, kind="server"), span(3, 2, -45, 5), span(4, 3, -44, 50)],
        }
    )
    found = shown(data)
    assert [place(found[f"span {number}"])[0] for number in (2, 3, 4)] == [40, 45, 46]
    assert all(
        warnings_of(found[f"span {number}"]) == ["Clock skew: the span and its events were moved by 90ms."]
        for number in (2, 3, 4)
    )


def test_a_third_clock_is_held_against_the_moved_second() -> None:
    data = trace(
        {
            "web": [span(1, 0, 0, 100, kind="client")],
            "orders": [span(2, 1, -50, 20, kind="server"), span(3, 2, -45, 10, kind="client")],
            "stock": [span(4, 3, 47, 4, kind="server"), span(5, 3, 900, 4, kind="server")],
        }
    )
    found = shown(data)
    assert place(found["span 4"]) == (47, 4), "it lies within where its parent is now"
    assert place(found["span 5"]) == (48, 4)


@pytest.mark.parametrize("attribute", ["host.id", "host.name", "host.ip"])
def test_services_on_one_host_have_one_clock(attribute: str) -> None:
    value: Any = ["10.0.0.7", "fe80::1"] if attribute == "host.ip" else "a-host"
    data = trace({"web": [span(1, 0, 0, 100)], "orders": [span(2, 1, -50, 20)]}, **{attribute: value})
    assert list(all_spans(adjust(data))) == list(all_spans(data))


def test_spans_of_one_resource_have_one_clock_without_a_host() -> None:
    data = trace({"web": [span(1, 0, 0, 100), span(2, 1, 150, 20)]})
    assert adjust(data) == data, "a task that outlives what began it is no clock skew"


def test_what_is_consumed_later_than_it_was_sent_stays_where_it_was() -> None:
    data = trace(
        {
            "web": [span(1, 0, 0, 100, kind="producer"), span(3, 0, 0, 10, kind="producer")],
            "billing": [span(2, 1, 30_000, 20, kind="consumer"), span(4, 3, -30, 20, kind="consumer")],
        }
    )
    found = shown(data)
    assert place(found["span 2"]) == (30_000, 20)
    assert place(found["span 4"]) == (0, 20), "nothing is consumed before it is sent"


def test_clock_skew_over_the_maximum_is_told_and_not_corrected() -> None:
    data = trace({"web": [span(1, 0, 0, 100, kind="client")], "orders": [span(2, 1, -50, 20, kind="server")]})
    found = shown(data, max_skew_ns=80 * MS)["span 2"]
    assert place(found) == (-50, 20)
    assert warnings_of(found) == ["Clock skew of 90ms was found; it is more than the 80ms that are corrected at most."]
    assert place(shown(data, max_skew_ns=90 * MS)["span 2"]) == (40, 20)


def test_the_correction_of_clock_skew_can_be_switched_off() -> None:
    data = trace({"web": [span(1, 0, 0, 100, kind="client")], "orders": [span(2, 1, -50, 20, kind="server")]})
    found = shown(data, max_skew_ns=0)["span 2"]
    assert place(found) == (-50, 20)
    assert warnings_of(found) == ["Clock skew of 90ms was found, but its correction is switched off."]


# --- ids --------------------------------------------------------------------------------------------------------------


def test_a_server_span_with_the_id_of_its_client_becomes_the_clients_child() -> None:
    data = trace(
        {
            "web": [span(9, 0, 0, 100, name="page"), span(7, 9, 10, 50, kind="client", name="call")],
            "orders": [span(7, 9, 20, 30, kind="server", name="serve"), span(8, 7, 25, 5, name="query")],
        }
    )
    found = shown(data)
    assert found["call"].span_id == sid(7)
    assert found["serve"].parent_span_id == sid(7)
    assert found["serve"].span_id not in (sid(7), sid(8), sid(9), b"")
    assert found["query"].parent_span_id == found["serve"].span_id
    [told] = warnings_of(found["serve"])
    assert told.startswith("The span ID 0000000000000007 is also that of a client span; shown with the ID 0000")
    assert not warnings_of(found["call"])
    assert not warnings_of(found["query"])


def test_children_of_a_shared_id_stay_on_their_side() -> None:
    data = trace(
        {
            "web": [span(7, 0, kind="client", name="call"), span(1, 7, name="callback")],
            "orders": [span(7, 0, kind="server", name="first"), span(2, 7, name="of first")],
            "replica": [span(7, 0, kind="server", name="second"), span(3, 7, name="of second")],
            "stranger": [span(4, 7, name="of nobody here")],
        }
    )
    found = shown(data)
    assert found["callback"].parent_span_id == sid(7)
    assert found["of first"].parent_span_id == found["first"].span_id
    assert found["of second"].parent_span_id == found["second"].span_id
    assert found["of nobody here"].parent_span_id == found["first"].span_id
    assert len({one.span_id for one in found.values()}) == len(found)


def test_other_ids_that_occur_twice_are_told_and_kept() -> None:
    twice = span(5, 1, name="twice")
    data = trace({"web": [span(1, name="root"), twice, twice, span(6, 5, name="child")]})
    found = list(all_spans(adjust(data)))
    assert [one.span_id for one in found] == [sid(1), sid(5), sid(5), sid(6)]
    assert [warnings_of(one) for one in found] == [
        [],
        ["The span ID 0000000000000005 is that of 2 spans of the trace."],
        ["The span ID 0000000000000005 is that of 2 spans of the trace."],
        [],
    ]


# --- parents ----------------------------------------------------------------------------------------------------------


def test_a_parent_that_is_not_there_is_told() -> None:
    found = shown(trace({"web": [span(1), span(2, 99)]}))
    assert found["span 2"].parent_span_id == sid(99)
    assert warnings_of(found["span 2"]) == ["The parent span 0000000000000063 is not in the trace; shown as a root."]
    assert not warnings_of(found["span 1"])


def test_a_span_that_is_its_own_parent_is_a_root() -> None:
    found = shown(trace({"web": [span(1, 1), span(2, 1)]}))
    assert found["span 1"].parent_span_id == b""
    assert warnings_of(found["span 1"]) == ["The span is its own parent (0000000000000001); shown as a root."]
    assert found["span 2"].parent_span_id == sid(1)


def test_the_earliest_span_of_a_cycle_is_a_root() -> None:
    data = trace({"web": [span(1, 3, 20), span(2, 1, 10), span(3, 2, 30), span(4, 3, 0), span(5, 4)]})
    found = shown(data)
    assert found["span 2"].parent_span_id == b"", "span 4 is earlier, but hangs on the cycle only"
    assert warnings_of(found["span 2"]) == [
        "The span is an ancestor of its own parent (0000000000000001); shown as a root."
    ]
    assert [found[f"span {number}"].parent_span_id for number in (1, 3, 4, 5)] == [sid(3), sid(2), sid(3), sid(4)]


@pytest.mark.parametrize("closed", [False, True])
def test_a_chain_of_ten_thousand_spans_is_walked(closed: bool) -> None:
    chain = [span(number, number - 1 or (10_000 if closed else 0), number) for number in range(1, 10_001)]
    data = TracesData(resource_spans=[resource_spans(chain[::2], {"n": 1}), resource_spans(chain[1::2], {"n": 2})])
    found = list(all_spans(adjust(data)))
    assert len(found) == 10_000
    assert sum(not one.parent_span_id for one in found) == 1


# --- times ------------------------------------------------------------------------------------------------------------


def test_a_span_that_ends_before_it_starts_ends_when_it_starts() -> None:
    early, endless = span(1, ms=-1500), span(2)
    endless.end_time_unix_nano = 0
    found = shown(trace({"web": [early, endless]}))
    assert place(found["span 1"]) == (0, 0)
    assert warnings_of(found["span 1"]) == ["The span ended 1.5s before it started; shown without duration."]
    assert warnings_of(found["span 2"]) == ["The span has no end; shown without duration."]


def test_a_span_without_a_time_moves_nothing() -> None:
    lost = span(1)
    lost.start_time_unix_nano = lost.end_time_unix_nano = 0
    data = trace({"web": [lost], "orders": [span(2, 1)]})
    assert adjust(data) == data


def test_what_cannot_be_moved_so_far_stays_with_all_below_it() -> None:
    last = 2**64 - 1
    parent, child, grandchild = span(1), span(2, 1), span(3, 2)
    parent.start_time_unix_nano, parent.end_time_unix_nano = last - 10, last
    child.start_time_unix_nano, child.end_time_unix_nano = last - 100, last - 20
    data = trace({"web": [parent], "orders": [child, grandchild]})
    once = adjust(data, max_skew_ns=last)
    told = [warnings_of(one) for one in all_spans(once)]
    assert told == [[], ["Clock skew of 90ns was found, but the span cannot be moved so far."], []]
    assert adjust(once, max_skew_ns=last) == once


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_warnings_that_a_span_brings_are_kept() -> None:
    brought = span(1, 1)
    brought.attributes.extend(pairs({WARNINGS: ["was seen before"]}))
    text = span(2, 2)
    text.attributes.extend(pairs({WARNINGS: "just text"}))
    found = shown(trace({"web": [brought, text]}))
    assert warnings_of(found["span 1"]) == [
        "was seen before",
        "The span is its own parent (0000000000000001); shown as a root.",
    ]
    assert warnings_of(found["span 2"])[0] == "just text"


# --- whatever comes ---------------------------------------------------------------------------------------------------

_TIMES = st.sampled_from([0, 1, 2**63, 2**64 - 1, 2**64 - 2]) | st.integers(BASE, BASE + 200 * MS)
_ODD_SPANS = st.builds(
    Span,
    trace_id=st.just(bytes(15) + b"\1"),
    span_id=st.integers(1, 6).map(sid),
    parent_span_id=st.integers(0, 7).map(lambda number: sid(number) if number != 7 else b""),
    kind=st.integers(0, 5),
    start_time_unix_nano=_TIMES,
    end_time_unix_nano=_TIMES,
    events=st.lists(st.builds(Span.Event, time_unix_nano=_TIMES), max_size=2),
)
_ODD_TRACES = st.lists(
    st.builds(
        resource_spans,
        st.lists(_ODD_SPANS, max_size=6),
        st.sampled_from([{}, {"service.name": "a"}, {"service.name": "b"}, {"service.name": "a", "host.name": "h"}]),
    ),
    max_size=4,
).map(lambda containers: TracesData(resource_spans=containers))


def _kept(data: TracesData) -> Counter[str]:
    """What of a span is never touched."""
    return Counter(f"{one.name} {one.kind} {len(one.events)}" for one in all_spans(data))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100)
@given(_ODD_TRACES, st.sampled_from([0, 50 * MS, 2**64]))
def test_adjusting_loses_nothing_changes_no_input_and_twice_is_once(data: TracesData, limit: int) -> None:
    before = data.SerializeToString(deterministic=True)
    once = adjust(data, max_skew_ns=limit)
    assert data.SerializeToString(deterministic=True) == before
    assert _kept(once) == _kept(data)
    assert adjust(once, max_skew_ns=limit) == once
    parents: dict[bytes, set[bytes]] = {}
    for one in all_spans(once):
        assert one.end_time_unix_nano >= one.start_time_unix_nano
        parents.setdefault(one.span_id, set()).add(one.parent_span_id)
    reached = {span_id for span_id, above in parents.items() if not any(one in parents for one in above)}
    while more := {one for one, above in parents.items() if above & reached} - reached:
        reached |= more
    assert reached == set(parents), "whoever follows ids from the roots comes by every span"
