"""Durations are read as Go reads them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.go_duration import MAX_NS, parse_go_duration, show_go_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("0", 0), ("0s", 0), ("+0", 0), ("-0", 0), ("5s", 5_000_000_000), ("+5s", 5_000_000_000)),
        *(("-5s", -5_000_000_000), ("5.0s", 5_000_000_000), ("5.s", 5_000_000_000), (".5s", 500_000_000)),
        *(("100ms", 100_000_000), ("1us", 1_000), ("1\N{MICRO SIGN}s", 1_000), ("1\N{GREEK SMALL LETTER MU}s", 1_000)),
        *(("11ns", 11), ("1h2m3s4ms5us6ns", 3_723_004_005_006), ("3m1h", 3_780_000_000_000), ("1m1m", 120_000_000_000)),
        *(("0.3333333333333333333h", 1_200_000_000_000 - 1), ("0.9ns", 0), ("0.100000000000000000000h", 360 * 10**9)),
        *(
            ("9223372036854775807ns", MAX_NS),
            ("-9223372036854775808ns", -(2**63)),
            ("2562047h47m16.854775807s", MAX_NS),
        ),
    ],
)
def test_a_duration_is_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert parse_go_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "+",
            "-",
            "3",
            "1000",
            "s",
            ".s",
            "-.s",
            "+.s",
            ".",
            "1s2",
            "1d",
            "1 s",
            " 1s",
            "1s ",
            "--1s",
            "1S",
            "1e3s",
        ),
        *("9223372036854775808ns", "3000000h", "-9223372036854775809ns", "１s", "1s\0", "0x1s", "1" * 200 + "s"),
    ],
)
def test_what_go_refuses_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a duration"):
        parse_go_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        *((0, "0s"), (1, "1ns"), (1_100, "1.1\N{MICRO SIGN}s"), (2_200_000, "2.2ms"), (3_300_000_000, "3.3s")),
        *((245_000_000_000, "4m5s"), (245_001_000_000, "4m5.001s"), (18_367_001_000_000, "5h6m7.001s")),
        *((480_000_000_001, "8m0.000000001s"), (MAX_NS, "2562047h47m16.854775807s"), (-1_500_000, "-1.5ms")),
    ],
)
def test_a_duration_is_shown_as_go_shows_it(nanoseconds: int, text: str) -> None:
    assert show_go_duration(nanoseconds) == text


@given(st.integers(-(2**63), MAX_NS))
def test_what_is_shown_is_read_back(nanoseconds: int) -> None:
    assert parse_go_duration(show_go_duration(nanoseconds)) == nanoseconds


@given(st.text(alphabet="0123456789.+-nuµmsh \0eé") | st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert -(2**63) <= parse_go_duration(text) <= MAX_NS
