"""What a search cannot serve is refused with the place and what to do, before the database is asked."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.query.reader import QueryTooSlow
from ares_otel.query.search.check import MAX_DEPTH, MAX_NODES, MAX_PATTERNS, MAX_TEXT, MAX_VALUES
from ares_otel.query.search.constants import parse_bool, parse_duration, parse_float, parse_instant, parse_int
from ares_otel.query.search.expression import (
    LEVELS,
    OPERATORS,
    TYPES,
    Attribute,
    Call,
    Field,
    Nested,
    Refused,
    Scalar,
    Values,
)
from ares_otel.query.search.fields import FIELDS
from ares_otel.query.search.pattern import Pattern
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.search.validate import MAX_ATTRIBUTES, MAX_LIMIT, validate

A, FIVE = Attribute("a"), Scalar("5")
NAME, DURATION, KIND, STATUS = (Field(name, "span") for name in ("name", "duration", "kind", "status"))
EQ = Call("eq", (A, FIVE))
EVENT = Call("eq", (Field("name", "event"), Scalar("x")))


def deep(op: str, depth: int) -> Call:
    """Calls inside each other."""
    made = EQ
    for _ in range(depth - 1):
        made = Call(op, (made,))
    return made


REFUSED: list[tuple[Any, str]] = [
    (Call("matches", (A, FIVE)), "'matches' is not an operator; use one of and, or"),
    (Call("", ()), "'' is not an operator"),
    (Call("and", ()), "filter.and: and needs conditions"),
    (Call("and", (EQ, A)), r"filter.and\[1\]: an attribute is not a condition"),
    (Call("or", (FIVE,)), r"filter.or\[0\]: a constant is not a condition"),
    (Call("not", ()), "not takes a condition; it has 0 arguments"),
    (Call("not", (EQ, EQ)), "it has 2 arguments"),
    (Call("not", (Values(("x",)),)), "a list is not a condition"),
    (Call("eq", (A,)), "eq takes two values; it has 1 argument\\."),
    (Call("eq", (A, FIVE, FIVE)), "it has 3 arguments"),
    (Call("eq", (FIVE, FIVE)), "two constants are compared"),
    (Call("eq", (A, Values(("5",)))), "an attribute or a field belongs here, not a list"),
    (Call("eq", (A, Nested("event"))), "not nested"),
    (Call("eq", (A, EQ)), "not a condition"),
    (Call("eq", (A, None)), "not nothing"),  # type: ignore[arg-type]
    (Call("exists", (FIVE,)), "an attribute or a field belongs here, not a constant"),
    (Call("exists", (A, A)), "it has 2 arguments"),
    (Call("in", (A, FIVE)), r"filter.in\[1\]: in takes a list of values, not a constant"),
    (Call("not_in", (A,)), "it has 1 argument"),
    (Call("in", (Values(()), Values(()))), "belongs here, not a list"),
    (Call("some", (A, EQ)), "some goes through nested events or links, not an attribute"),
    (Call("some", (Nested("span"), EQ)), "the level event or link, not 'span'"),
    (Call("some", (Nested("event"), A)), "an attribute is not a condition"),
    (Call("some", (Nested("event"),)), "it has 1 argument"),
    (Call("some", (Nested("event"), Call("some", (Nested("event"), EVENT)))), "stands inside another"),
    (Call("regex", (A, FIVE, FIVE)), "it has 3 arguments"),
    (Call("regex", (A, Scalar("(", ""))), r"filter.regex\[1\]: '\(' must be a regular expression in RE2's syntax"),
    (Call("regex", (A, Scalar("(a)\\1"))), "RE2's syntax"),
    (Call("regex", (A, Scalar("a(?=b)"))), "RE2's syntax"),
    (Call("regex", (A, Scalar("((a{100}){100}){100}"))), "RE2's syntax|simpler"),
    (Call("regex", (A, Scalar("x" * 5000))), "characters at most"),
    (Call("regex", (A, Scalar("5", "int"))), "a constant of the type string"),
    (Call("regex", (A, Values(("x",)))), "regex takes a pattern"),
    (Call("regex", (DURATION, Scalar("x"))), "regex looks at text, and duration is none"),
    (Call("regex", (Scalar("x"), A)), "belongs here, not a constant"),
    (Call("gt", (A, Scalar("true", "bool"))), "a boolean has no order"),
    (Call("gt", (KIND, Scalar("server"))), "kind has no order"),
    (Call("lte", (Scalar("ok"), STATUS)), "status has no order"),
    (Call("gt", (A, STATUS)), "status has no order"),
    (Call("eq", (DURATION, NAME)), "duration and name are not the same kind of value"),
    (Call("eq", (Attribute(""), FIVE)), "an attribute needs a key"),
    (Call("eq", (Attribute("k" * 5000), FIVE)), "a key may have"),
    (Call("eq", (Attribute("a", "trace"), FIVE)), "'trace' is not a level; use one of span, resource"),
    (Call("eq", (Field("name", "trace"), FIVE)), "'trace' is not a level"),
    (Call("eq", (Field("colour", "span"), FIVE)), "the level span has no field 'colour'; it has traceID, spanID"),
    (Call("eq", (Field("service", "span"), FIVE)), "no field 'service'"),
    (Call("eq", (Field("duration", "resource"), FIVE)), "no field 'duration'"),
    (Call("eq", (A, Scalar("5", "integer"))), "'integer' is not a type; use one of string, int, double, bool"),
    (Call("eq", (A, Scalar("banana", "int"))), "'banana' must be a whole number"),
    (Call("eq", (A, Scalar("9223372036854775808", "int"))), "must be a whole number of 64 bits"),
    (Call("eq", (A, Scalar("1_0", "double"))), "'1_0' must be a number"),
    (Call("eq", (A, Scalar("yes", "bool"))), "'yes' must be true or false"),
    (Call("in", (A, Values(("1", "x"), "int"))), "'x' must be a whole number"),
    (Call("eq", (NAME, Scalar("5", "int"))), "name holds text, not int"),
    (Call("in", (NAME, Values(("5",), "double"))), "name holds text, not double"),
    (Call("gt", (DURATION, Scalar("banana"))), "'banana' must be a duration with its unit"),
    (Call("gt", (DURATION, Scalar("1.5", "double"))), "duration holds no double"),
    (Call("gt", (DURATION, Scalar("1 s"))), "must be a duration"),
    (Call("gt", (Field("startTime", "span"), Scalar("yesterday"))), "must be an RFC 3339 time"),
    (Call("eq", (KIND, Scalar("router"))), "kind is one of unspecified, internal, server"),
    (Call("in", (STATUS, Values(("ok", "fine")))), "status is one of unset, ok, error, not 'fine'"),
    (deep("not", MAX_DEPTH + 1), f"may be {MAX_DEPTH} deep"),
    (Call("and", (EQ,) * MAX_NODES), f"{MAX_NODES} parts at most"),
    (Call("in", (A, Values(("x",) * (MAX_VALUES + 1)))), f"{MAX_VALUES} values at most"),
    (Call("eq", (A, Scalar("x" * (MAX_TEXT + 1)))), "bytes together"),
    (Call("or", (Call("regex", (A, Scalar("x"))),) * (MAX_PATTERNS + 1)), f"{MAX_PATTERNS} regular expressions"),
    (Call("eq", (A, Scalar("\ud800"))), "unpaired surrogates"),
]


@pytest.mark.parametrize(("filter_", "message"), REFUSED, ids=lambda one: str(one)[:60])
def test_a_filter_that_cannot_be_served_is_refused_with_its_place(filter_: Call, message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        validate(TraceQuery(filter=filter_))
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("filter_", [
    deep("not", MAX_DEPTH),
    Call("in", (DURATION, Values(("1s", "2", "1h2m3.5s")))),
    Call("in", (A, Values(()))),
    Call("some", (Nested("event"), Call("some", (Nested("link"), EVENT)))),
    Call("eq", (Field("service.name"), FIVE)),
    Call("eq", (Field("OPERATION_NAME", "span"), FIVE)),
    Call("eq", (KIND, Scalar("SPAN_KIND_SERVER"))),
    Call("lt", (Scalar("2026-01-31T12:00:00.123456789Z"), Field("end_time", "span"))),
])  # fmt: skip
def test_a_filter_that_can_be_served_is_not(filter_: Call) -> None:
    validate(TraceQuery(filter=filter_))


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"service": "x"}, "filter: it excludes service"),
        ({"operation": ""}, "filter: it excludes operation"),
        ({"kind": "server"}, "excludes kind"),
        ({"attributes": (Wanted("a", 1),)}, "excludes attributes"),
        ({"min_ns": 0}, "excludes min_ns"),
        ({"max_ns": 1}, "excludes max_ns"),
    ],
)
def test_a_filter_excludes_the_other_fields(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        validate(replace(TraceQuery(filter=EQ, limit=7), **given_))


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"limit": 0}, f"limit: it must be 1 to {MAX_LIMIT}"),
        ({"limit": MAX_LIMIT + 1}, "limit"),
        ({"kind": "router"}, "kind: it is one of"),
        ({"min_ns": 2**63}, "min_ns: it must fit"),
        ({"attributes": (Wanted("", 1),)}, "a key is empty"),
        ({"attributes": (Wanted("k" * 5000, 1),)}, "a key may have"),
        ({"attributes": (Wanted("a", 2**64),)}, "must fit into 64 bits"),
        ({"attributes": (Wanted("a", "x" * 100_000),)}, "bytes together"),
        ({"attributes": (Wanted("a", 1),) * (MAX_ATTRIBUTES + 1)}, "may be given at most"),
        ({"attributes": (Wanted("a", 1),), "levels": ()}, "levels: give some of"),
        ({"attributes": (Wanted("a", 1),), "levels": ("trace",)}, "levels: give some of"),
        ({"attributes": (Wanted("a", {str(key): 1 for key in range(9)}),)}, "orders"),
        ({"attributes": (Wanted("a", [{str(key): 1 for key in range(4)}] * 3_000),)}, "orders"),
        (
            {"attributes": tuple(Wanted(f"a{n}", {str(key): 1 for key in range(5)}) for n in range(50))},
            "over all these",
        ),
        ({"attributes": (Wanted("a", [1] * 2_000),)}, "2000 values"),
        ({"attributes": (Wanted("a", "\udfff"),)}, "unpaired surrogates"),
    ],
)
def test_fields_that_cannot_be_served_are_refused_by_name(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        validate(TraceQuery(**given_))


def _nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def test_a_value_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(Refused, match="arrays or objects deep"):
        validate(TraceQuery(attributes=(Wanted("a", _nested(40)),)))


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0), ("1.5s", 1_500_000_000), ("1h2m3s4ms5us6ns", 3_723_004_005_006), ("-2m", -120_000_000_000),
        (".5us", 500), ("100µs", 100_000), ("100μs", 100_000), ("42", 42), ("", None), ("s", None), ("1", 1),
        ("1.5", None), ("1d", None), ("1s ", None), ("2562048h", None), ("1s1s", 2_000_000_000), ("9" * 50 + "h", None),
    ],
)  # fmt: skip
def test_durations_are_read_as_go_reads_them(text: str, nanoseconds: int | None) -> None:
    assert parse_duration(text) == nanoseconds


@given(st.text(max_size=30))
def test_any_text_is_read_as_something_or_nothing(text: str) -> None:
    for parse in (parse_int, parse_float, parse_bool, parse_duration, parse_instant):
        parse(text)


def test_a_regular_expression_stops_when_its_time_is_over() -> None:
    pattern = Pattern("(a|b)*c")
    texts = ["ab" * 100_000, "c"] * 10
    assert pattern.matching(texts, until=time.monotonic() + 60) == ["c"] * 10
    with pytest.raises(QueryTooSlow, match="takes too long"):
        pattern.matching(texts, until=0.0)


_names = st.text(max_size=5)
_leaves = st.one_of(
    st.builds(Attribute, _names, _names),
    st.builds(Attribute, st.just("a"), st.sampled_from(("", *LEVELS))),
    st.builds(Field, _names, _names),
    st.sampled_from(sorted(FIELDS)).map(lambda pair: Field(pair[1], pair[0])),
    st.builds(Nested, st.sampled_from(("", *LEVELS))),
    st.builds(Scalar, _names, st.sampled_from(("", *TYPES, "x"))),
    st.builds(Values, st.lists(_names, max_size=3).map(tuple), st.sampled_from(("", *TYPES))),
)
_trees = st.recursive(
    _leaves,
    lambda inner: st.builds(Call, st.sampled_from((*OPERATORS, "x")), st.lists(inner, max_size=3).map(tuple)),
    max_leaves=12,
)


@given(st.builds(Call, st.sampled_from(OPERATORS), st.lists(_trees, max_size=3).map(tuple)))
def test_any_tree_is_served_or_refused(filter_: Call) -> None:
    with suppress(Refused):
        validate(TraceQuery(filter=filter_))
