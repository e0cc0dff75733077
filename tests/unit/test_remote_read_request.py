"""What a request for remote read asks for, and what is refused."""

from __future__ import annotations

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.api.remote_read.request import (
    MAX_BODY,
    MAX_QUERIES,
    ReadQuery,
    ReadRequest,
    Refused,
    ResponseType,
    parse_request,
)
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from tests.support.remote_read import CHUNKS, SAMPLES, body_of, query


def parsed(*queries: pb.Query, accepted: tuple[int, ...] = ()) -> ReadRequest:
    return parse_request(body_of(*queries, accepted=accepted))


def only(made: pb.Query) -> ReadQuery:
    [found] = parsed(made).queries
    return found


def refused(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_request(body)
    assert caught.value.message.endswith(".")
    return caught.value


def status_of(body: bytes) -> int:
    try:
        parse_request(body)
    except Refused as error:
        return int(error.status)
    return 200


@pytest.mark.parametrize(
    ("operator", "value", "fits", "does_not"),
    [
        ("=", "orders", "orders", "orders2"),
        ("!=", "orders", "billing", "orders"),
        ("=~", "ord.*|bill", "orders", "billing"),
        ("!~", "ord.*|bill", "billing", "bill"),
        ("=", "", "", "orders"),
        ("!=", "", "orders", ""),
        ("=~", ".+", "a\nb", ""),
        ("!~", ".*", None, "anything"),
    ],
)
def test_matchers_are_anchored_and_a_missing_label_is_empty(
    operator: str, value: str, fits: str | None, does_not: str
) -> None:
    [matcher] = only(query(("job", operator, value))).selector.matchers
    assert (matcher.label, matcher.operator, matcher.value) == ("job", operator, value)
    assert fits is None or matcher.test(fits)
    assert not matcher.test(does_not)


def test_all_matchers_of_a_query_and_all_queries_are_there() -> None:
    asked = parsed(query(("a", "=", "1"), ("b", "!=", "2")), query(("c", "=~", "3")), query())
    assert [[matcher.label for matcher in one.selector.matchers] for one in asked.queries] == [["a", "b"], ["c"], []]


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ((), ResponseType.SAMPLES),
        ((SAMPLES,), ResponseType.SAMPLES),
        ((CHUNKS, SAMPLES), ResponseType.STREAMED_XOR_CHUNKS),
        ((SAMPLES, CHUNKS), ResponseType.SAMPLES),
        ((17, CHUNKS), ResponseType.STREAMED_XOR_CHUNKS),
    ],
)
def test_the_first_accepted_type_that_is_known_is_chosen(accepted: tuple[int, ...], chosen: ResponseType) -> None:
    assert parsed(accepted=accepted).response_type is chosen


def test_a_request_that_accepts_nothing_known_is_refused() -> None:
    assert "SAMPLES (0)" in refused(body_of(accepted=[7])).message


def test_the_hints_narrow_the_time() -> None:
    found = only(query(start=100, end=900, start_ms=300, end_ms=2000))
    assert (found.start_ms, found.end_ms) == (300, 900)
    found = only(query(start=100, end=900))
    assert (found.start_ms, found.end_ms) == (100, 900)


def test_times_without_bounds_are_those_that_there_can_be() -> None:
    found = only(query(start=-(2**63), end=2**63 - 1))
    assert (found.start_ms, found.end_ms) == (0, 2**64 // 10**6)


def test_a_time_before_1970_has_nothing() -> None:
    found = only(query(start=-10, end=-5))
    assert found.end_ms < found.start_ms


def test_series_without_samples_are_asked_for_by_the_function_series() -> None:
    assert only(query(func="series")).labels_only
    assert not only(query(func="rate")).labels_only


def test_a_body_that_would_be_too_large_is_refused_with_413() -> None:
    body = bytes(cramjam.snappy.compress_raw(b"\0" * (MAX_BODY + 1)))
    assert len(body) < MAX_BODY / 10
    assert refused(body).status == 413
    assert refused(b"\xff\xff\xff\xff\x0f\0").status == 413


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "snappy"),
        (b"\x05abc", "snappy"),
        (bytes(cramjam.snappy.compress(b"framed")), "snappy"),
        (bytes(cramjam.snappy.compress_raw(b"\xff\xff")), "ReadRequest"),
        (body_of(*[query()] * (MAX_QUERIES + 1)), "65 queries"),
        (body_of(query(*[("a", "=", "b")] * 101)), "101 matchers"),
        (body_of(*[query(*[("a", "=~", "b")] * 51)] * 2), "102 regular expressions"),
        (body_of(query(("", "=", "b"))), "label"),
        (body_of(query(("n" * 1025, "=", "b"))), "1024"),
        (body_of(query(("a", "=~", "(a"))), "'(a' is not a regular expression"),
        (body_of(query(("a", "=~", "(?=a)"))), "RE2"),
        (body_of(query(("a", "=~", "x" * 4097))), "4096"),
        (body_of(pb.Query(matchers=[pb.LabelMatcher(type=9, name="a")])), "type 9"),  # type: ignore[arg-type]
    ],
    ids=range(13),
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(body: bytes, said: str) -> None:
    found = refused(body)
    assert found.status == 400
    assert said in found.message


@given(st.binary(max_size=120))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    for body in (data, bytes(cramjam.snappy.compress_raw(data))):
        assert status_of(body) in (200, 400, 413)


@given(st.data())
def test_a_damaged_request_is_a_request_or_refused(data: st.DataObject) -> None:
    whole = pb.ReadRequest(
        queries=[query(("__name__", "=~", "a|b"), ("job", "!=", ""), start=5, func="rate", step_ms=7)] * 2,
        accepted_response_types=[CHUNKS, SAMPLES],
    ).SerializeToString()
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 4)) :]
    assert status_of(bytes(cramjam.snappy.compress_raw(damaged))) in (200, 400)
