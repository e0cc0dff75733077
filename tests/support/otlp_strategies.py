"""Hypothesis strategies for OTLP messages with everything that the protocol lets a sender say.

All items are valid (ids of the right length, histograms that add up), and no text holds NUL unless `nul` is set.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    EntityRef,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

NO_RECORDED_VALUE = 1
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
COUNT = st.sampled_from([0, 0, 1, 7, 2**32 - 1])

_STALE_NAN = struct.unpack(">d", (0x7FF0000000000002).to_bytes(8, "big"))[0]
_EDGES = [0.0, -0.0, 1.0, 0.1, 1e15, 1e16, -1e16, 1e17, 1e-16, 9.9e-17, 1e-7, 5e-324, 1.7976931348623157e308]
doubles = st.one_of(
    st.sampled_from([*_EDGES, float("nan"), float("inf"), float("-inf"), _STALE_NAN]),
    st.floats(width=64),
    UINT64.map(lambda bits: struct.unpack(">d", bits.to_bytes(8, "big"))[0]),
)
"""Doubles with any bits: NaNs of every kind too."""


def texts(max_size: int = 12, *, nul: bool = False) -> st.SearchStrategy[str]:
    """Any text that UTF-8 can carry; short, but for a few that are long."""
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="" if nul else "\0")
    nasty = ["", "\\u0000", '"', "\\", "\ufffd", "\U0001f600", "\x01", "NaN", "null", "é" * 300]
    return st.one_of(st.text(letters, max_size=max_size), st.sampled_from([*nasty, *(["a\0b"] if nul else [])]))


def times(now_ns: int) -> st.SearchStrategy[int]:
    """Any time of OTLP: most near now, some at the ends of what 64 bits hold."""
    near = st.integers(now_ns - 3_600_000_000_000, now_ns + 3_600_000_000_000)
    far = st.sampled_from([0, 1, 999, 1000, 2**63 - 1, 2**63, 2**64 - 1, 946_684_800_000_000_000])
    return st.one_of(near, near, far, UINT64)


def any_values(*, nul: bool = False) -> st.SearchStrategy[AnyValue]:
    """An AnyValue of every kind, nested a few levels, set or not."""
    leaves = st.one_of(
        texts(nul=nul).map(lambda value: AnyValue(string_value=value)),
        st.booleans().map(lambda value: AnyValue(bool_value=value)),
        INT64.map(lambda value: AnyValue(int_value=value)),
        doubles.map(lambda value: AnyValue(double_value=value)),
        st.binary(max_size=6).map(lambda value: AnyValue(bytes_value=value)),
        st.just(AnyValue()),
        INT32.map(lambda value: AnyValue(string_value_strindex=value)),
    )

    def containers(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
        pairs = st.lists(st.builds(_key_value, texts(4, nul=nul), st.one_of(inner, st.none()), st.just(0)), max_size=3)
        return st.one_of(
            st.lists(inner, max_size=3).map(lambda values: AnyValue(array_value=ArrayValue(values=values))),
            pairs.map(lambda values: AnyValue(kvlist_value=KeyValueList(values=values))),
        )

    return st.recursive(leaves, containers, max_leaves=4)


def _key_value(key: str, value: AnyValue | None, strindex: int) -> KeyValue:
    return KeyValue(key=key, value=value, key_strindex=strindex)


def attribute_lists(*, nul: bool = False, keys: Sequence[str] = ()) -> st.SearchStrategy[list[KeyValue]]:
    """Attribute lists: plain ones, and ones with equal keys, unset values and references to a string table."""
    key = st.one_of(texts(4, nul=nul), st.sampled_from(["a", "b", *keys]))
    plain = st.builds(
        lambda key, value: KeyValue(key=key, value=value),
        st.sampled_from(["http.route", "service.name", "n", *keys]),
        st.one_of(
            texts().map(lambda value: AnyValue(string_value=value)), INT64.map(lambda value: AnyValue(int_value=value))
        ),
    )
    wild = st.builds(
        _key_value, key, st.one_of(any_values(nul=nul), st.none()), st.one_of(st.just(0), st.just(0), INT32)
    )
    return st.one_of(st.lists(plain, max_size=4), st.lists(st.one_of(plain, wild), max_size=4))


def resources(*, nul: bool = False) -> st.SearchStrategy[Resource | None]:
    entity = st.builds(EntityRef, type=texts(4), id_keys=st.lists(texts(4), max_size=2), schema_url=texts(4))
    labels = ["service.version", "service.instance.id", "telemetry.sdk.language"]
    present = st.builds(
        Resource,
        attributes=attribute_lists(nul=nul, keys=labels),
        dropped_attributes_count=COUNT,
        entity_refs=st.one_of(st.just([]), st.lists(entity, max_size=2)),
    )
    return st.one_of(present, present, st.none())


def scopes(*, nul: bool = False) -> st.SearchStrategy[InstrumentationScope | None]:
    present = st.builds(
        InstrumentationScope,
        name=texts(nul=nul),
        version=texts(4, nul=nul),
        attributes=attribute_lists(nul=nul),
        dropped_attributes_count=COUNT,
    )
    return st.one_of(present, st.none())


def ids(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size).filter(any)


def optional_ids(size: int) -> st.SearchStrategy[bytes]:
    return st.one_of(ids(size), st.just(b""), st.just(bytes(size)))


def spans(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[Span]:
    attributes = attribute_lists(nul=nul)
    name = texts(nul=nul)
    event = st.builds(
        Span.Event, time_unix_nano=UINT64, name=name, attributes=attributes, dropped_attributes_count=COUNT
    )
    link = st.builds(
        Span.Link,
        trace_id=st.one_of(ids(16), st.binary(max_size=20)),
        span_id=st.one_of(ids(8), st.binary(max_size=10)),
        trace_state=name,
        attributes=attributes,
        dropped_attributes_count=COUNT,
        flags=UINT32,
    )
    code = st.one_of(st.integers(0, 2), INT32)
    return st.builds(
        Span,
        trace_id=ids(16),
        span_id=ids(8),
        parent_span_id=optional_ids(8),
        trace_state=name,
        flags=UINT32,
        name=name,
        kind=st.one_of(st.integers(0, 5), INT32),
        start_time_unix_nano=times(now_ns),
        end_time_unix_nano=times(now_ns),
        attributes=attributes,
        dropped_attributes_count=COUNT,
        events=st.lists(event, max_size=2),
        dropped_events_count=COUNT,
        links=st.lists(link, max_size=2),
        dropped_links_count=COUNT,
        status=st.one_of(st.none(), st.builds(Status, message=name, code=code)),
    )


def log_records(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[LogRecord]:
    text = texts(nul=nul)
    return st.builds(
        LogRecord,
        time_unix_nano=times(now_ns),
        observed_time_unix_nano=times(now_ns),
        severity_number=st.one_of(st.integers(0, 24), INT32),
        severity_text=st.one_of(text, st.sampled_from(["Warning", "fatal", "debug"])),
        body=st.one_of(st.none(), text.map(lambda value: AnyValue(string_value=value)), any_values(nul=nul)),
        attributes=attribute_lists(
            nul=nul, keys=["code.file.path", "code.lineno", "code.line.number", "parent_span_id"]
        ),
        dropped_attributes_count=COUNT,
        flags=UINT32,
        trace_id=optional_ids(16),
        span_id=optional_ids(8),
        event_name=text,
    )


def _exemplars() -> st.SearchStrategy[list[Exemplar]]:
    build = partial(
        st.builds,
        Exemplar,
        time_unix_nano=UINT64,
        trace_id=st.binary(max_size=17),
        span_id=st.binary(max_size=9),
        filtered_attributes=attribute_lists(),
    )
    exemplar = st.one_of(build(), build(as_int=INT64), build(as_double=doubles))
    return st.one_of(st.just([]), st.lists(exemplar, max_size=2))


def _flags() -> st.SearchStrategy[int]:
    return st.sampled_from([0, 0, 0, NO_RECORDED_VALUE, 2, 2**32 - 1])


def _common(now_ns: int, *, nul: bool = False, exemplars: bool = True) -> dict[str, st.SearchStrategy[Any]]:
    common: dict[str, st.SearchStrategy[Any]] = {
        "attributes": attribute_lists(nul=nul),
        "start_time_unix_nano": times(now_ns),
        "time_unix_nano": times(now_ns),
        "flags": _flags(),
    }
    return {**common, "exemplars": _exemplars()} if exemplars else common


def number_points(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[NumberDataPoint]:
    build = partial(st.builds, NumberDataPoint, **_common(now_ns, nul=nul))
    return st.one_of(build(), build(as_int=INT64), build(as_double=doubles))


_bucket_counts = st.lists(st.one_of(st.integers(0, 9), st.sampled_from([2**62, 2**63, 2**63 - 1])), max_size=5).filter(
    lambda counts: sum(counts) < 2**64
)
_optional_doubles = st.one_of(st.none(), doubles)


@st.composite
def histogram_points(draw: st.DrawFn, now_ns: int, *, nul: bool = False) -> HistogramDataPoint:
    counts = draw(_bucket_counts)
    finite = st.floats(allow_nan=False, width=64)
    size = max(len(counts) - 1, 0)
    bounds = sorted(draw(st.lists(finite, min_size=size, max_size=size, unique=True)))
    fields = {name: draw(strategy) for name, strategy in _common(now_ns, nul=nul).items()}
    return HistogramDataPoint(
        count=sum(counts) if counts else draw(UINT64),
        sum=draw(_optional_doubles),
        min=draw(_optional_doubles),
        max=draw(_optional_doubles),
        bucket_counts=counts,
        explicit_bounds=bounds,
        **fields,
    )


@st.composite
def exponential_points(draw: st.DrawFn, now_ns: int, *, nul: bool = False) -> ExponentialHistogramDataPoint:
    buckets = st.builds(
        ExponentialHistogramDataPoint.Buckets,
        offset=st.integers(-(2**31), 2**31 - 10),
        bucket_counts=st.lists(st.integers(0, 2**50), max_size=5),
    )
    positive, negative = (draw(st.one_of(st.none(), buckets)) for _ in range(2))
    zero_count = draw(st.one_of(st.integers(0, 5), st.just(2**63)))
    total = zero_count + sum(sum(side.bucket_counts) for side in (positive, negative) if side is not None)
    fields = {name: draw(strategy) for name, strategy in _common(now_ns, nul=nul).items()}
    return ExponentialHistogramDataPoint(
        count=total,
        sum=draw(_optional_doubles),
        min=draw(_optional_doubles),
        max=draw(_optional_doubles),
        scale=draw(st.integers(-10, 20)),
        zero_count=zero_count,
        zero_threshold=draw(doubles),
        positive=positive,
        negative=negative,
        **fields,
    )


def summary_points(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[SummaryDataPoint]:
    value = st.builds(SummaryDataPoint.ValueAtQuantile, quantile=st.floats(0, 1), value=doubles)
    common = _common(now_ns, nul=nul, exemplars=False)
    return st.builds(SummaryDataPoint, count=UINT64, sum=doubles, quantile_values=st.lists(value, max_size=3), **common)


def metrics(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[Metric]:
    build = partial(
        st.builds,
        Metric,
        name=texts(nul=nul).filter(bool),
        unit=texts(4, nul=nul),
        description=texts(nul=nul),
        metadata=st.one_of(st.just([]), attribute_lists(nul=nul)),
    )
    temporality = st.one_of(st.integers(1, 2), INT32.filter(bool))
    numbers = st.lists(number_points(now_ns, nul=nul), max_size=2)
    histograms = st.lists(histogram_points(now_ns, nul=nul), max_size=2)
    exponentials = st.lists(exponential_points(now_ns, nul=nul), max_size=2)
    summaries = st.lists(summary_points(now_ns, nul=nul), max_size=2)
    return st.one_of(
        build(gauge=st.builds(Gauge, data_points=numbers)),
        build(sum=st.builds(Sum, data_points=numbers, aggregation_temporality=temporality, is_monotonic=st.booleans())),
        build(histogram=st.builds(Histogram, data_points=histograms, aggregation_temporality=temporality)),
        build(
            exponential_histogram=st.builds(
                ExponentialHistogram, data_points=exponentials, aggregation_temporality=temporality
            )
        ),
        build(summary=st.builds(Summary, data_points=summaries)),
        build(),
    )


def trace_requests(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[ExportTraceServiceRequest]:
    scope = st.builds(
        ScopeSpans, scope=scopes(nul=nul), spans=st.lists(spans(now_ns, nul=nul), max_size=3), schema_url=texts(4)
    )
    resource = st.builds(
        ResourceSpans, resource=resources(nul=nul), scope_spans=st.lists(scope, max_size=2), schema_url=texts(4)
    )
    return st.builds(ExportTraceServiceRequest, resource_spans=st.lists(resource, min_size=1, max_size=2))


def logs_requests(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[ExportLogsServiceRequest]:
    records = st.lists(log_records(now_ns, nul=nul), max_size=3)
    scope = st.builds(ScopeLogs, scope=scopes(nul=nul), log_records=records, schema_url=texts(4))
    resource = st.builds(
        ResourceLogs, resource=resources(nul=nul), scope_logs=st.lists(scope, max_size=2), schema_url=texts(4)
    )
    return st.builds(ExportLogsServiceRequest, resource_logs=st.lists(resource, min_size=1, max_size=2))


def metrics_requests(now_ns: int, *, nul: bool = False) -> st.SearchStrategy[ExportMetricsServiceRequest]:
    found = st.lists(metrics(now_ns, nul=nul), max_size=3)
    scope = st.builds(ScopeMetrics, scope=scopes(nul=nul), metrics=found, schema_url=texts(4))
    resource = st.builds(
        ResourceMetrics, resource=resources(nul=nul), scope_metrics=st.lists(scope, max_size=2), schema_url=texts(4)
    )
    return st.builds(ExportMetricsServiceRequest, resource_metrics=st.lists(resource, min_size=1, max_size=2))
