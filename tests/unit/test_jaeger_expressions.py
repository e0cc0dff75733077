"""Conditions come over the wire as they were written."""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.api.jaeger.expressions import call_from_proto, call_to_proto
from ares_otel.api.jaeger.proto import expression_v1_pb2 as pb
from ares_otel.query.search.expression import (
    LEVELS,
    OPERATORS,
    TYPES,
    Attribute,
    Call,
    Expression,
    Field,
    Nested,
    Refused,
    Scalar,
    Values,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
levels = st.sampled_from(("", *LEVELS)) | texts
types = st.sampled_from(("", *TYPES)) | texts
operators = st.sampled_from(OPERATORS) | texts
leaves: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Attribute, texts, levels),
    st.builds(Field, texts, levels),
    st.builds(Nested, levels),
    st.builds(Scalar, texts, types),
    st.builds(Values, st.lists(texts, max_size=4).map(tuple), types),
)


def calls_of(arguments: st.SearchStrategy[Expression]) -> st.SearchStrategy[Call]:
    return st.builds(Call, operators, st.lists(arguments, max_size=4).map(tuple))


calls = calls_of(st.recursive(leaves, calls_of, max_leaves=12))


@settings(max_examples=50)
@given(calls)
def test_a_condition_survives_protobuf_and_its_json(call: Call) -> None:
    message = call_to_proto(call)
    assert call_from_proto(pb.Call.FromString(message.SerializeToString())) == call
    parsed = json_format.Parse(json_format.MessageToJson(message), pb.Call())
    assert call_from_proto(parsed) == call


def test_the_example_of_the_contract_is_read() -> None:
    message = json_format.ParseDict(
        {"op": "eq", "args": [{"attr": {"key": "http.status_code"}}, {"scalar": {"value": "500"}}]}, pb.Call()
    )
    assert call_from_proto(message) == Call("eq", (Attribute("http.status_code"), Scalar("500")))


def test_an_empty_argument_is_refused_by_its_place() -> None:
    message = pb.Call(op="not", args=[pb.Expression(call=pb.Call(op="eq", args=[pb.Expression(), pb.Expression()]))])
    with pytest.raises(Refused, match=r"argument 1 of 'eq' is empty"):
        call_from_proto(message)
