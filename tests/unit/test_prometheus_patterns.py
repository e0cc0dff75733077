"""What is told of a regular expression without trying it."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.query.prometheus.patterns import alternatives, common, prefix

PIECES = (
    "a",
    "b",
    "ab",
    ".",
    "*",
    "+",
    "?",
    "|",
    "(",
    ")",
    "\\.",
    "\\|",
    "\\\\",
    "\\d",
    "[ab]",
    "{2}",
    "^",
    "$",
    "ü",
    "(?i)",
)
TEXTS = st.text(alphabet="ab.|\\üAB1", max_size=6)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("a|b", ["a", "b"]),
        ("(a|b)", ["a", "b"]),
        ("pod-1|pod-2", ["pod-1", "pod-2"]),
        (r"a\.b|c", ["a.b", "c"]),
        (r"a\|b", ["a|b"]),
        ("a|", ["a", ""]),
        ("a.b", None),
        (r"\d", None),
        ("(a)|(b)", None),
        ("a|b*", None),
        ("a\\", None),
    ],
)
def test_a_list_of_texts_is_known(pattern: str, expected: list[str] | None) -> None:
    assert alternatives(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("prod-.*", "prod-"),
        (r"a\.b.*", "a.b"),
        ("ab?", "a"),
        ("ab*c", "a"),
        ("ab+", "ab"),
        ("a{0}b", ""),
        ("a|b", ""),
        ("(?i)ab", ""),
        ("^ab", ""),
        (".*a", ""),
        (r"a\d", "a"),
    ],
)
def test_what_an_expression_begins_with_is_known(pattern: str, expected: str) -> None:
    assert prefix(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (".*77", "77"),
        ("pod-.*-prod", "-prod"),
        ("a(long|list)bc", ""),
        ("a(long)bc", "bc"),
        ("[abc]+de", ""),
        ("fg[]ab]de", "fg"),
        (r"\x41b", ""),
        ("ab{2}cd", "cd"),
        ("abc?", "ab"),
        ("(?i)abc", ""),
        (r"\d+ms", "ms"),
        (r"a\.b", "a.b"),
    ],
)
def test_what_every_value_has_in_it_is_known(pattern: str, expected: str) -> None:
    assert common(pattern) == expected


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), TEXTS)
def test_what_is_told_of_an_expression_is_true(pattern: str, text: str) -> None:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        matches = re2.compile(pattern, options).fullmatch(text) is not None
    except re2.error:
        return
    known = alternatives(pattern)
    if known is not None:
        assert matches == (text in known)
    if matches:
        assert text.startswith(prefix(pattern))
        assert common(pattern) in text
