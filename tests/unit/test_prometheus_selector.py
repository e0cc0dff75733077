"""Series selectors: PromQL's syntax, RE2's expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.selector import InvalidSelector, parse_selector


@pytest.mark.parametrize(
    ("text", "matchers"),
    [
        ("up", [("__name__", "=", "up")]),
        ("job:rate:5m", [("__name__", "=", "job:rate:5m")]),
        (' up { job = "a" , code != "5" , } ', [("__name__", "=", "up"), ("job", "=", "a"), ("code", "!=", "5")]),
        ('{a="1"}', [("a", "=", "1")]),
        ("{a='1'}", [("a", "=", "1")]),
        ('{"http.requests", "http.method"="GET"}', [("__name__", "=", "http.requests"), ("http.method", "=", "GET")]),
        ('{__name__=~"job:.*"}', [("__name__", "=~", "job:.*")]),
        ('{a=~"x|y",b!~"z"}', [("a", "=~", "x|y"), ("b", "!~", "z")]),
        (r'{a="\"\\\n\t\x41\u00e9\U0001F600\101"}', [("a", "=", '"\\\n\tAé\U0001f600A')]),
        (r"{a=`\d\n`}", [("a", "=", r"\d\n")]),
        ('{a="#,}{"}', [("a", "=", "#,}{")]),
        ("up{}", [("__name__", "=", "up")]),
    ],
)
def test_a_selector_is_read(text: str, matchers: list[tuple[str, str, str]]) -> None:
    assert [(m.label, m.operator, m.value) for m in parse_selector(text).matchers] == matchers


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "names a metric or has conditions"),
        ("{}", "names a metric or has conditions"),
        ('{a=""}', "would select everything"),
        ('{a=~".*"}', "would select everything"),
        ('{a!="x"}', "would select everything"),
        ("{a}", "an operator"),
        ('{a="b"', "a comma or a closing brace"),
        ('{a="b" c="d"}', "a comma or a closing brace"),
        ('{a="b}', "a text in quotes"),
        ("{a=b}", "a text in quotes"),
        ('{="b"}', "the name of a label"),
        ('{a:b="c"}', "an operator"),
        ("up up", "stands behind the selector"),
        ("up[5m]", "stands behind the selector"),
        ("sum(up)", "stands behind the selector"),
        ('up{"down"}', "twice"),
        ('{a=~"("}', "RE2's syntax"),
        ('{a=~"(?=x)"}', "RE2's syntax"),
        (r'{a="\q"}', r"no escape \q"),
        (r'{a="\ud800"}', "names no character"),
        (f'{{a=~"{"x" * 5000}"}}', "4096 characters at most"),
        ("{" + ",".join(f'a{n}="1"' for n in range(101)) + "}", "100 conditions at most"),
        ("x" * 9000, "8192 characters at most"),
    ],
)
def test_what_is_no_selector_is_refused_with_a_reason(text: str, what: str) -> None:
    with pytest.raises(InvalidSelector) as found:
        parse_selector(text)
    assert what in str(found.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{code="200"}', True),
        ('{code="20"}', False),
        ('{code=~"20"}', False),
        ('{code=~"2.."}', True),
        ('{code=~"1|200"}', True),
        ('{code="200",code!~"2"}', True),
        ('{code="200",code!~"2.."}', False),
        ('{code="200",absent=""}', True),
        ('{code="200",absent!=""}', False),
        ('{code="200",absent=~"x?"}', True),
        ('{lines=~"a.b"}', True),
        ("http_requests", True),
        ("http_requests_count", True),
        ('{__name__=~"http_.*",__name__!~".*_count"}', True),
        ('{__name__="http_requests",__name__="http_requests_count"}', False),
        ("other", False),
    ],
)
def test_series_are_matched_as_in_prometheus(text: str, expected: bool) -> None:
    labels = {"code": "200", "lines": "a\nb"}
    assert parse_selector(text).matches(labels, ("http_requests", "http_requests_count")) is expected


@given(st.text(max_size=40) | st.text("{}[]=~!\"'`,\\ ax_:", max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    try:
        made = parse_selector(text)
    except InvalidSelector:
        return
    assert made.matchers


@pytest.mark.parametrize("pattern", [r"(?i)[\\pL\\pN]{1,200}", r"\\pL{500}"])
def test_a_regular_expression_that_needs_much_memory_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSelector, match="too much memory"):
        parse_selector(f'{{a=~"{pattern}"}}')
