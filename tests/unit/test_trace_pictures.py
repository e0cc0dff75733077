"""What `ares-otel trace` draws, compared with the pictures in `tests/support/trace_pictures`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from ares_otel.cli.traceview.grouping import Together, grouped
from ares_otel.cli.traceview.text import duration_text, time_text
from ares_otel.cli.traceview.view import view_of
from ares_otel.query.rows import LogRow, SpanRow
from tests.support.trace_pictures.pictures import FOLDER, PAGE, PICTURES, failed_checkout, rewritten
from tests.support.trace_shapes import event, log, picture, span, trace_of


@pytest.mark.parametrize("name", PICTURES)
def test_a_trace_is_drawn_as_its_picture_shows(name: str) -> None:
    expected = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert PICTURES[name]() == expected, "python -m tests.support.trace_pictures draws them anew"


def test_every_picture_belongs_to_a_trace() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PICTURES)


def test_the_page_shows_what_is_drawn() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rewritten(page) == page
    assert picture(failed_checkout()) in page


_NAMES = st.integers(0, 9).map(str)
_TEXTS = st.text(max_size=40)
_SPANS = st.lists(
    st.builds(
        lambda name, id, start, length, parent, service, status, text, kind, wild: span(
            name,
            start,
            start + length,
            parent,
            id=id,
            service=service,
            status=status,
            status_message=text,
            kind=kind,
            attributes={text: wild},
            events=[event(text, start, **{text or "k": wild})],
            links=[{"trace_id": text, "span_id": id, "attributes": {text: wild}}],
        ),
        _TEXTS,
        _NAMES,
        st.floats(-1e6, 1e6),
        st.floats(0, 1e5),
        st.none() | _NAMES,
        st.sampled_from(["a", "b", "サービス"]),
        st.sampled_from(["unset", "error"]),
        _TEXTS,
        st.sampled_from(["internal", "consumer"]),
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | _TEXTS | st.lists(st.integers(0, 9), max_size=3),
    ),
    max_size=12,
)
_LOGS = st.lists(
    st.builds(log, _TEXTS, st.floats(-1e6, 1e6), st.none() | _NAMES, level=st.sampled_from(["DEBUG", "WARN", "ERROR"])),
    max_size=8,
)


@given(
    _SPANS,
    _LOGS,
    st.integers(1, 200),
    st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=40)
def test_whatever_a_trace_holds_it_is_drawn_in_the_width_and_the_encoding(
    spans: list[SpanRow], logs: list[LogRow], width: int, encoding: str, everything: bool, attributes: bool
) -> None:
    drawn = picture(trace_of(spans, logs), width=width, encoding=encoding, everything=everything, attributes=attributes)
    drawn.encode(encoding)
    lines = drawn.split("\n")
    assert all(line.isprintable() for line in lines)
    assert max(map(cell_len, lines)) <= max(40, width)


def test_all_shows_each_of_many_siblings_and_log_records() -> None:
    spans = [span("root", 0, 100), *(span("item", at, at + 1, "root", id=f"i{at}") for at in range(50))]
    logs = [log(f"line {at}", at, "root") for at in range(50)]
    drawn = picture(trace_of(spans, logs), everything=True)
    assert drawn.count("shop item ") == 50 + 1  # one in the account of the path
    assert all(f"line {at}\n" in drawn for at in range(50))
    assert "more" not in drawn


def test_siblings_that_hold_something_alarming_are_not_hidden() -> None:
    spans = [span("root", 0, 100), *(span("item", at, at + 1, "root", id=f"i{at}") for at in range(50))]
    spans += [span("inner", 20, 20.5, "i20", id="inner", status="error")]
    view = view_of(trace_of(spans, [log("half of it is missing", 30, "i30", level="WARN")]))
    items = grouped(view.nodes, view.nodes[0].children)
    shown = [view.nodes[item].row.span_id for item in items if isinstance(item, int)]
    assert [id.strip(b"\0") for id in shown] == [b"i0", b"i1", b"i20", b"i30"]
    [together] = [item for item in items if isinstance(item, Together)]
    assert (len(together.members), together.below, together.errors, together.notes) == (46, 0, 0, 0)


def test_ten_thousand_spans_in_a_chain_and_in_a_fan_are_drawn() -> None:
    chain = [span("step", 0, 20_000, id="c0")]
    chain += [span("step", at, 20_000 - at, f"c{at - 1}", id=f"c{at}") for at in range(1, 5_000)]
    fan = [span("item", at, at + 1, "c0", id=f"f{at}") for at in range(5_000)]
    lines = picture(trace_of([*chain, *fan])).split("\n")
    assert 5_000 < len(lines) < 5_100
    assert sum("4,99" in line and "more item" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (9_994_000, "9.99 ms"),
        (9_996_000, "10.0 ms"),
        (99_960_000, "100 ms"),
        (999_400_000, "999 ms"),
        (999_600_000, "1.00 s"),
        (59_900_000_000, "59.9 s"),
        (59_990_000_000, "1 m 00 s"),
        (125_000_000_000, "2 m 05 s"),
        (3_599_600_000_000, "1 h 00 m"),
        (10_920_000_000_000, "3 h 02 m"),
        (-1_500_000, "-1.50 ms"),
        (2**64, "5,124,095 h 34 m"),
    ],
)
def test_durations_are_short(ns: int, text: str) -> None:
    assert duration_text(ns) == text


def test_a_time_that_no_calendar_has_is_told_as_a_number() -> None:
    assert time_text(1_769_860_800_123_456_789) == "2026-01-31 12:00:00.123Z"
    assert time_text(2**70).endswith(" ns after 1970")
