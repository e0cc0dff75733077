"""What has its own rules on the way through the tables: NUL, invalid items, rows that OTLP did not write."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.restore import restore_metrics, restore_request, restore_traces
from tests.support.encoders import encode_batch
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import (
    any_value,
    batch_of,
    log_record,
    logs_request,
    metrics_request,
    number_point,
    pairs,
    span,
    trace_request,
)
from tests.support.otlp_strategies import (
    INT32,
    UINT32,
    UINT64,
    attribute_lists,
    doubles,
    logs_requests,
    metrics_requests,
    trace_requests,
)
from tests.support.rows_store import store

pytestmark = pytest.mark.usefixtures("encoder")

NOW = time.time_ns()
FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
_tenants = itertools.count(1)

# The plain text columns, by the OTLP field that fills them. NUL everywhere else survives.
_PLAIN_TEXT = {
    *("Span.name", "Span.trace_state", "Status.message", "LogRecord.severity_text", "LogRecord.event_name"),
    *("InstrumentationScope.name", "InstrumentationScope.version", "Metric.name", "Metric.unit", "Metric.description"),
    *(f"{kind}{signal}.schema_url" for kind in ("Resource", "Scope") for signal in ("Spans", "Logs", "Metrics")),
}


async def through(connection: asyncpg.Connection, request: Any) -> tuple[Any, Any]:
    """Encodes and stores a request under a tenant of its own; gives what was encoded and what comes back."""
    tenant_id = next(_tenants)
    batch = batch_of(request, tenant_id=tenant_id)
    encoded = encode_batch(batch, await read_windows(connection))
    await store(connection, encoded)
    return encoded, await restore_request(connection, batch.signal, tenant_id=tenant_id)


def without_nul(message: Message) -> None:
    """Replaces NUL where the tables must."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                without_nul(inner)
        elif f"{message.DESCRIPTOR.name}.{field.name}" in _PLAIN_TEXT:
            setattr(message, field.name, value.replace("\0", "\ufffd"))


@pytest.mark.parametrize(
    ("signal", "requests"),
    [
        (TRACES, trace_requests(NOW, nul=True)),
        (LOGS, logs_requests(NOW, nul=True)),
        (METRICS, metrics_requests(NOW, nul=True)),
    ],
    ids=list(SIGNALS),
)
def test_nul_is_replaced_in_plain_text_columns_and_survives_everywhere_else(
    database_url: str, signal: Signal, requests: st.SearchStrategy[Any]
) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url))

        @FEW
        @given(requests)
        def check(request: Any) -> None:
            encoded, restored = runner.run(through(connection, request))
            assert not encoded.reasons
            expected = type(request)()
            expected.CopyFrom(request)
            without_nul(expected)
            assert items_of(restored) == items_of(expected)

        check()
        runner.run(connection.close())


_broken_spans = st.builds(
    Span,
    trace_id=st.one_of(st.binary(min_size=16, max_size=16), st.binary(max_size=20)),
    span_id=st.one_of(st.binary(min_size=8, max_size=8), st.binary(max_size=10)),
    parent_span_id=st.one_of(st.just(b""), st.binary(max_size=10)),
    start_time_unix_nano=UINT64,
    end_time_unix_nano=UINT64,
    kind=INT32,
    attributes=attribute_lists(nul=True),
)
_counts = st.lists(UINT64, max_size=4)
_point = {"time_unix_nano": UINT64, "start_time_unix_nano": UINT64, "flags": UINT32, "attributes": attribute_lists()}
_histograms = st.builds(
    HistogramDataPoint,
    count=UINT64,
    sum=st.one_of(st.none(), doubles),
    bucket_counts=_counts,
    explicit_bounds=st.lists(doubles, max_size=4),
    **_point,
)
_buckets = st.one_of(st.none(), st.builds(ExponentialHistogramDataPoint.Buckets, offset=INT32, bucket_counts=_counts))
_exponentials = st.builds(
    ExponentialHistogramDataPoint,
    count=UINT64,
    scale=st.one_of(st.integers(-10, 20), INT32),
    zero_count=UINT64,
    positive=_buckets,
    negative=_buckets,
    **_point,
)
_quantile = st.builds(SummaryDataPoint.ValueAtQuantile, quantile=doubles, value=doubles)
_summaries = st.builds(
    SummaryDataPoint, count=UINT64, sum=doubles, quantile_values=st.lists(_quantile, max_size=2), **_point
)
_temporality = st.integers(0, 3)
_broken_metrics = st.one_of(
    st.builds(
        Metric,
        name=st.text(max_size=1),
        histogram=st.builds(
            Histogram, data_points=st.lists(_histograms, max_size=3), aggregation_temporality=_temporality
        ),
    ),
    st.builds(
        Metric,
        name=st.just("e"),
        exponential_histogram=st.builds(
            ExponentialHistogram, data_points=st.lists(_exponentials, max_size=3), aggregation_temporality=_temporality
        ),
    ),
    st.builds(Metric, name=st.just("s"), summary=st.builds(Summary, data_points=st.lists(_summaries, max_size=3))),
)


@pytest.mark.parametrize(
    "requests",
    [
        st.lists(_broken_spans, min_size=1, max_size=5).map(lambda spans: trace_request(spans=spans)),
        st.lists(_broken_metrics, min_size=1, max_size=4).map(lambda metrics: metrics_request(metrics=metrics)),
    ],
    ids=["traces", "metrics"],
)
def test_every_item_is_either_stored_or_rejected_and_the_database_takes_what_was_encoded(
    database_url: str, requests: st.SearchStrategy[Any]
) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url))

        @FEW
        @given(requests)
        def check(request: Any) -> None:
            encoded, restored = runner.run(through(connection, request))
            assert encoded.items == batch_of(request).items
            assert encoded.rejected == sum(encoded.reasons.values())
            assert sum(items_of(restored).values()) == encoded.stored

        check()
        runner.run(connection.close())


async def test_bits_of_a_stale_marker_survive_in_values_and_attributes(database_url: str) -> None:
    stale = struct.unpack(">d", (0x7FF0000000000002).to_bytes(8, "big"))[0]
    point = number_point(stale, attributes=pairs({"nan": stale, "minus zero": -0.0}))
    request = metrics_request(metrics=[Metric(name="m", gauge=Gauge(data_points=[point]))])
    connection = await asyncpg.connect(database_url)
    _, restored = await through(connection, request)
    assert items_of(restored) == items_of(request)
    await connection.close()


async def test_a_body_that_is_not_set_is_told_from_no_body(database_url: str) -> None:
    bodies = [None, AnyValue(), any_value(""), any_value("NaN"), any_value(float("nan")), any_value({})]
    connection = await asyncpg.connect(database_url)
    _, restored = await through(connection, logs_request(records=[log_record(body=body) for body in bodies]))
    found = [
        record.body.WhichOneof("value") if record.HasField("body") else "none"
        for record in restored.resource_logs[0].scope_logs[0].log_records
    ]
    assert sorted(map(str, found)) == sorted(
        ["none", "None", "string_value", "string_value", "double_value", "kvlist_value"]
    )
    await connection.close()


async def test_one_trace_or_one_stretch_of_time_can_be_restored_alone(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    sent = [span(start_time_unix_nano=NOW - offset, end_time_unix_nano=NOW) for offset in (2_000_000_000, 0)]
    await store(connection, encode_batch(batch_of(trace_request(spans=sent)), await read_windows(connection)))

    async def names(**which: Any) -> list[bytes]:
        request = await restore_traces(connection, **which)
        return [s.span_id for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]

    assert await names() == [sent[0].span_id, sent[1].span_id]
    assert await names(trace_id=sent[1].trace_id) == [sent[1].span_id]
    second_ago = datetime.fromtimestamp(NOW / 1e9 - 1, UTC)
    assert await names(start=second_ago) == [sent[1].span_id]
    assert await names(end=second_ago) == [sent[0].span_id]
    assert await names(tenant_id=5) == []
    with pytest.raises(ValueError, match="belong to no trace"):
        await restore_request(connection, METRICS, trace_id=bytes(16))
    await connection.close()


async def test_a_point_inserted_by_sql_comes_out_as_otlp_of_its_service(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value, labels) "
        "VALUES ('billing', 'invoices', 'counter', 3, '{\"country\": \"de\"}')"
    )
    request = await restore_metrics(connection)
    (resource,) = request.resource_metrics
    assert resource.resource.attributes == pairs({"service.name": "billing"})
    (metric,) = resource.scope_metrics[0].metrics
    assert (metric.name, metric.sum.is_monotonic) == ("invoices", True)
    (point,) = metric.sum.data_points
    assert (point.as_double, list(point.attributes)) == (3.0, pairs({"country": "de"}))
    await connection.close()
