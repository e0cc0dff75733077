"""Values as JSON, and when jsonb is the whole truth."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ares_otel.model.batch import Batch
from ares_otel.model.signal import TRACES
from ares_otel.storage.rows import reference
from ares_otel.storage.rows.values import MAX_DEPTH, InvalidItem, json_object, json_text, json_value
from tests.support.otlp_samples import any_value, nested, pairs, trace_request
from tests.support.rows_encoding import NOW, WINDOWS


@pytest.mark.parametrize(
    ("value", "shown", "exact"),
    [
        ("text", '"text"', True),
        ("", '""', True),
        (True, "true", True),
        (0, "0", True),
        (2**63 - 1, "9223372036854775807", True),
        (1.0, "1.0", True),
        (0.0, "0.0", True),
        (1e15, "1000000000000000.0", True),
        (-0.0, "-0.0", False),
        (1e16, "1e+16", False),
        (5e-324, "5e-324", False),
        (float("nan"), '"NaN"', False),
        (float("inf"), '"Infinity"', False),
        (float("-inf"), '"-Infinity"', False),
        (b"\x00\xff", '"AP8="', False),
        (None, "null", False),
        ([], "[]", True),
        ({}, "{}", True),
        ([1, 1.5, "x", {"a": [True]}], '[1,1.5,"x",{"a":[true]}]', True),
        ([1, b""], '[1,""]', False),
        ({"a": {"b": None}}, '{"a":{"b":null}}', False),
    ],
)
def test_values_are_shown_as_people_expect_and_known_to_be_exact_or_not(value: Any, shown: str, exact: bool) -> None:
    seen, is_exact = json_value(any_value(value))
    assert json_text(seen, "body", Counter())[0].decode() == shown
    assert is_exact is exact


@pytest.mark.parametrize(
    "attributes",
    [
        [KeyValue(key="a", value=any_value(1)), KeyValue(key="a", value=any_value(1))],
        [KeyValue(key="a")],
        [KeyValue(key_strindex=3, value=any_value(1))],
        [KeyValue(key="a", value=AnyValue(string_value_strindex=3))],
    ],
    ids=["the same key twice", "no value", "key in a string table", "value in a string table"],
)
def test_a_list_that_an_object_cannot_hold_is_not_exact(attributes: list[KeyValue]) -> None:
    assert json_object(attributes)[1] is False


def test_nul_becomes_the_replacement_character_and_is_counted() -> None:
    replaced: Counter[str] = Counter()
    text, same = json_text({"a\0": ["b\0\0", {"c": "\0"}]}, "attributes", replaced)
    assert text.decode() == '{"a\ufffd":["b\ufffd\ufffd",{"c":"\ufffd"}]}'
    assert same is False
    assert replaced == {"attributes": 4}


def test_a_backslash_before_u0000_is_not_nul() -> None:
    replaced: Counter[str] = Counter()
    text, same = json_text({"path": "C:\\u0000"}, "attributes", replaced)
    assert text.decode() == '{"path":"C:\\\\u0000"}'
    assert same is True
    assert not replaced


@pytest.mark.parametrize(
    ("kind", "levels"), [("array_value", MAX_DEPTH // 2), ("kvlist_value", MAX_DEPTH // 3)], ids=["arrays", "lists"]
)
def test_nesting_is_bounded_by_what_protobuf_can_carry(kind: str, levels: int) -> None:
    assert json_value(nested(kind, levels))
    with pytest.raises(InvalidItem, match="nested too deep"):
        json_value(nested(kind, levels + 1))


@pytest.mark.parametrize("kind", ["array_value", "kvlist_value"])
def test_ten_thousand_levels_end_as_an_invalid_item_and_not_in_a_recursion_error(kind: str) -> None:
    with pytest.raises(InvalidItem):
        json_value(nested(kind, 10_000))


def test_attributes_of_pairs_keep_their_types() -> None:
    fields, exact = json_object(pairs({"i": 1, "d": 1.0, "s": "1", "b": True}))
    assert exact
    assert [type(value) for value in fields.values()] == [int, float, str, bool]


def decoded(request: ExportTraceServiceRequest) -> Batch:
    """A batch that was never bytes: a parser refuses what is nested too deep before any encoder sees it."""
    return Batch(TRACES, b"", received_ns=NOW, receiver="otlp", transport="http", message=request)


def test_an_attribute_that_is_nested_too_deep_costs_only_its_span() -> None:
    request = trace_request(spans=2)
    attribute = request.resource_spans[0].scope_spans[0].spans[1].attributes.add(key="deep")
    nested("array_value", 60, attribute.value)
    result = reference.encode_batch(decoded(request), WINDOWS)
    assert (result.stored, result.rejected) == (1, 1)
    assert "nested too deep" in result.reason


@pytest.mark.parametrize("envelope", ["resource", "scope"])
def test_a_resource_or_scope_that_is_nested_too_deep_costs_all_its_spans(envelope: str) -> None:
    request = trace_request(spans=2)
    request.MergeFrom(trace_request(spans=1))
    container = request.resource_spans[0]
    message = container.resource if envelope == "resource" else container.scope_spans[0].scope
    nested("kvlist_value", 60, message.attributes.add(key="deep").value)
    result = reference.encode_batch(decoded(request), WINDOWS)
    assert (result.items, result.stored, result.rejected) == (3, 1, 2)
