"""The `attributes` and `resource` processors."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from pydantic import ValidationError

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import StartError
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.processors import attributes as attributes_module
from ares_otel.processors import resource as resource_module
from ares_otel.processors.attribute_actions import Action, compile_actions
from ares_otel.processors.regex import MAX_REPLACEMENTS, Pattern
from ares_otel.processors.values import text_of
from tests.support.parts import (
    attributes,
    build_processor,
    logs,
    make_batch,
    metrics,
    only_points,
    only_records,
    only_spans,
    plain,
    traces,
)


async def after(actions: list[dict[str, Any]], **before: Any) -> dict[str, Any]:
    processor, keeper = build_processor(attributes_module.FACTORY, {"actions": actions}, TRACES)
    await processor.consume(make_batch(traces({"name": "a", "attributes": before})))
    return plain(only_spans(keeper.batches[0])[0].attributes)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"key": "new", "value": 5, "action": "insert"}, {"old": "x", "new": 5}),
        ({"key": "old", "value": 5, "action": "insert"}, {"old": "x"}),
        ({"key": "new", "value": 5, "action": "update"}, {"old": "x"}),
        ({"key": "old", "value": 1.5, "action": "update"}, {"old": 1.5}),
        ({"key": "old", "value": True, "action": "UPSERT"}, {"old": True}),
        ({"key": "new", "value": ["a", {"b": 1}], "action": "upsert"}, {"old": "x", "new": ["a", {"b": 1}]}),
        ({"key": "new", "from_attribute": "old", "action": "insert"}, {"old": "x", "new": "x"}),
        ({"key": "new", "from_attribute": "none", "action": "insert"}, {"old": "x"}),
        ({"key": "new", "from_attribute": "none", "default_value": "d", "action": "insert"}, {"old": "x", "new": "d"}),
        ({"key": "old", "action": "delete"}, {}),
        ({"pattern": "^ol", "action": "delete"}, {}),
        ({"key": "old", "action": "hash"}, {"old": hashlib.sha256(b"x").hexdigest()}),
        (
            {"key": "old", "pattern": "(?P<first>.)(?P<second>y)?", "action": "extract"},
            {"old": "x", "first": "x", "second": ""},
        ),
        ({"key": "old", "action": "convert", "converted_type": "int"}, {"old": "x"}),
    ],
    ids=lambda value: str(value) if "action" in value else "",
)
async def test_each_action_does_what_the_collector_says(action: dict[str, Any], expected: dict[str, Any]) -> None:
    assert await after([action], old="x") == expected


async def test_actions_run_in_the_order_of_the_configuration() -> None:
    steps = [
        {"key": "b", "from_attribute": "a", "action": "upsert"},
        {"key": "a", "action": "delete"},
        {"key": "b", "action": "convert", "converted_type": "int"},
    ]
    assert await after(steps, a="42") == {"b": 42}


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        ("-7", "int", -7),
        ("7.5", "int", "7.5"),
        ("99999999999999999999", "int", "99999999999999999999"),
        ("1_000", "int", "1_000"),
        ("²", "int", "²"),
        (7.9, "int", 7),
        (1e300, "int", 1e300),
        (True, "int", 1),
        ("1e3", "double", 1000.0),
        (3, "double", 3.0),
        (3.0, "string", "3"),
        (False, "string", "false"),
        (["a", 1], "string", '["a",1]'),
        (b"\xff", "string", "/w=="),
    ],
)
async def test_convert_changes_the_type_or_leaves_the_value(value: Any, target: str, expected: Any) -> None:
    result = await after([{"key": "k", "action": "convert", "converted_type": target}], k=value)
    assert result == {"k": expected}
    assert type(result["k"]) is type(expected)


async def test_hash_takes_numbers_as_eight_little_endian_bytes_and_bools_as_one() -> None:
    result = await after([{"pattern": ".*", "action": "hash"}], i=-2, d=0.5, b=True, e="")
    expected = [struct.pack("<q", -2), struct.pack("<d", 0.5), b"\x01"]
    assert list(result.values()) == [*(hashlib.sha256(content).hexdigest() for content in expected), ""]


async def test_delete_takes_every_attribute_of_a_key_that_a_sender_repeats() -> None:
    request = traces({"name": "a"})
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.extend([*attributes(password="1", other="o"), *attributes(password="2")])
    processor, keeper = build_processor(
        attributes_module.FACTORY, {"actions": [{"key": "password", "action": "delete"}]}, TRACES
    )
    await processor.consume(make_batch(request))
    assert [attribute.key for attribute in only_spans(keeper.batches[0])[0].attributes] == ["other"]


async def test_a_batch_that_nothing_changes_is_handed_on_as_the_same_object() -> None:
    processor, keeper = build_processor(
        attributes_module.FACTORY, {"actions": [{"key": "none", "action": "delete"}]}, TRACES
    )
    batch = make_batch(traces({"name": "a"}))
    assert await processor.consume(batch) == Accepted(1)
    assert keeper.batches == [batch]


async def test_a_changed_batch_is_a_new_one_whose_key_is_the_same_for_a_retry() -> None:
    processor, keeper = build_processor(
        attributes_module.FACTORY, {"actions": [{"key": "k", "value": 1, "action": "insert"}]}, TRACES
    )
    first, retry = make_batch(traces({"name": "a"})), make_batch(traces({"name": "a"}))
    payload = first.payload
    await processor.consume(first)
    await processor.consume(retry)
    assert first.payload == payload
    assert not plain(only_spans(first)[0].attributes)
    assert keeper.batches[0].key == keeper.batches[1].key != first.key
    assert keeper.batches[0].payload == keeper.batches[0].message().SerializeToString()


async def test_log_records_and_data_points_are_changed_too() -> None:
    options = {"actions": [{"key": "k", "value": "v", "action": "insert"}]}
    processor, keeper = build_processor(attributes_module.FACTORY, options, LOGS)
    await processor.consume(make_batch(logs({"body": "b"})))
    assert plain(only_records(keeper.batches[0])[0].attributes) == {"k": "v"}
    processor, keeper = build_processor(attributes_module.FACTORY, options, METRICS)
    await processor.consume(make_batch(metrics({"as_int": 1}, {"as_int": 2})))
    assert [plain(point.attributes) for point in only_points(keeper.batches[0])] == [{"k": "v"}, {"k": "v"}]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"include": {"match_type": "strict", "span_names": ["GET /"]}}, ["GET /"]),
        ({"include": {"match_type": "regexp", "span_names": ["^GET"]}}, ["GET /", "GET /a"]),
        ({"include": {"match_type": "strict", "span_kinds": ["SPAN_KIND_CLIENT"]}}, ["POST /"]),
        ({"include": {"match_type": "strict", "services": ["other"]}}, []),
        (
            {
                "include": {"match_type": "regexp", "services": ["^sho"]},
                "exclude": {"match_type": "strict", "span_names": ["GET /"]},
            },
            ["GET /a", "POST /"],
        ),
        ({"include": {"match_type": "strict", "attributes": [{"key": "code", "value": 200}]}}, ["GET /"]),
        ({"include": {"match_type": "regexp", "attributes": [{"key": "code", "value": "^4"}]}}, ["GET /a"]),
        ({"include": {"match_type": "strict", "attributes": [{"key": "code"}]}}, ["GET /", "GET /a"]),
        (
            {
                "include": {"match_type": "strict", "resources": [{"key": "service.name", "value": "shop"}]},
                "exclude": {"match_type": "strict", "libraries": [{"name": "tests"}]},
            },
            [],
        ),
        (
            {"exclude": {"match_type": "strict", "libraries": [{"name": "tests", "version": "2"}]}},
            ["GET /", "GET /a", "POST /"],
        ),
    ],
)
async def test_include_and_exclude_choose_the_spans(block: dict[str, Any], expected: list[str]) -> None:
    options = {"actions": [{"key": "chosen", "value": True, "action": "insert"}], **block}
    processor, keeper = build_processor(attributes_module.FACTORY, options, TRACES)
    request = traces(
        {"name": "GET /", "kind": 2, "attributes": {"code": 200}},
        {"name": "GET /a", "kind": 2, "attributes": {"code": 404}},
        {"name": "POST /", "kind": 3},
    )
    await processor.consume(make_batch(request))
    assert [span.name for span in only_spans(keeper.batches[0]) if "chosen" in plain(span.attributes)] == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"log_bodies": ["^pay"]}, ["payment"]),
        ({"log_severity_texts": ["WARN"]}, ["payment"]),
        ({"log_severity_number": {"min": 13}}, ["payment"]),
        ({"log_severity_number": {"min": 13, "match_undefined": True}}, ["payment", "other"]),
    ],
)
async def test_include_chooses_log_records(block: dict[str, Any], expected: list[str]) -> None:
    options = {
        "actions": [{"key": "chosen", "value": True, "action": "insert"}],
        "include": {"match_type": "regexp", **block},
    }
    processor, keeper = build_processor(attributes_module.FACTORY, options, LOGS)
    request = logs({"body": "payment", "severity_number": 13, "severity_text": "WARN"}, {"body": "other"})
    await processor.consume(make_batch(request))
    assert [r.body.string_value for r in only_records(keeper.batches[0]) if plain(r.attributes)] == expected


async def test_include_chooses_metrics_by_name() -> None:
    options = {
        "actions": [{"key": "chosen", "value": True, "action": "insert"}],
        "include": {"match_type": "strict", "metric_names": ["other"]},
    }
    processor, keeper = build_processor(attributes_module.FACTORY, options, METRICS)
    await processor.consume(make_batch(metrics({"as_int": 1})))
    assert plain(only_points(keeper.batches[0])[0].attributes) == {}


def test_an_option_that_means_nothing_for_the_signal_is_an_error_at_the_start() -> None:
    options = {
        "actions": [{"key": "k", "action": "delete"}],
        "include": {"match_type": "strict", "span_names": ["a"]},
    }
    with pytest.raises(StartError, match=r"attributes/test\.include: span_names .* logs pipeline"):
        build_processor(attributes_module.FACTORY, options, LOGS)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"key": "k", "action": "insert"}, "needs value, from_attribute or default_value"),
        ({"key": "k", "action": "insert", "value": 1, "from_attribute": "a"}, "not both"),
        ({"key": "k", "action": "insert", "value": 2**63}, "64 bits"),
        ({"action": "insert", "value": 1}, "needs key"),
        ({"action": "delete"}, "needs key or pattern"),
        ({"key": "k", "action": "delete", "value": 1}, "does not use value"),
        ({"key": "k", "action": "extract"}, "needs pattern"),
        ({"key": "k", "action": "extract", "pattern": "(a)"}, "name for each"),
        ({"key": "k", "action": "convert"}, "needs converted_type"),
        ({"key": "k", "action": "hash", "pattern": "("}, "RE2"),
        ({"key": "k", "action": "insert", "from_context": "client.address"}, "from_context"),
        ({"key": "k", "action": "remove"}, "action"),
    ],
)
def test_a_wrong_action_is_an_error_that_says_why(action: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Action.model_validate(action)


async def test_the_resource_processor_changes_resources_of_every_signal() -> None:
    options = {
        "attributes": [
            {"key": "cluster", "value": "a", "action": "upsert"},
            {"key": "service.name", "action": "delete"},
        ]
    }
    for signal, request in ((TRACES, traces({"name": "a"})), (LOGS, logs({"body": "b"})), (METRICS, metrics({}))):
        processor, keeper = build_processor(resource_module.FACTORY, options, signal)
        assert await processor.consume(make_batch(request)) == Accepted(1)
        message = keeper.batches[0].message()
        groups = getattr(message, message.DESCRIPTOR.fields[0].name)
        assert plain(groups[0].resource.attributes) == {"cluster": "a"}


async def test_a_resource_that_a_sender_left_out_is_made_when_an_attribute_is_inserted() -> None:
    request = traces({"name": "a"})
    request.resource_spans[0].ClearField("resource")
    options = {"attributes": [{"key": "cluster", "value": "a", "action": "insert"}]}
    processor, keeper = build_processor(resource_module.FACTORY, options, TRACES)
    await processor.consume(make_batch(request))
    assert plain(keeper.batches[0].message().resource_spans[0].resource.attributes) == {"cluster": "a"}


async def test_a_large_request_is_changed_as_a_small_one() -> None:
    request = traces(*({"name": "n" * 1000} for _ in range(400)))
    options = {"actions": [{"key": "k", "value": 1, "action": "insert"}]}
    processor, keeper = build_processor(attributes_module.FACTORY, options, TRACES)
    assert await processor.consume(make_batch(request)) == Accepted(400)
    assert all(plain(span.attributes) == {"k": 1} for span in only_spans(keeper.batches[0]))


def test_an_expression_that_backtracks_elsewhere_is_linear_here() -> None:
    assert not Pattern("(a+)+$").matches("a" * 1_000_000 + "b")
    assert not Pattern("(.*)*(.*)*x$").matches("a" * 100_000)


def test_the_rest_of_a_value_is_masked_when_it_has_too_many_matches() -> None:
    masked = Pattern("a").replace("ab" * (MAX_REPLACEMENTS + 100), lambda match: "*")
    assert masked == "*b" * MAX_REPLACEMENTS + "*"
    assert Pattern("é+").replace("xéé日é", lambda match: "*") == "x*日*"
    assert Pattern("a*").replace("baab", lambda match: "*") == "b*b"


_VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20)
_ACTIONS = st.sampled_from(
    [
        Action(key="a", action="insert", value=1),
        Action(key="a", action="update", value="x"),
        Action(key="b", action="upsert", from_attribute="a"),
        Action(key="a", pattern="^c", action="delete"),
        Action(pattern="b", action="hash"),
        Action(key="a", action="extract", pattern="(?P<c>.)"),
        Action(key="a", action="convert", converted_type="string"),
        Action(key="b", action="convert", converted_type="int"),
        Action(key="c", action="convert", converted_type="double"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_ACTIONS, max_size=5), st.lists(st.tuples(st.sampled_from("abc"), _VALUES), max_size=5))
def test_any_list_of_actions_says_rightly_whether_it_changed_something(
    actions: list[Action], given_values: list[tuple[str, Any]]
) -> None:
    request = traces({"name": "a"})
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for key, value in given_values:
        span.attributes.extend(attributes(**{key: value}) if value is not None else [KeyValue(key=key)])
    before = request.SerializeToString(deterministic=True)
    changed = compile_actions(actions)(span.attributes)
    if not changed:
        assert request.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("value", "text"), [(float("nan"), "NaN"), (float("inf"), "+Inf"), (1e21, "1e+21"), (-0.5, "-0.5"), (b"ab", "YWI=")]
)
def test_values_have_the_text_that_the_collector_gives_them(value: Any, text: str) -> None:
    assert text_of(value) == text
