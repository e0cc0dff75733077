"""What `ares-otel tail` shows of what a sender made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.cli.tail import TailOptions, lines

LOG = {
    "time_unix_nano": "1769860800123456789",
    "service_name": "orders",
    "log_level": "WARN",
    "message": "late",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
}
SPAN = {
    "start_time_unix_nano": "1769860800123456789",
    "service_name": "orders",
    "operation_name": "GET /",
    "duration_ms": 1.55,
    "status": "error",
    "status_message": "no",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
}
EVENT = {"topic": "tail.x", "data": {"logs": [LOG], "spans": [SPAN], "dropped": 3}}
TRACE = "trace=4bf92f3577b34da6a3ce929d0e0e4736"


def shown(event: Any = EVENT, *, colours: bool = False, **options: Any) -> list[str]:
    return list(lines(event, TailOptions("http://x", **options), colours=colours))


def test_a_line_says_when_who_and_what() -> None:
    assert shown() == [
        f"12:00:00.123 SPAN  orders: GET / 1.6 ms failed: no {TRACE}",
        f"12:00:00.123 WARN  orders: late {TRACE}",
        "... 3 more left out: too many to show",
    ]


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"service": "orders"}, 3),
        ({"service": "other"}, 1),
        ({"level": "ERROR"}, 2),
        ({"level": "INFO"}, 3),
        ({"spans": False}, 2),
    ],
)
def test_only_what_is_asked_for_is_shown(options: dict[str, Any], number: int) -> None:
    assert len(shown(**options)) == number


def test_json_is_one_object_a_line() -> None:
    found = [json.loads(line) for line in shown(json=True)]
    assert [item["kind"] for item in found] == ["span", "log"]


def test_hostile_text_stays_text() -> None:
    event = {"data": {"logs": [{**LOG, "message": "\x1b[2J\r\nfake\u202e\x9b" + "x" * 5000, "service_name": "\x07"}]}}
    [line] = shown(event)
    assert line.isprintable()
    assert len(line) == 2000
    [coloured] = shown(event, colours=True)
    assert coloured.startswith("\x1b[33m")
    assert coloured.endswith("\x1b[0m")
    assert coloured[5:-4].isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.sampled_from([*LOG, *SPAN, "data", "logs", "spans", "dropped"]), x),
    max_leaves=20,
)


@settings(max_examples=100)
@given(JSON)
def test_whatever_comes_is_lines_or_nothing(event: Any) -> None:
    for line in shown({"data": event}) + shown({"data": {"logs": [event], "spans": [event]}}):
        assert line.isprintable()


def test_json_says_the_same_and_steers_no_terminal() -> None:
    """DEL, the C1 controls (U+009B begins commands, as ESC [ does), and what turns the direction of text."""
    text = "a\x7f\x85\x9b2J\u2028\u202e\u2066\u061cä\N{SNOWMAN}\x1b[2J"
    event = {"topic": "tail.x", "data": {"logs": [{**LOG, "message": text}]}}
    [line] = shown(event, json=True)
    assert json.loads(line)["message"] == text
    assert line.isprintable()
    assert "ä\N{SNOWMAN}" in line
