"""What a request adds to the roll-ups: the same counts as its rows, whatever it holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ares_otel.storage.rows.encoded import LOG_ROLLUPS, LOGS, SPAN_ROLLUPS, SPANS, EncodedBatch
from ares_otel.storage.rows.rollups import BOUNDS, MAX_HASHES, bucket_of, trace_hash
from tests.support.copy_rows import rows_of
from tests.support.otlp_samples import log_record, logs_request, metrics_request, span, trace_request
from tests.support.otlp_strategies import logs_requests, trace_requests
from tests.support.rows_encoding import NOW, encoded

pytestmark = pytest.mark.usefixtures("encoder")

QUICK = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

MINUTE_US = 60_000_000
INT8_MAX = 2**63 - 1
durations = st.one_of(
    st.integers(0, INT8_MAX),
    st.integers(0, 2000),
    st.builds(lambda power, off: min(max(2**power + off, 0), INT8_MAX), st.integers(0, 63), st.integers(-2, 2)),
    st.builds(lambda part, off: BOUNDS[part] // 2 + off, st.integers(0, 62), st.integers(-1, 1)),
)


def test_the_bounds_are_the_first_integers_of_their_buckets() -> None:
    with localcontext() as context:
        context.prec = 80
        exact = [Decimal(2) ** 63 * Decimal(2) ** (Decimal(part) / 64) for part in range(1, 64)]
    assert [int(bound) + (bound != int(bound)) for bound in exact] == list(BOUNDS)
    for part, bound in enumerate(BOUNDS, 1):
        assert (bound - 1) ** 64 < 2 ** (63 * 64 + part) <= bound**64


@given(durations)
def test_a_duration_lies_in_its_bucket(duration: int) -> None:
    bucket = bucket_of(duration)
    if duration == 0:
        assert bucket == -1
        return
    assert 2**bucket <= duration**64 < 2 ** (bucket + 1)  # 2 ** (bucket / 64) <= duration < 2 ** ((bucket + 1) / 64)


@given(durations.filter(bool))
def test_the_middle_of_a_bucket_is_at_most_0_55_percent_away_from_a_duration_in_it(duration: int) -> None:
    low = Fraction(2) ** (bucket_of(duration) // 64) * Fraction(2.0 ** (bucket_of(duration) % 64 / 64))
    middle = low * Fraction(1.0054151594159026)  # as rollup_middle in migration 016
    assert abs(middle - duration) <= Fraction("0.0055") * duration


def expected_spans(result: EncodedBatch) -> list[dict[str, Any]]:
    """The increments, worked out from the rows."""
    groups: dict[tuple[int, str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(result, SPANS):
        minute = row["start_time"] // MINUTE_US * MINUTE_US
        groups[minute, row["service_name"], row["operation_name"][:255], row["kind"]].append(row)
    increments = []
    for (minute, service, operation, kind), rows in groups.items():
        taken = [row["duration_ns"] for row in rows]
        buckets = sorted(Counter(map(bucket_of, taken)).items())
        increments.append(
            {
                "tenant_id": rows[0]["tenant_id"],
                "minute": minute,
                "service_name": service,
                "operation_name": operation,
                "kind": kind,
                "calls": len(rows),
                "errors": sum(row["status"] == "error" for row in rows),
                "duration_ns_sum": min(sum(taken), INT8_MAX),
                "duration_ns_max": max(taken),
                "buckets": [bucket for bucket, _ in buckets],
                "counts": [count for _, count in buckets],
            }
        )
    return increments


def expected_logs(result: EncodedBatch) -> list[dict[str, Any]]:
    groups: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(result, LOGS):
        groups[row["timestamp"] // MINUTE_US * MINUTE_US, row["service_name"]].append(row)
    increments = []
    for (minute, service), rows in groups.items():
        levels = Counter(row["log_level"] for row in rows)
        hashes = sorted({trace_hash(row["trace_id"].bytes) for row in rows if row["trace_id"]})
        increments.append(
            {
                "tenant_id": rows[0]["tenant_id"],
                "minute": minute,
                "service_name": service,
                **{level.lower(): levels[level] for level in ("DEBUG", "INFO", "WARN", "ERROR")},
                "trace_hashes": hashes[:MAX_HASHES],
                "threshold": hashes[MAX_HASHES] if len(hashes) > MAX_HASHES else None,
            }
        )
    return increments


@QUICK
@given(trace_requests(NOW, nul=True), st.integers(0, 3))
def test_the_increments_of_spans_say_what_their_rows_say(request: ExportTraceServiceRequest, tenant: int) -> None:
    result = encoded(request, tenant_id=tenant)
    assert rows_of(result, SPAN_ROLLUPS) == expected_spans(result)


@QUICK
@given(logs_requests(NOW, nul=True), st.integers(0, 3))
def test_the_increments_of_log_records_say_what_their_rows_say(request: ExportLogsServiceRequest, tenant: int) -> None:
    result = encoded(request, tenant_id=tenant)
    assert rows_of(result, LOG_ROLLUPS) == expected_logs(result)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "b" * 255, "b" * 256, "a\0"]), durations), max_size=30))
def test_spans_of_one_operation_become_one_row(calls: list[tuple[str, int]]) -> None:
    spans = [span(name=name, start_time_unix_nano=NOW, end_time_unix_nano=NOW + taken) for name, taken in calls]
    result = encoded(trace_request(spans=spans))
    assert rows_of(result, SPAN_ROLLUPS) == expected_spans(result)


def test_a_span_that_is_left_out_is_not_counted() -> None:
    spans = [
        span(name="a"),
        span(name="b", trace_id=b"short"),
        span(name="a", status=Status(code=Status.STATUS_CODE_ERROR)),
    ]
    (row,) = rows_of(encoded(trace_request(spans=spans)), SPAN_ROLLUPS)
    assert (row["operation_name"], row["calls"], row["errors"]) == ("a", 2, 1)


def test_durations_add_up_to_the_largest_number_at_most() -> None:
    spans = [span(start_time_unix_nano=NOW, end_time_unix_nano=2**63 - 1) for _ in range(3)]
    (row,) = rows_of(encoded(trace_request(spans=spans)), SPAN_ROLLUPS)
    assert (row["duration_ns_sum"], row["duration_ns_max"]) == (INT8_MAX, 2**63 - 1 - NOW)


@pytest.mark.parametrize("traces", [0, 1, 512, 513, 2000])
def test_up_to_512_trace_hashes_are_kept_and_of_more_the_smallest(traces: int) -> None:
    ids = [number.to_bytes(16, "big") for number in range(1, traces + 1)]
    records = [log_record(trace_id=trace_id, time_unix_nano=NOW) for trace_id in [*ids, b""]]
    (row,) = rows_of(encoded(logs_request(records=records)), LOG_ROLLUPS)
    hashes = sorted(map(trace_hash, ids))
    assert row["trace_hashes"] == hashes[:512]
    assert row["threshold"] == (hashes[512] if traces > 512 else None)


def test_the_hashes_of_consecutive_trace_ids_spread_evenly() -> None:
    eighths = Counter(trace_hash(number.to_bytes(16, "big")) >> 60 for number in range(8000))
    assert set(eighths) == set(range(8))
    assert all(800 < count < 1200 for count in eighths.values())


def test_a_request_without_rows_adds_nothing() -> None:
    assert encoded(trace_request(spans=[span(span_id=b"")])).tables == {}
    assert encoded(metrics_request()).tables.keys().isdisjoint({SPAN_ROLLUPS, LOG_ROLLUPS})
