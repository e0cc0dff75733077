"""The `filter` processor and its conditions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Rejected
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.processors.conditions.compile import compile_condition
from ares_otel.processors.conditions.evaluate import EvaluationError
from ares_otel.processors.conditions.paths import CONTEXTS, DATA_POINT, LOG_RECORD, METRIC, SPAN, SPAN_EVENT, Env
from ares_otel.processors.conditions.tokens import ConditionError
from ares_otel.processors.filter import FACTORY
from tests.support.parts import (
    Keeper,
    attributes,
    build_processor,
    logs,
    make_batch,
    make_context,
    metrics,
    only_points,
    only_records,
    only_spans,
    sample,
    traces,
)

SPAN_FIELDS: dict[str, Any] = {
    "name": "GET /healthz",
    "kind": 2,
    "trace_id": bytes(range(16)),
    "span_id": bytes(range(8)),
    "start_time_unix_nano": 1_000,
    "end_time_unix_nano": 4_000,
    "status": {"code": 2, "message": "boom"},
    "attributes": {"http__route": "/healthz", "code": 200, "ratio": 0.5, "cached": True, "tags": ["a", {"k": "v"}]},
}


def span_env() -> Env:
    request = traces(SPAN_FIELDS)
    group = request.resource_spans[0]
    return Env(group.scope_spans[0].spans[0], group.scope_spans[0], group)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('attributes["http.route"] == "/healthz"', True),
        ('span.attributes["http.route"] != "/healthz"', False),
        ('name == "GET /healthz" and kind == SPAN_KIND_SERVER', True),
        ('name == "x" or name == "y" or status.code == STATUS_CODE_ERROR', True),
        ('name == "x" or name == "GET /healthz" and kind == SPAN_KIND_CLIENT', False),
        ('(name == "x" or name == "GET /healthz") and kind == 2', True),
        ('not (name == "x")', True),
        ("not name == \"x\" and not false", True),
        ("true", True),
        ("true == false", False),
        ('attributes["code"] >= 200 and attributes["code"] < 300', True),
        ('attributes["code"] == 200.0', True),
        ('attributes["code"] == "200"', False),
        ('attributes["code"] != "200"', True),
        ('attributes["ratio"] > -1', True),
        ('attributes["cached"] == true', True),
        ('attributes["none"] == nil', True),
        ('attributes["none"] != nil', False),
        ('attributes["none"] < 5', False),
        ('attributes["tags"][1]["k"] == "v"', True),
        ('attributes["tags"] == "a"', False),
        ('resource.attributes["service.name"] == "shop"', True),
        ('instrumentation_scope.name == "tests" and scope.version == ""', True),
        ("end_time_unix_nano - start_time_unix_nano > 2 * 1000", True),
        ("(end_time_unix_nano - start_time_unix_nano) / 1000 == 3", True),
        ("-(7) / 2 == -3", True),
        ('trace_id.string == "000102030405060708090a0b0c0d0e0f"', True),
        ("span_id == 0x0001020304050607", True),
        ("IsRootSpan()", True),
        ('IsMatch(name, "^GET /health")', True),
        ('IsMatch(attributes["code"], "^2..$")', True),
        ('IsMatch(attributes["none"], ".*")', False),
        ('not IsMatch(name, "z") or IsMatch(name, "(a+)+$")', False),
        ('status.message == "b\\"oom" or status.message == "boom"', True),
    ],
)  # fmt: skip
def test_a_condition_on_a_span_means_what_the_collector_means(condition: str, expected: bool) -> None:
    assert compile_condition(condition, SPAN)(span_env()) is expected


@pytest.mark.parametrize(
    ("condition", "context", "position", "message"),
    [
        ('atributes["a"] == 1', SPAN, 1, "did you mean attributes?"),
        ('name == "a" and resource.atributes["k"] == 1', SPAN, 17, "did you mean resource.attributes?"),
        ("kind == SPAN_KIND_SERVR", SPAN, 9, "did you mean SPAN_KIND_SERVER?"),
        ('IsMach(name, "a")', SPAN, 1, "did you mean IsMatch?"),
        ('severity_text == "a"', SPAN, 1, "is not a path of span"),
        ("attributes == 1", SPAN, 1, 'attributes["key"]'),
        ("name", SPAN, 5, "a comparison"),
        ('name == "a" name', SPAN, 13, "and, or, or the end"),
        ("name ==", SPAN, 8, "the condition ends where a value should be"),
        ('name == "a', SPAN, 9, "no end"),
        ("name == 'a'", SPAN, 9, "double quotes"),
        ('(name == "a"', SPAN, 13, "')'"),
        ('IsMatch(name, "(")', SPAN, 15, "RE2"),
        ('IsMatch(name, "\\d")', SPAN, 15, "\\\\d"),
        ("attributes[name] == 1", SPAN, 12, "a key"),
        ("kind == 99999999999999999999", SPAN, 9, "64 bits"),
        ("span_id == 0x123", SPAN, 12, "even number"),
        ("(" * 100 + "true" + ")" * 100, SPAN, 33, "parentheses"),
        ("true and " * 1000, SPAN, 4096, "longer than 4096"),
        ("", SPAN, 1, "a value should be"),
        ("is_monotonic == true", DATA_POINT, 1, "did you mean metric.is_monotonic?"),
        ('HasAttrKeyOnDatapoint("a")', SPAN, 1, "possible are IsMatch"),
    ],
)
def test_a_wrong_condition_names_position_and_nearest_name(
    condition: str, context: Any, position: int, message: str
) -> None:
    with pytest.raises(ConditionError, match=f"Position {position}: ") as error:
        compile_condition(condition, context)
    assert message in str(error.value)


def test_a_wrong_condition_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ValidationError, match=r"span\[1\]: Position 1: nam is not a path of span; did you mean name\?"):
        FACTORY.config.model_validate({"traces": {"span": ["true", 'nam == "a"']}})
    with pytest.raises(ValidationError, match="has no condition"):
        FACTORY.config.model_validate({})
    with pytest.raises(ValidationError, match="trace_conditions"):
        FACTORY.config.model_validate({"trace_conditions": ["true"], "traces": {"span": ["true"]}})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(
    ["name", "attributes", '["a"]', "[0]", ".", "(", ")", "==", "<", "and", "or", "not", "nil", "true", "5", '"t"', "-",
     "/", "IsMatch", "kind", ",", "SPAN_KIND_SERVER", "0x00", "'", "$"]), max_size=12).map(" ".join))  # fmt: skip
def test_any_text_is_a_condition_or_a_clear_error(text: str) -> None:
    for context in CONTEXTS.values():
        try:
            condition = compile_condition(text, context)
        except ConditionError:
            continue
        if context is SPAN:
            try:
                assert condition(span_env()) in (True, False)
            except EvaluationError:
                pass


def test_a_long_chain_is_evaluated_without_deep_recursion() -> None:
    assert compile_condition(" + ".join(["1"] * 1000) + " == 1000", SPAN)(span_env())
    assert compile_condition(" or ".join(["false"] * 400), SPAN)(span_env()) is False


async def test_spans_are_dropped_counted_and_their_empty_scopes_removed() -> None:
    request = traces({"name": "keep"}, {"name": "drop"})
    request.resource_spans[0].scope_spans.add().spans.add(name="drop")
    request.resource_spans.add().scope_spans.add().spans.add(name="drop")
    context = make_context("filter/health")
    processor, keeper = build_processor(FACTORY, {"traces": {"span": ['name == "drop"']}}, TRACES, context)
    assert await processor.consume(make_batch(request)) == Accepted(1, dropped=3)
    message = keeper.batches[0].message()
    assert [span.name for span in only_spans(keeper.batches[0])] == ["keep"]
    assert len(message.resource_spans) == 1
    assert len(message.resource_spans[0].scope_spans) == 1
    assert sample(context, "ares_otel_processor_dropped_spans_total", processor="filter/health") == 3


async def test_when_all_is_dropped_nothing_is_handed_on() -> None:
    processor, keeper = build_processor(FACTORY, {"traces": {"span": ["true"]}}, TRACES)
    assert await processor.consume(make_batch(traces({"name": "a"}, {"name": "b"}))) == Accepted(dropped=2)
    assert keeper.batches == []


async def test_when_nothing_is_dropped_the_same_batch_is_handed_on() -> None:
    processor, keeper = build_processor(FACTORY, {"traces": {"span": ["false"]}}, TRACES)
    for batch in (make_batch(traces({"name": "a"})), make_batch(traces())):
        await processor.consume(batch)
        assert keeper.batches[-1] is batch


async def test_span_events_go_and_their_span_stays() -> None:
    request = traces({"name": "a", "kind": 3})
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.events.add(name="retry").attributes.extend(attributes(attempt=2))
    span.events.add(name="exception")
    condition = 'name == "retry" and attributes["attempt"] > 1 and span.kind == SPAN_KIND_CLIENT'
    processor, keeper = build_processor(FACTORY, {"traces": {"spanevent": [condition]}}, TRACES)
    assert await processor.consume(make_batch(request)) == Accepted(1)
    assert [event.name for event in only_spans(keeper.batches[0])[0].events] == ["exception"]


@pytest.mark.parametrize(
    "condition",
    [
        "severity_number < SEVERITY_NUMBER_WARN",
        'body == "drop"',
        'IsMatch(body, "^dr")',
        'severity_text == "DEBUG"',
        'log.attributes["k"] == 1',
    ],
)
async def test_log_records_are_dropped(condition: str) -> None:
    drop = {"body": "drop", "severity_number": 5, "severity_text": "DEBUG", "attributes": {"k": 1}}
    processor, keeper = build_processor(FACTORY, {"logs": {"log_record": [condition]}}, LOGS)
    request = logs(drop, {"body": {"keep": 1}, "severity_number": 13})
    assert await processor.consume(make_batch(request)) == Accepted(1, dropped=1)
    assert len(only_records(keeper.batches[0])) == 1


async def test_a_key_into_a_body_that_is_a_map_is_followed() -> None:
    condition = compile_condition('body["user"]["id"] == 7', LOG_RECORD)
    request = logs({"body": {"user": {"id": 7}}})
    group = request.resource_logs[0]
    assert condition(Env(group.scope_logs[0].log_records[0], group.scope_logs[0], group))


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ({"metric": ['name == "requests"']}, 0),
        ({"metric": ["type == METRIC_DATA_TYPE_GAUGE"]}, 3),
        ({"metric": ["type == METRIC_DATA_TYPE_SUM and is_monotonic == true"]}, 0),
        ({"metric": ['HasAttrKeyOnDatapoint("route")']}, 0),
        ({"metric": ['HasAttrOnDatapoint("route", "/c")']}, 3),
        ({"datapoint": ['attributes["route"] == "/a"']}, 2),
        ({"datapoint": ["value_int > 1"]}, 1),
        ({"datapoint": ["value_double == nil"]}, 0),
        ({"datapoint": ['metric.name == "requests" and value_int == 3']}, 2),
        ({"datapoint": ["count == nil and metric.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE"]}, 0),
    ],
)
async def test_metrics_and_data_points_are_dropped(conditions: dict[str, Any], kept: int) -> None:
    processor, keeper = build_processor(FACTORY, {"metrics": conditions}, METRICS)
    points = [{"as_int": n, "attributes": {"route": f"/{'abd'[n - 1]}"}} for n in (1, 2, 3)]
    assert await processor.consume(make_batch(metrics(*points))) == Accepted(kept, dropped=3 - kept)
    assert (len(only_points(keeper.batches[0])) if keeper.batches else 0) == kept


def test_every_path_can_be_read_from_every_item() -> None:
    span = span_env()
    span.item.events.add(name="e")
    log_group = logs({"body": "b"}).resource_logs[0]
    record = log_group.scope_logs[0].log_records[0]
    metric_group = metrics({"as_int": 1}).resource_metrics[0]
    scope = metric_group.scope_metrics[0]
    for name in ("gauge", "histogram", "exponential_histogram", "summary"):
        getattr(scope.metrics.add(name=name), name).data_points.add()
    scope.metrics.add(name="empty")
    points = [
        Env(getattr(metric, kind).data_points[0], scope, metric_group, metric)
        for metric in scope.metrics
        if (kind := metric.WhichOneof("data"))
    ]
    for context, of_context in (
        (SPAN, [span]),
        (SPAN_EVENT, [Env(span.item.events[0], span.scope_group, span.group, span.item)]),
        (LOG_RECORD, [Env(record, log_group.scope_logs[0], log_group)]),
        (METRIC, [Env(metric, scope, metric_group) for metric in scope.metrics]),
        (DATA_POINT, points),
    ):
        for path in context.paths:
            condition = compile_condition(f"{path} == nil", context)
            assert all(condition(env) in (True, False) for env in of_context)
        for path in context.attributes:
            condition = compile_condition(f'{path}["k"] == nil', context)
            assert all(condition(env) for env in of_context)


@pytest.mark.parametrize("condition", ['name["a"] == 1', "name - 1 == 0", "kind / 0 == 1", 'attributes["l"][5] == 1'])
async def test_a_condition_that_cannot_be_applied_follows_the_error_mode(
    condition: str, caplog: pytest.LogCaptureFixture
) -> None:
    batch = make_batch(traces({"name": "a", "attributes": {"l": [1]}}))
    conditions = {"span": [condition, 'name == "a"']}
    processor, keeper = build_processor(FACTORY, {"traces": conditions}, TRACES)
    with pytest.raises(Rejected, match=r"filter/test cannot be applied .*error_mode: ignore"):
        await processor.consume(batch)
    assert keeper.batches == []
    processor, _ = build_processor(FACTORY, {"traces": conditions, "error_mode": "silent"}, TRACES)
    assert await processor.consume(batch) == Accepted(dropped=1)
    assert caplog.messages == []
    processor, _ = build_processor(FACTORY, {"traces": conditions, "error_mode": "ignore"}, TRACES)
    for _ in range(3):
        assert await processor.consume(batch) == Accepted(dropped=1)
    assert len(caplog.messages) == 1


async def test_what_the_next_consumer_refuses_is_not_counted_as_dropped() -> None:
    class Refusing(Keeper):
        async def consume(self, batch: Any) -> Accepted:
            raise Rejected("no")

    context = make_context()
    config = FACTORY.config.model_validate({"traces": {"span": ['name == "drop"']}})
    processor = FACTORY.build(context, config, TRACES, Refusing())
    with pytest.raises(Rejected):
        await processor.consume(make_batch(traces({"name": "drop"}, {"name": "keep"})))
    assert sample(context, "ares_otel_processor_dropped_spans_total", processor=context.id) == 0
