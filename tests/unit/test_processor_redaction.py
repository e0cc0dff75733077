"""The `redaction` processor."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from pydantic import ValidationError

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.processors.redaction import FACTORY
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

CARD = "4111111111111111"
CARDS = {"allow_all_keys": True, "blocked_values": ["4[0-9]{15}"]}


async def redacted(options: dict[str, Any], **given: Any) -> dict[str, Any]:
    processor, keeper = build_processor(FACTORY, options, TRACES)
    await processor.consume(make_batch(traces({"name": "a", "attributes": given})))
    return plain(only_spans(keeper.batches[0])[0].attributes)


async def redacted_log(options: dict[str, Any], **record: Any) -> tuple[Any, dict[str, Any]]:
    processor, keeper = build_processor(FACTORY, options, LOGS)
    await processor.consume(make_batch(logs(record)))
    result = only_records(keeper.batches[0])[0]
    return plain(attributes(body=None) and [_named("body", result.body)])["body"], plain(result.attributes)


def _named(key: str, value: AnyValue) -> Any:
    (attribute,) = attributes(x=1)
    attribute.key = key
    attribute.value.CopyFrom(value)
    return attribute


async def test_only_allowed_and_ignored_keys_stay() -> None:
    options = {"allowed_keys": ["a"], "ignored_keys": ["b"], "ignored_key_patterns": ["^c"]}
    assert await redacted(options, a=1, b=2, cc=3, d=4) == {"a": 1, "b": 2, "cc": 3}


async def test_an_empty_list_of_allowed_keys_keeps_nothing() -> None:
    assert await redacted({}, a=1, b=2) == {}


async def test_what_is_blocked_is_masked_where_it_stands() -> None:
    result = await redacted(CARDS, note=f"card {CARD} and {CARD}!", other="fine", number=int(CARD))
    assert result == {"note": "card **** and ****!", "other": "fine", "number": int(CARD)}


async def test_redact_all_types_looks_at_numbers_too() -> None:
    assert await redacted({**CARDS, "redact_all_types": True}, number=int(CARD), n=5) == {"number": "****", "n": 5}


async def test_ignored_keys_are_not_looked_into() -> None:
    assert await redacted({**CARDS, "ignored_keys": ["note"]}, note=CARD) == {"note": CARD}


async def test_values_of_blocked_keys_are_masked_whole_whatever_their_type() -> None:
    options = {"allow_all_keys": True, "blocked_key_patterns": ["token", "^secret"]}
    result = await redacted(options, api__token="a\nb", secret=5, secrets=["a", {"b": "c"}], fine="token")
    assert result == {"api.token": "****", "secret": "****", "secrets": "****", "fine": "token"}


async def test_an_allowed_value_is_not_masked() -> None:
    options = {**CARDS, "blocked_key_patterns": ["mail"], "allowed_values": ["@mycompany\\.com$"]}
    assert await redacted(options, mail="bob@mycompany.com", other_mail="bob@example.org") == {
        "mail": "bob@mycompany.com",
        "other_mail": "****",
    }


async def test_values_inside_arrays_and_maps_are_masked_too() -> None:
    options = {**CARDS, "blocked_key_patterns": ["password"]}
    value = {"cards": ["x", CARD, {"deep": [CARD]}], "password": "p", "n": 1}
    assert await redacted(options, user=value) == {
        "user": {"cards": ["x", "****", {"deep": ["****"]}], "password": "****", "n": 1}
    }


async def test_the_content_of_an_allowed_attribute_needs_no_allowed_keys_of_its_own() -> None:
    assert await redacted({"allowed_keys": ["user"]}, user={"name": "n"}) == {"user": {"name": "n"}}


async def test_every_attribute_list_of_a_trace_is_redacted() -> None:
    request = traces({"name": "a", "attributes": {"k": CARD}}, resource={"k": CARD, "service__name": "s"})
    scope = request.resource_spans[0].scope_spans[0]
    scope.scope.attributes.extend(attributes(k=CARD))
    scope.spans[0].events.add(name="e").attributes.extend(attributes(k=CARD))
    scope.spans[0].links.add().attributes.extend(attributes(k=CARD))
    processor, keeper = build_processor(FACTORY, CARDS, TRACES)
    assert await processor.consume(make_batch(request)) == Accepted(1)
    assert CARD.encode() not in keeper.batches[0].payload
    assert keeper.batches[0].payload.count(b"****") == 5


async def test_data_points_exemplars_and_metadata_are_redacted() -> None:
    request = metrics({"as_int": 1, "attributes": {"k": CARD}})
    metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.metadata.extend(attributes(k=CARD))
    metric.sum.data_points[0].exemplars.add(as_int=1).filtered_attributes.extend(attributes(k=CARD))
    processor, keeper = build_processor(FACTORY, CARDS, METRICS)
    assert await processor.consume(make_batch(request)) == Accepted(1)
    assert CARD.encode() not in keeper.batches[0].payload
    assert plain(only_points(keeper.batches[0])[0].attributes) == {"k": "****"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"paid with {CARD}", "paid with ****"),
        (int(CARD), "****"),
        ([CARD, "x", [CARD]], ["****", "x", ["****"]]),
        (
            {"card": CARD, "password": "p", "user": {"password": ["p"], "n": 1}},
            {"card": "****", "password": "****", "user": {"password": "****", "n": 1}},
        ),
        (None, None),
    ],
)
async def test_log_bodies_are_redacted(body: Any, expected: Any) -> None:
    options = {**CARDS, "blocked_key_patterns": ["password"]}
    assert await redacted_log(options, body=body) == (expected, {})


async def test_keys_of_a_body_must_be_allowed_at_every_level() -> None:
    options = {"allowed_keys": ["user", "name"], "summary": "debug"}
    body, summary = await redacted_log(options, body={"user": {"name": "n", "age": 5}, "card": CARD})
    assert body == {"user": {"name": "n"}}
    assert summary == {"redaction.body.redacted.keys": "card,user.age", "redaction.body.redacted.count": 2}


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("silent", {}),
        ("info", {"redaction.masked.count": 2, "redaction.ignored.count": 1}),
        (
            "debug",
            {"redaction.masked.keys": "a,b.c", "redaction.masked.count": 2, "redaction.ignored.count": 1},
        ),
    ],
)
async def test_the_summary_says_what_was_done(summary: str, expected: dict[str, Any]) -> None:
    result = await redacted({**CARDS, "summary": summary, "ignored_keys": ["i"]}, a=CARD, b={"c": CARD}, i=1)
    assert result == {"a": "****", "b": {"c": "****"}, "i": 1, **expected}


async def test_a_second_redaction_adds_to_the_summary_of_the_first() -> None:
    options = {"allowed_keys": ["a"], "blocked_values": ["x"], "summary": "debug"}
    result = await redacted(
        options, a="x", b=1, redaction__masked__keys="z", redaction__masked__count=1, redaction__redacted__count="?"
    )
    assert result == {
        "a": "****",
        "redaction.masked.keys": "a,z",
        "redaction.masked.count": 2,
        "redaction.redacted.keys": "b",
        "redaction.redacted.count": 1,
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hash_function": "md5"}, hashlib.md5(CARD.encode()).hexdigest()),
        ({"hash_function": "sha1"}, hashlib.sha1(CARD.encode()).hexdigest()),
        ({"hash_function": "sha3"}, hashlib.sha3_256(CARD.encode()).hexdigest()),
        ({"hash_function": "hmac-sha256", "hmac_key": "k"}, hmac.new(b"k", CARD.encode(), "sha256").hexdigest()),
        ({"hash_function": "hmac-sha512", "hmac_key": "k"}, hmac.new(b"k", CARD.encode(), "sha512").hexdigest()),
    ],
)
async def test_a_hash_takes_the_place_of_the_mask(options: dict[str, Any], expected: str) -> None:
    assert await redacted({**CARDS, **options}, note=f"<{CARD}>") == {"note": f"<{expected}>"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hash_function": "hmac-sha256"}, "needs hmac_key"),
        ({"hmac_key": "k"}, "remove it"),
        ({"blocked_values": ["("]}, "RE2"),
        ({"url_sanitizer": {"enabled": True}}, "url_sanitizer"),
    ],
)
def test_a_wrong_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FACTORY.config.model_validate(options)


def test_the_hmac_key_does_not_show_in_the_configuration() -> None:
    config = FACTORY.config.model_validate({"hash_function": "hmac-sha256", "hmac_key": "very-secret"})
    assert "very-secret" not in repr(config)
    assert "very-secret" not in str(config.model_dump())


async def test_deep_nesting_and_long_keys_neither_fail_nor_grow_the_summary() -> None:
    request = traces({"name": "a"})
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="k" * 10_000).value
    for _ in range(80):
        value = value.kvlist_value.values.add(key="k" * 10_000).value
    value.string_value = CARD
    processor, keeper = build_processor(FACTORY, {**CARDS, "summary": "debug"}, TRACES)
    batch = make_batch(traces({"name": "b"}))
    batch = type(batch)(TRACES, b"", key=batch.key, received_ns=1, receiver="otlp", transport="grpc", message=request)
    await processor.consume(batch)
    span = only_spans(keeper.batches[0])[0]
    assert CARD not in str(span)
    assert len(plain(span.attributes)["redaction.masked.keys"]) <= 256


async def test_many_masked_keys_are_counted_exactly_and_named_in_part() -> None:
    given = {f"key{number}": CARD for number in range(1000)}
    result = await redacted({**CARDS, "summary": "debug"}, **given)
    assert result["redaction.masked.count"] == 1000
    assert len(result["redaction.masked.keys"].split(",")) == 100


async def test_when_nothing_is_redacted_the_same_batch_is_handed_on() -> None:
    processor, keeper = build_processor(FACTORY, CARDS, LOGS)
    batch = make_batch(logs({"body": "fine", "attributes": {"k": "v"}}))
    await processor.consume(batch)
    assert keeper.batches == [batch]


async def test_a_value_that_makes_other_engines_backtrack_is_masked_in_time() -> None:
    result = await redacted({"allow_all_keys": True, "blocked_values": ["(a+)+$"]}, k="a" * 100_000 + "b", m="aaa")
    assert result == {"k": "a" * 100_000 + "b", "m": "****"}


async def test_expressions_that_cannot_be_combined_work_one_by_one() -> None:
    options = {"allow_all_keys": True, "blocked_values": ["(?P<n>a)", "(?P<n>b)", "x" * 4000, "y" * 4000]}
    assert await redacted(options, k="abc") == {"k": "********c"}
