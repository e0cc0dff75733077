"""Rows of metric_series, metric_samples and metric_distributions back to OTLP metrics and points. Pure: no database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from ares_otel.storage.rows.metrics import TEMPORALITIES
from ares_otel.storage.rows.restore_values import Row, attributes, filed_time, json_column, key_values, unix_nano

_SUMS = ("counter", "updowncounter")


def metric_from_series(series: Row) -> Metric:
    """The metric of a row of metric_series, without points."""
    metric = Metric(
        name=series["metric_name"],
        unit=series["unit"],
        description=series["description"],
        metadata=attributes(series["metadata"], series["metadata_raw"]),
    )
    kind = data_field(series)
    data = getattr(metric, kind)
    data.SetInParent()
    temporality = series["temporality"]
    if temporality is not None:
        known = temporality in TEMPORALITIES
        data.aggregation_temporality = TEMPORALITIES.index(temporality) if known else int(temporality)
    if kind == "sum":
        data.is_monotonic = bool(series["is_monotonic"])
    return metric


def data_field(series: Row) -> str:
    """The field of Metric.data that holds the points of a series: gauge, sum, histogram …"""
    kind: str = series["metric_type"]
    return "sum" if kind in _SUMS else kind


def point_from_row(row: Row, series: Row) -> Any:
    """The data point of a row of metric_samples or metric_distributions, with the attributes of its series."""
    point = point_of(row, series["metric_type"])
    point.attributes.extend(attributes(series["labels"], series["attributes_raw"]))
    return point


def point_of(row: Row, metric_type: str) -> Any:
    """The data point of a row, without attributes."""
    return _BUILDERS[metric_type](row)


def number_point(row: Row) -> NumberDataPoint:
    """A point of a gauge or sum, without attributes."""
    if row["point_raw"] is not None:
        return NumberDataPoint.FromString(row["point_raw"])
    point = NumberDataPoint(**_common(row))
    if row["value_int"] is not None:
        point.as_int = row["value_int"]
    elif row["value"] is not None:
        point.as_double = row["value"]
    return point


def histogram_point(row: Row) -> HistogramDataPoint:
    """A point of a histogram, without attributes."""
    if row["point_raw"] is not None:
        return HistogramDataPoint.FromString(row["point_raw"])
    return HistogramDataPoint(
        **_common(row),
        count=row["count"],
        sum=row["sum"],
        min=row["min"],
        max=row["max"],
        explicit_bounds=row["explicit_bounds"],
        bucket_counts=row["bucket_counts"],
    )


def exponential_histogram_point(row: Row) -> ExponentialHistogramDataPoint:
    """A point of an exponential histogram, without attributes."""
    if row["point_raw"] is not None:
        return ExponentialHistogramDataPoint.FromString(row["point_raw"])
    return ExponentialHistogramDataPoint(
        **_common(row),
        count=row["count"],
        sum=row["sum"],
        min=row["min"],
        max=row["max"],
        scale=row["scale"],
        zero_count=row["zero_count"],
        zero_threshold=row["zero_threshold"],
        positive=_buckets(row, "positive"),
        negative=_buckets(row, "negative"),
    )


def summary_point(row: Row) -> SummaryDataPoint:
    """A point of a summary, without attributes."""
    if row["point_raw"] is not None:
        return SummaryDataPoint.FromString(row["point_raw"])
    return SummaryDataPoint(
        **_common(row),
        count=row["count"],
        sum=row["sum"],
        quantile_values=[
            SummaryDataPoint.ValueAtQuantile(quantile=quantile, value=value)
            for quantile, value in zip(row["quantiles"], row["quantile_values"], strict=True)
        ],
    )


_BUILDERS: dict[str, Callable[[Row], Any]] = {
    "gauge": number_point,
    "counter": number_point,
    "updowncounter": number_point,
    "histogram": histogram_point,
    "exponential_histogram": exponential_histogram_point,
    "summary": summary_point,
}


def _common(row: Row) -> dict[str, Any]:
    """The fields that points of all types have; summaries have no exemplars."""
    fields: dict[str, Any] = {
        "time_unix_nano": filed_time(row, "timestamp", "timestamp_ns"),
        "start_time_unix_nano": unix_nano(row["start_time"], row["start_ns"]),
        "flags": row["flags"] or 0,
    }
    if row["exemplars"] is not None:
        fields["exemplars"] = [_exemplar(item) for item in json_column(row["exemplars"])]
    return fields


def _exemplar(item: dict[str, Any]) -> Exemplar:
    exemplar = Exemplar(
        time_unix_nano=item["time_unix_nano"],
        trace_id=bytes.fromhex(item["trace_id"]),
        span_id=bytes.fromhex(item["span_id"]),
        filtered_attributes=key_values(item["filtered_attributes"]),
    )
    value = item["value"]
    if isinstance(value, int):
        exemplar.as_int = value
    else:
        exemplar.as_double = value
    return exemplar


def _buckets(row: Row, side: str) -> ExponentialHistogramDataPoint.Buckets | None:
    offset = row[f"{side}_offset"]
    if offset is None:
        return None
    return ExponentialHistogramDataPoint.Buckets(offset=offset, bucket_counts=row[f"{side}_counts"])
