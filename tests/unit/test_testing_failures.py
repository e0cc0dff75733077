"""How assertions of `ares_otel.testing` fail: what the message says, and what it never does to a terminal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ares_otel.testing import Otel
from ares_otel.testing.attributes import difference, has_all, holds
from ares_otel.testing.failing import sections
from ares_otel.testing.shown import cells, shown_name, shown_value
from ares_otel.testing.waterfall import draw
from tests.support.testing_page import PAGE, examples, fails_with

tracer = trace.get_tracer("shop")
page = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("code", "said"), examples(page), ids=lambda text: text.splitlines()[-1][:60])
def test_an_example_of_the_page_fails_as_the_page_says(code: str, said: str) -> None:
    assert fails_with(page, code) == said, "run `python -m tests.support.testing_page`"


def test_every_assertion_of_a_span_is_on_the_page() -> None:
    from ares_otel.testing import CapturedSpan

    names = [name for name in vars(CapturedSpan) if name.startswith(("is_", "has_", "lacks_", "links_", "lasted"))]
    assert not [name for name in names if f"{name}(" not in page and f"{name}," not in page]


@pytest.mark.parametrize(
    "text", ["\x1b[2J\x1b]0;x\x07", "a\nb\rc", "\u202egnp", "\ud800", "x" * 5_000_000, "\0", "名" * 99]
)
def test_a_hostile_name_is_shown_safely(otel: Otel, text: str) -> None:
    with tracer.start_as_current_span(text) as span:
        span.set_attribute(text[:100], text)
        span.set_status(Status(StatusCode.ERROR, text))
        span.add_event(text, {"exception.type": text, "exception.message": text})

    [one] = otel.spans()
    failing: list[Callable[[], object]] = [
        lambda: otel.span("other"),
        lambda: otel.span(text + "x"),
        lambda: one.has_event("other"),
        lambda: one.has_attributes({text: 1}),
        lambda: one.has_error(message=text + "x"),
        lambda: one.is_child_of(text),
        otel.no_errors,
    ]
    for fail in failing:
        with pytest.raises(AssertionError) as raised:
            fail()
        _is_safe(str(raised.value))
    _is_safe(repr(one))
    _is_safe(otel.tree())


def test_a_name_that_is_no_text_is_one(otel: Otel) -> None:
    name: Any = 123
    trace.get_tracer("x").start_span(name).end()

    assert otel.span(re.compile("12")).name == "123"
    with pytest.raises(AssertionError, match="no span named 'x'"):
        otel.span("x")


def test_a_picture_that_fails_does_not_end_the_run() -> None:
    class Broken:
        def tree(self) -> str:
            raise RuntimeError("no picture")

        complaints = tree

    assert sections(ValueError(), {"otel": Broken(), "ares": Broken()}) == [
        ("Captured telemetry", "It cannot be shown: RuntimeError: no picture"),
        ("What Ares said", "It cannot be shown: RuntimeError: no picture"),
    ]


def test_hostile_log_records_metrics_and_values_are_shown_safely(otel: Otel) -> None:
    class Bomb:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    _logs.get_logger("x").emit(body=cast(Any, Bomb()))

    logging.getLogger("\x1b[31m").error(
        "\x1b[2J", extra={"bomb": Bomb(), "deep": [[[[[1]]]]], "long": list(range(10**6))}
    )
    metrics.get_meter("x").create_counter("c").add(1, {"\x1b": "\x1b" * 100_000})

    _is_safe(otel.tree())
    _is_safe(repr(otel.logs()[0]))
    _is_safe(repr(otel.logs()[1]))
    _is_safe(repr(otel.metric("c")))
    with pytest.raises(AssertionError) as raised:
        otel.logs()[1].has_attributes(bomb=1, deep=1, long=1)
    _is_safe(str(raised.value))


@given(st.text())
def test_a_name_is_one_printable_line_of_bounded_length(text: str) -> None:
    shown = shown_name(text)
    assert shown.isprintable()
    assert len(shown) <= 60
    assert shown == text or not text.isprintable() or len(text) > 60


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(_values)
def test_a_value_is_one_printable_line_of_bounded_length(value: object) -> None:
    shown = shown_value(value)
    assert shown.isprintable()
    assert len(shown) <= 80


@given(_values, _values)
def test_the_difference_shows_what_does_not_hold(expected: Any, actual: Any) -> None:
    lines = difference({"key": expected}, {"key": actual})
    assert lines[1].startswith("✗") != has_all({"key": expected}, {"key": actual})
    assert all(line.isprintable() for line in lines)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 50)), max_size=60), st.integers(0, 12))
def test_any_spans_are_drawn_each_once(shape: list[tuple[int, int, int]], marked: int) -> None:
    """Parents that are missing, that are the span itself, that go round in a circle."""
    spans = {own: _span(own, parent, start) for own, parent, start in shape}
    lines = draw(list(spans.values()), {1 << 64 | marked: "here"})
    drawn = [int(number) for line in lines for number in re.findall(r"span_(\d+)", line)]
    assert sorted(drawn) == sorted(spans)


def test_a_trace_of_thousands_shows_what_matters() -> None:
    deep = [_span(number, number - 1, number) for number in range(1, 1001)]
    lines = draw(deep, {1 << 64 | 900: "this span"})
    assert len(lines) < 130
    assert any("span_900" in line and "◀ this span" in line for line in lines)
    assert max(map(len, lines)) < 200


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        (1, 1, True),
        (1, True, False),
        (True, 1, False),
        (1, 1.0, True),
        ("1", 1, False),
        ([1, 2], (1, 2), True),
        ([True], (1,), False),
        ({"a": [1]}, {"a": (1,)}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (re.compile("ord"), "orders", True),
        (re.compile("ord"), 5, False),
        (re.compile(b"ord"), "orders", False),
        (pytest.approx(0.3), 0.1 + 0.2, True),
        (mock.ANY, True, True),
        (b"x", b"x", True),
        (None, None, True),
    ],
)
def test_a_value_is_compared_as_otlp_has_it(expected: object, actual: object, right: bool) -> None:
    assert holds(expected, actual) is right


def test_wide_characters_take_two_cells() -> None:
    assert (cells("abc"), cells("名前"), cells("é")) == (3, 4, 1)


def test_our_frames_are_not_shown(otel: Otel) -> None:
    """pytest leaves out frames that say so; the last one it shows is the test's."""
    with pytest.raises(AssertionError) as raised:
        otel.span("x")
    hidden = [bool(entry.frame.f_locals.get("__tracebackhide__")) for entry in raised.traceback]
    assert hidden == [False] + [True] * (len(hidden) - 1)


def _span(own: int, parent: int, start: int) -> ReadableSpan:
    def context(number: int) -> SpanContext:
        return SpanContext(1, number, is_remote=False, trace_flags=TraceFlags(1))

    return ReadableSpan(
        f"span_{own}",
        context=context(own),
        parent=context(parent) if parent else None,
        kind=SpanKind.INTERNAL,
        start_time=start,
        end_time=start + own,
    )


def _is_safe(text: str) -> None:
    assert len(text) < 10_000
    assert all(one.isprintable() for line in text.split("\n") for one in line)
