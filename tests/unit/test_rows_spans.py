"""A span as a row: what each column says, what is refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.model.batch import Batch
from ares_otel.model.errors import Rejected
from ares_otel.model.signal import TRACES
from ares_otel.storage.rows.encoded import SPANS
from tests.support.copy_rows import rows_of
from tests.support.encoders import encode_batch, needs_native
from tests.support.otlp_samples import pairs, span, trace_request
from tests.support.rows_encoding import HOUR, NOW, WINDOWS, encoded, only_row

pytestmark = pytest.mark.usefixtures("encoder")

START = NOW // 1000 * 1000 + 123
"""A time with nanoseconds that a timestamptz cannot hold."""


def row_of(**fields: Any) -> dict[str, Any]:
    return only_row(trace_request(spans=[span(**fields)]), SPANS)


def test_a_span_becomes_a_row_that_reads_like_the_span() -> None:
    sent = span(start_time_unix_nano=START, end_time_unix_nano=START + 1_500_000, kind=3, name="charge")
    row = only_row(trace_request("payments", [sent]), SPANS)
    assert row["trace_id"].bytes == sent.trace_id
    assert row["span_id"] == sent.span_id
    assert row["parent_span_id"] == sent.parent_span_id
    assert (row["service_name"], row["operation_name"], row["kind"]) == ("payments", "charge", "client")
    assert (row["start_time"], row["start_ns"]) == (START // 1000, 123)
    assert (row["duration_ns"], row["duration_ms"]) == (1_500_000, 1.5)
    assert (row["status"], row["status_message"], row["status_code"]) == ("unset", "", None)
    assert json.loads(row["attributes"])["http.response.status_code"] == 200
    assert row["attributes_raw"] is None
    assert (row["events"], row["links"]) == ("[]", "[]")
    assert row["received_at"] == NOW // 1000
    assert (row["flags"], row["tenant_id"]) == (0x101, 0)
    assert (row["original_time_unix_nano"], row["original_end_unix_nano"]) == (None, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trace_id": b""}, "span.trace_id must be 16 bytes and not all zero"),
        ({"trace_id": bytes(16)}, "span.trace_id must be 16 bytes and not all zero"),
        ({"trace_id": b"x" * 15}, "span.trace_id must be 16 bytes and not all zero"),
        ({"trace_id": b"x" * 17}, "span.trace_id must be 16 bytes and not all zero"),
        ({"span_id": b""}, "span.span_id must be 8 bytes and not all zero"),
        ({"span_id": bytes(8)}, "span.span_id must be 8 bytes and not all zero"),
        ({"span_id": b"x" * 9}, "span.span_id must be 8 bytes and not all zero"),
        ({"parent_span_id": b"x" * 7}, "span.parent_span_id must be empty or 8 bytes"),
    ],
)
def test_a_span_with_a_wrong_id_is_left_out_and_its_neighbours_are_kept(fields: dict[str, Any], reason: str) -> None:
    good = [span(), span()]
    result = encoded(trace_request(spans=[good[0], span(**fields), good[1]]))
    assert (result.items, result.rejected, result.stored) == (3, 1, 2)
    assert result.reasons == {reason: 1}
    assert [row["span_id"] for row in rows_of(result, SPANS)] == [sent.span_id for sent in good]


def test_a_parent_of_eight_zero_bytes_means_a_root_span() -> None:
    assert row_of(parent_span_id=bytes(8))["parent_span_id"] is None


@pytest.mark.parametrize(
    "start",
    [0, 1, NOW - 25 * HOUR, NOW + 25 * HOUR, 2**63, 2**64 - 1],
    ids=["1970", "a nanosecond later", "yesterday", "tomorrow", "2262", "the last"],
)
def test_a_span_outside_the_window_is_filed_under_its_receive_time_and_keeps_its_own(start: int) -> None:
    row = row_of(start_time_unix_nano=start, end_time_unix_nano=start)
    assert (row["start_time"], row["start_ns"]) == (NOW // 1000, NOW % 1000)
    assert row["original_time_unix_nano"] == start
    assert (row["duration_ns"], row["original_end_unix_nano"]) == (0, None)


def test_an_end_before_the_start_gives_no_negative_duration_and_is_kept() -> None:
    row = row_of(start_time_unix_nano=START, end_time_unix_nano=START - 1)
    assert (row["duration_ns"], row["duration_ms"], row["original_end_unix_nano"]) == (0, 0.0, START - 1)


def test_a_duration_beyond_int64_is_clamped_and_the_end_is_kept() -> None:
    row = row_of(start_time_unix_nano=0, end_time_unix_nano=2**64 - 1)
    assert (row["duration_ns"], row["original_end_unix_nano"]) == (2**63 - 1, 2**64 - 1)


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        (None, ("unset", None, None)),
        (Status(), ("unset", "", None)),
        (Status(code=Status.STATUS_CODE_OK), ("ok", "", None)),
        (Status(code=Status.STATUS_CODE_ERROR, message="no money"), ("error", "no money", None)),
        (Status(code=99, message="?"), ("unset", "?", 99)),  # type: ignore[arg-type]
    ],
)
def test_the_status_tells_no_status_from_an_empty_one(status: Status | None, columns: tuple[Any, ...]) -> None:
    row = row_of(status=status)
    assert (row["status"], row["status_message"], row["status_code"]) == columns


@pytest.mark.parametrize(("kind", "text"), [(0, "unspecified"), (5, "consumer"), (6, "6"), (-1, "-1")])
def test_a_kind_that_has_no_name_yet_is_its_number(kind: int, text: str) -> None:
    assert row_of(kind=kind)["kind"] == text


def test_events_and_links_are_arrays_of_objects() -> None:
    row = row_of(
        events=[Span.Event(name="retry", time_unix_nano=2**64 - 1, attributes=pairs({"n": 1}))],
        links=[Span.Link(trace_id=b"\x01\x02", span_id=b"", flags=7, trace_state="a=b", dropped_attributes_count=2)],
    )
    assert json.loads(row["events"]) == [{"name": "retry", "time_unix_nano": 2**64 - 1, "attributes": {"n": 1}}]
    assert json.loads(row["links"]) == [
        {
            "trace_id": "0102",
            "span_id": "",
            "trace_state": "a=b",
            "attributes": {},
            "dropped_attributes_count": 2,
            "flags": 7,
        }
    ]
    assert (row["events_raw"], row["links_raw"]) == (None, None)


def test_what_jsonb_cannot_hold_is_kept_as_protobuf_beside_it() -> None:
    event = Span.Event(name="e", attributes=pairs({"b": b"\x01"}))
    row = row_of(attributes=pairs({"nan": float("nan")}), events=[event])
    assert json.loads(row["attributes"]) == {"nan": "NaN"}
    assert row["attributes_raw"] is not None
    assert Span.FromString(row["events_raw"]).events[0] == event
    assert row["links_raw"] is None


def test_nul_in_a_name_is_replaced_and_counted() -> None:
    result = encoded(trace_request(spans=[span(name="a\0b\0"), span(trace_state="\0")]))
    assert rows_of(result, SPANS)[0]["operation_name"] == "a\ufffdb\ufffd"
    assert result.replaced == {"operation_name": 2, "trace_state": 1}


def test_a_body_that_is_no_protobuf_is_rejected_as_a_whole() -> None:
    with pytest.raises(Rejected, match="not a valid ExportTraceServiceRequest"):
        encode_batch(Batch(TRACES, b"\xff\xff", received_ns=NOW, receiver="otlp", transport="grpc"), WINDOWS)


def test_an_empty_request_has_no_rows_and_no_definitions() -> None:
    for request in (ExportTraceServiceRequest(), trace_request(spans=[])):
        result = encoded(request)
        assert (result.items, result.tables, result.definitions, result.services) == (0, {}, {}, set())


def test_the_same_batch_gives_the_same_bytes_again() -> None:
    request = trace_request(spans=5)
    first, second = encoded(request), encoded(request)
    assert first.tables[SPANS].data == second.tables[SPANS].data
    assert first.definitions == second.definitions


@needs_native
def test_keys_that_make_a_factor_of_an_unsalted_hash_zero_are_not_taken_for_one() -> None:
    factor = next(
        (size, text)
        for size in range(17, 256)
        for text in [(size * 0x9E3779B97F4A7C15 & 2**64 - 1).to_bytes(8, "little").decode(errors="replace")]
        if "\0" not in text and "\ufffd" not in text
    )
    size, text = factor
    keys = [f"{number:08}{text}".encode().ljust(size, b"x").decode() for number in range(3)]
    request = trace_request(spans=[span(attributes=pairs(dict.fromkeys(keys, "v")))])
    assert not encoded(request).fallback
