"""Metric points as rows and series: what each column says, what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)

from ares_otel.storage.definitions import COLUMNS
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, SAMPLES, SERIES, EncodedBatch
from ares_otel.storage.rows.implementation import IMPLEMENTATIONS, NATIVE, choose
from tests.support.copy_rows import rows_of
from tests.support.encoders import NATIVE_ENCODER, WHY_MISSING, encode_batch
from tests.support.otlp_samples import (
    CUMULATIVE,
    DELTA,
    batch_of,
    exponential_point,
    histogram_point,
    metrics_request,
    number_point,
    pairs,
    summary_point,
)
from tests.support.rows_encoding import NOW, WINDOWS, encoded, only_row

pytestmark = pytest.mark.usefixtures("encoder")

BUCKETS = ExponentialHistogramDataPoint.Buckets


def series_of(result: EncodedBatch) -> list[dict[str, object]]:
    names = [name for name, _ in COLUMNS[SERIES]]
    return [dict(zip(names, values, strict=True)) for values in result.definitions[SERIES].values()]


def gauge(*points: NumberDataPoint, name: str = "m") -> Metric:
    return Metric(name=name, gauge=Gauge(data_points=points))


def histogram(point: HistogramDataPoint) -> Metric:
    return Metric(name="h", histogram=Histogram(data_points=[point], aggregation_temporality=DELTA))


def exponential(point: ExponentialHistogramDataPoint) -> Metric:
    data = ExponentialHistogram(data_points=[point], aggregation_temporality=CUMULATIVE)
    return Metric(name="e", exponential_histogram=data)


def summary(point: SummaryDataPoint) -> Metric:
    return Metric(name="s", summary=Summary(data_points=[point]))


def distribution(metric: Metric) -> dict[str, Any]:
    return only_row(metrics_request(metrics=[metric]), DISTRIBUTIONS)


def test_every_type_of_metric_has_its_name_and_temporality() -> None:
    result = encoded(metrics_request())
    found = {(s["metric_name"], s["metric_type"], s["temporality"], s["is_monotonic"]) for s in series_of(result)}
    assert found == {
        ("process.memory.usage", "gauge", None, None),
        ("http.server.requests", "counter", "cumulative", True),
        ("queue.length", "updowncounter", "delta", False),
        ("http.server.request.duration", "histogram", "cumulative", None),
        ("mail.wait", "exponential_histogram", "delta", None),
        ("batch.duration", "summary", None, None),
    }
    assert (result.items, result.stored) == (8, 8)


def test_an_integer_point_keeps_its_exact_value_beside_the_double() -> None:
    result = encoded(metrics_request(metrics=[gauge(number_point(2**63 - 1), number_point(0.5))]))
    exact, double = rows_of(result, SAMPLES)
    assert (exact["value"], exact["value_int"]) == (float(2**63), 2**63 - 1)
    assert (double["value"], double["value_int"]) == (0.5, None)


def test_points_with_the_same_attributes_in_any_order_share_a_series() -> None:
    points = [number_point(1, attributes=pairs(attributes)) for attributes in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    result = encoded(metrics_request(metrics=[gauge(*points)]))
    assert len(result.definitions[SERIES]) == 1
    assert len({row["series_id"] for row in rows_of(result, SAMPLES)}) == 1


@pytest.mark.parametrize(
    "other",
    [
        Metric(name="n", gauge=Gauge(data_points=[number_point()])),
        Metric(name="m", unit="s", gauge=Gauge(data_points=[number_point()])),
        Metric(name="m", description="d", gauge=Gauge(data_points=[number_point()])),
        Metric(name="m", metadata=pairs({"k": 1}), gauge=Gauge(data_points=[number_point()])),
        Metric(name="m", sum=Sum(data_points=[number_point()], aggregation_temporality=DELTA)),
        Metric(name="m", gauge=Gauge(data_points=[number_point(attributes=pairs({"x": "1"}))])),
        Metric(name="m", gauge=Gauge(data_points=[number_point(attributes=pairs({"x": 1}))])),
    ],
    ids=["name", "unit", "description", "metadata", "type", "attribute text", "attribute int"],
)
def test_whatever_tells_two_series_apart_is_in_their_ids(other: Metric) -> None:
    one = gauge(number_point())
    assert len(encoded(metrics_request(metrics=[one, other])).definitions[SERIES]) == 2


def test_tenants_resources_and_scopes_have_series_of_their_own() -> None:
    request = metrics_request(metrics=[gauge(number_point())])
    ids = [*encoded(request).definitions[SERIES], *encoded(request, tenant_id=1).definitions[SERIES]]
    ids += encoded(metrics_request("other", [gauge(number_point())])).definitions[SERIES]
    assert len(set(ids)) == 3


def test_a_point_without_a_recorded_value_has_none() -> None:
    flagged = number_point(None, flags=1)
    row = only_row(metrics_request(metrics=[gauge(flagged)]), SAMPLES)
    assert (row["value"], row["value_int"], row["flags"], row["point_raw"]) == (None, None, 1, None)
    contradicting = only_row(metrics_request(metrics=[gauge(number_point(3, flags=1))]), SAMPLES)
    assert contradicting["value"] is None
    assert NumberDataPoint.FromString(contradicting["point_raw"]).as_int == 3


def test_a_histogram_shows_its_mean_and_keeps_its_buckets() -> None:
    row = distribution(histogram(histogram_point(count=4, sum=6.0, bucket_counts=[1, 3], explicit_bounds=[2.5])))
    assert (row["value"], row["count"], row["sum"]) == (1.5, 4, 6.0)
    assert (row["explicit_bounds"], row["bucket_counts"]) == ([2.5], [1, 3])
    assert (row["scale"], row["quantiles"]) == (None, None)


def test_a_histogram_without_a_sum_or_without_measurements_has_no_mean() -> None:
    assert distribution(histogram(histogram_point(sum=None)))["value"] is None
    empty = histogram_point(count=0, sum=0.0, bucket_counts=[], explicit_bounds=[])
    assert distribution(histogram(empty))["value"] is None


def test_counts_beyond_int8_are_clamped_and_kept_exactly_beside() -> None:
    big = 2**63 + 5
    row = distribution(histogram(histogram_point(count=big, bucket_counts=[big], explicit_bounds=[])))
    assert (row["count"], row["bucket_counts"]) == (2**63 - 1, [2**63 - 1])
    assert HistogramDataPoint.FromString(row["point_raw"]).count == big


def test_a_summary_keeps_its_quantiles() -> None:
    row = distribution(summary(summary_point()))
    assert (row["value"], row["quantiles"], row["quantile_values"]) == (2.5, [0.5, 0.99], [2.0, 7.5])


NAN = float("nan")
INVALID = [
    (gauge(number_point(), name=""), "metric.name must not be empty"),
    (
        Metric(name="m", sum=Sum(data_points=[number_point()])),
        "metric.sum.aggregation_temporality must be delta or cumulative",
    ),
    (
        Metric(name="m", histogram=Histogram(data_points=[histogram_point()])),
        "metric.histogram.aggregation_temporality must be delta or cumulative",
    ),
    (
        histogram(histogram_point(bucket_counts=[1, 2, 3])),
        "histogram.bucket_counts must be one longer than explicit_bounds, or both empty",
    ),
    (
        histogram(histogram_point(bucket_counts=[])),
        "histogram.bucket_counts must be one longer than explicit_bounds, or both empty",
    ),
    (
        histogram(histogram_point(explicit_bounds=[1, 1, 2])),
        "histogram.explicit_bounds must be numbers that increase strictly",
    ),
    (
        histogram(histogram_point(count=1, explicit_bounds=[NAN], bucket_counts=[1, 0])),
        "histogram.explicit_bounds must be numbers that increase strictly",
    ),
    (histogram(histogram_point(count=7)), "histogram.count must be the sum of bucket_counts"),
    (exponential(exponential_point(scale=21)), "exponential_histogram.scale must be -10 to 20"),
    (exponential(exponential_point(scale=-11)), "exponential_histogram.scale must be -10 to 20"),
    (
        exponential(exponential_point(count=8)),
        "exponential_histogram.count must be zero_count plus all bucket_counts",
    ),
    (
        exponential(exponential_point(positive=BUCKETS(bucket_counts=[0] * 100_001))),
        "exponential_histogram.positive.bucket_counts must have at most 100000 buckets",
    ),
    (
        exponential(exponential_point(negative=BUCKETS(offset=2**31 - 1, bucket_counts=[0, 0]))),
        "exponential_histogram.negative: offset plus the number of buckets must fit 32 bits",
    ),
    (
        summary(summary_point(quantile_values=[SummaryDataPoint.ValueAtQuantile(quantile=1.1)])),
        "summary.quantile_values.quantile must be 0 to 1",
    ),
    (
        summary(summary_point(quantile_values=[SummaryDataPoint.ValueAtQuantile(quantile=NAN)])),
        "summary.quantile_values.quantile must be 0 to 1",
    ),
]


@pytest.mark.parametrize(("metric", "reason"), INVALID)
def test_a_point_that_contradicts_itself_is_left_out_and_says_why(metric: Metric, reason: str) -> None:
    result = encoded(metrics_request(metrics=[gauge(number_point()), metric]))
    assert (result.items, result.stored, result.rejected) == (2, 1, 1)
    assert result.reasons == {reason: 1}


def test_a_histogram_without_a_recorded_value_is_not_checked() -> None:
    row = distribution(histogram(histogram_point(flags=1, count=99, exemplars=[])))
    assert (row["count"], row["value"], row["flags"]) == (99, None, 1)


def test_an_unknown_temporality_is_kept_as_its_number() -> None:
    data = Sum(data_points=[number_point()], aggregation_temporality=7)  # type: ignore[arg-type]
    (series,) = series_of(encoded(metrics_request(metrics=[Metric(name="m", sum=data)])))
    assert series["temporality"] == "7"


def test_a_point_outside_the_window_is_filed_under_its_receive_time() -> None:
    row = only_row(metrics_request(metrics=[gauge(number_point(time_unix_nano=5))]), SAMPLES)
    assert (row["timestamp"], row["timestamp_ns"], row["original_time_unix_nano"]) == (*divmod(NOW, 1000), 5)


def test_metrics_without_points_leave_nothing_behind() -> None:
    result = encoded(metrics_request(metrics=[Metric(name="m"), gauge()]))
    assert (result.items, result.tables, result.definitions) == (0, {}, {})


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
def test_a_known_series_is_not_defined_again_and_the_request_relies_on_that(kind: str) -> None:
    if kind == NATIVE and NATIVE_ENCODER is None:
        pytest.skip(WHY_MISSING)
    known = choose(kind).known_series()
    request = metrics_request()
    first = encode_batch(batch_of(request, received_ns=NOW), WINDOWS, known)
    assert first.relies_on is None
    *some, last = first.definitions[SERIES]
    known.forget()
    known.add(id_.bytes for id_ in some)
    second = encode_batch(batch_of(request, received_ns=NOW), WINDOWS, known)
    assert list(second.definitions[SERIES]) == [last]
    assert second.relies_on == known.generation == 1
    assert second.tables == first.tables
    assert second.definition_bytes < first.definition_bytes


def test_a_series_that_two_metrics_of_a_request_share_is_defined_once() -> None:
    result = encoded(metrics_request(metrics=[gauge(number_point(1)), gauge(number_point(2))]))
    assert len(result.definitions[SERIES]) == 1
    once = encoded(metrics_request(metrics=[gauge(number_point(1))]))
    assert list(result.definitions[SERIES]) == list(once.definitions[SERIES])


def test_hundreds_of_series_of_one_metric_are_told_apart() -> None:
    points = [number_point(place, attributes=pairs({"n": place % 300})) for place in range(700)]
    result = encoded(metrics_request(metrics=[gauge(*points)]))
    assert len(result.definitions[SERIES]) == 300
    rows = rows_of(result, SAMPLES)
    assert rows[0]["series_id"] == rows[300]["series_id"] == rows[600]["series_id"] != rows[1]["series_id"]
