"""What `ares-otel traces --attr …` is read as, and the search that is made of the options."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.cli.traceview.asked import Asked, make_query, parse_attribute
from ares_otel.query.search.expression import Attribute, Call, Field, Scalar
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.search.validate import validate
from ares_otel.query.trace_prefix import parse_prefix

FORMS = {
    "a=b": Asked("a", "eq", "b"),
    "a=": Asked("a", "eq", ""),
    "a=b=c": Asked("a", "eq", "b=c"),
    "a = b": Asked("a", "eq", " b"),
    "url=http://x/?a>b": Asked("url", "eq", "http://x/?a>b"),
    "a!=b": Asked("a", "ne", "b"),
    "a>1": Asked("a", "gt", "1"),
    "a>=1": Asked("a", "gte", "1"),
    "a<1": Asked("a", "lt", "1"),
    "a<=1": Asked("a", "lte", "1"),
    "a=~^b": Asked("a", "regex", "^b"),
    "a.b-c[0] d": Asked("a.b-c[0] d", "exists"),
}


@pytest.mark.parametrize("text", FORMS)
def test_an_attribute_is_read_in_every_form(text: str) -> None:
    assert parse_attribute(text) == FORMS[text]


@pytest.mark.parametrize("text", ["", "=", "=b", "!=b", "  ", " =b", "\r<", "~a", "!a"])
def test_what_has_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be KEY=VALUE"):
        parse_attribute(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        asked = parse_attribute(text)
        assert asked.key
        assert asked.key in text


def query(*attributes: str, **options: Any) -> TraceQuery:
    given: dict[str, Any] = {
        "service": None, "operation": None, "error": False, "min_ns": None, "max_ns": None, "start": None, "end": None,
        "limit": 20, **options,
    }  # fmt: skip
    made = make_query(attributes=[parse_attribute(text) for text in attributes], **given)
    validate(made)
    return made


def test_plain_attributes_are_looked_for_as_tags_and_an_error_is_one() -> None:
    made = query("a=1", service="shop", operation="GET", error=True, min_ns=5, max_ns=9)
    assert made.attributes == (Wanted("a", "1", loose=True), Wanted("error", True))
    assert (made.service, made.operation, made.min_ns, made.max_ns, made.filter) == ("shop", "GET", 5, 9, None)


def test_any_other_form_makes_everything_one_expression() -> None:
    made = query("a=1", "b>2", service="shop", operation="GET", error=True, min_ns=5, max_ns=9)
    assert (made.service, made.operation, made.min_ns, made.max_ns, made.attributes) == (None, None, None, None, ())
    assert made.filter == Call(
        "and",
        (
            Call("eq", (Attribute("a"), Scalar("1"))),
            Call("gt", (Attribute("b"), Scalar("2"))),
            Call("eq", (Field("service", "resource"), Scalar("shop"))),
            Call("eq", (Field("name", "span"), Scalar("GET"))),
            Call("eq", (Field("status", "span"), Scalar("error"))),
            Call("gte", (Field("duration", "span"), Scalar("5ns"))),
            Call("lte", (Field("duration", "span"), Scalar("9ns"))),
        ),
    )
    assert query("b").filter == Call("exists", (Attribute("b"),))


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("5b8aa5a2", "5b8aa5a2"),
        ("5B8AA5A2-d2c8", "5b8aa5a2d2c8"),
        ("5" * 31, "5" * 31),
        ("5" * 32, None),
        ("5" * 7, None),
        ("5b8aa5ag", None),
        ("", None),
        ("-" * 36, None),
        ("5" * 1000, None),
    ],
)
def test_the_beginning_of_an_id_has_8_digits_or_more(text: str, prefix: str | None) -> None:
    assert parse_prefix(text) == prefix
