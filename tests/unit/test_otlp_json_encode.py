"""OTLP as JSON: what protobuf's own JSON is, but for ids and enums."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.model.otlp_json import encode_json, json_object
from tests.support.otlp_samples import logs_request, metrics_request, trace_request
from tests.support.otlp_strategies import logs_requests, metrics_requests, trace_requests

NOW = 1_769_860_800_000_000_000
IDS = ("traceId", "spanId", "parentSpanId")


def with_hex_ids(value: Any) -> Any:
    """Keys of attributes are values in OTLP, so a member of one of these names is always an id."""
    if isinstance(value, dict):
        return {
            name: base64.b64decode(content).hex() if name in IDS else with_hex_ids(content)
            for name, content in value.items()
        }
    return [with_hex_ids(item) for item in value] if isinstance(value, list) else value


def by_protobuf(message: Message) -> Any:
    return with_hex_ids(MessageToDict(message, use_integers_for_enums=True))


def same(one: Any, other: Any) -> bool:
    """Equal also in the types of numbers and in the sign of zero."""
    return repr(one) == repr(other)


@settings(max_examples=20)
@given(st.one_of(trace_requests(NOW), logs_requests(NOW), metrics_requests(NOW)))
def test_it_is_protobufs_json_with_ids_in_hex_and_enums_as_numbers(message: Message) -> None:
    found = json_object(message)
    assert same(found, by_protobuf(message))
    assert orjson.loads(encode_json(message)) == orjson.loads(orjson.dumps(found))


def test_whole_requests_of_every_signal_agree() -> None:
    for message in (trace_request(), logs_request(), metrics_request()):
        assert same(json_object(message), by_protobuf(message))
