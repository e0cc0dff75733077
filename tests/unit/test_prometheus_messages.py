"""Points of OTLP as messages of Prometheus's protobuf."""

from __future__ import annotations

import math
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.escaping import Escaping
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.messages import Messages
from ares_otel.model.prometheus.proto import exposition_pb2 as pb
from tests.support.exposition_messages import families_of, is_native, labels_of, native_buckets
from tests.support.otlp_samples import exponential_point, histogram_point, summary_point

START = 1_700_000_000_123_456_789


def metric_of(point: Any, kind: Kind, *, timestamps: bool = False, verbatim: bool = False, **labels: str) -> pb.Metric:
    messages = Messages(TranslationConfig(), Escaping.UNDERSCORES, timestamps=timestamps)
    data = messages.of(kind, messages.labels(labels), point, verbatim=verbatim)
    [family] = families_of(b"".join(messages.family("m", kind, "", "", [data]))).values()
    return family.metric[0]


def test_a_counter_has_its_value_start_time_and_newest_exemplar() -> None:
    exemplars = [Exemplar(as_int=number, time_unix_nano=START + number, trace_id=b"t" * 16) for number in (2, 1)]
    made = metric_of(NumberDataPoint(as_int=4, start_time_unix_nano=START, exemplars=exemplars), Kind.COUNTER, a="b")
    assert labels_of(made) == {"a": "b"}
    assert made.counter.value == 4
    created = made.counter.created_timestamp
    assert created.seconds * 10**9 + created.nanos == START
    assert made.counter.exemplar.value == 2
    assert made.counter.exemplar.timestamp.nanos == (START + 2) % 10**9
    assert not made.HasField("timestamp_ms")


def test_gauges_infos_and_numbers_of_no_known_type_are_told_as_such() -> None:
    point = NumberDataPoint(as_double=1.5, start_time_unix_nano=START)
    assert metric_of(point, Kind.GAUGE).gauge.value == metric_of(point, Kind.INFO).gauge.value == 1.5
    assert metric_of(point, Kind.UNKNOWN).untyped.value == 1.5


def test_a_histogram_has_cumulative_classic_buckets() -> None:
    exemplar = Exemplar(as_double=0.07, time_unix_nano=START, trace_id=b"t" * 16)
    point = histogram_point(explicit_bounds=[0.05, 0.1, 1], bucket_counts=[2, 1, 2, 1], exemplars=[exemplar])
    made = metric_of(point, Kind.HISTOGRAM).histogram
    assert not is_native(made)
    assert {bucket.upper_bound: bucket.cumulative_count for bucket in made.bucket} == {
        0.05: 2,
        0.1: 3,
        1: 5,
        math.inf: 6,
    }
    assert (made.sample_count, made.sample_sum) == (6, 0.9)
    assert [bucket.exemplar.value for bucket in made.bucket if bucket.HasField("exemplar")] == [0.07]
    assert made.HasField("created_timestamp")


def test_a_histogram_without_a_sum_has_nan_for_the_format_knows_no_absence() -> None:
    made = metric_of(HistogramDataPoint(count=6, explicit_bounds=[1], bucket_counts=[2, 4]), Kind.HISTOGRAM)
    assert math.isnan(made.histogram.sample_sum)


def test_an_exponential_histogram_is_a_native_one() -> None:
    made = metric_of(exponential_point(start_time_unix_nano=START), Kind.HISTOGRAM).histogram
    assert is_native(made)
    assert native_buckets(made) == {-1: 1, 0: 0, 1: 3, 2: 2}
    assert (made.schema, made.zero_count, made.zero_threshold) == (3, 1, 1e-128)
    assert (made.sample_count, made.sample_sum) == (7, 40.5)
    assert made.created_timestamp.seconds == START // 10**9
    assert not made.bucket


def test_a_native_histogram_has_the_newest_exemplar_of_each_bucket_that_has_a_time() -> None:
    def exemplar(value: float, time: int) -> Exemplar:
        return Exemplar(as_double=value, time_unix_nano=time, trace_id=b"t" * 16)

    given = [exemplar(1.9, 7), exemplar(1.5, 9), exemplar(3, 8), exemplar(5, 0), exemplar(0, 6), exemplar(math.nan, 5)]
    point = exponential_point(scale=0, exemplars=given)
    made = metric_of(point, Kind.HISTOGRAM).histogram
    assert [(e.value, e.timestamp.nanos) for e in made.exemplars] == [(0, 6), (3, 8), (1.5, 9)]


def test_an_empty_native_histogram_is_still_told_from_a_classic_one() -> None:
    made = metric_of(ExponentialHistogramDataPoint(), Kind.HISTOGRAM, verbatim=True).histogram
    assert is_native(made)
    assert made.zero_threshold == 0


def test_a_scale_that_no_native_histogram_has_is_refused() -> None:
    with pytest.raises(Untranslatable):
        metric_of(exponential_point(scale=-5), Kind.HISTOGRAM)


def test_a_summary_has_quantiles_sum_and_count() -> None:
    made = metric_of(summary_point(start_time_unix_nano=START), Kind.SUMMARY).summary
    assert {q.quantile: q.value for q in made.quantile} == {0.5: 2, 0.99: 7.5}
    assert (made.sample_count, made.sample_sum, made.created_timestamp.seconds) == (10, 25, START // 10**9)


def test_the_time_of_a_point_is_told_on_demand_in_milliseconds() -> None:
    point = NumberDataPoint(as_int=1, time_unix_nano=1_700_000_000_999_999_999)
    assert metric_of(point, Kind.GAUGE, timestamps=True).timestamp_ms == 1_700_000_000_999


@pytest.mark.parametrize(
    ("escaping", "names"),
    [
        (Escaping.UNDERSCORES, ["a_b"]),
        (Escaping.ALLOW_UTF8, ["a-b", "a.b"]),
        (Escaping.DOTS, ["a__b", "a_dot_b"]),
        (Escaping.VALUES, ["U__a_2d_b", "U__a_2e_b"]),
    ],
)
def test_labels_are_escaped_as_in_text(escaping: Escaping, names: list[str]) -> None:
    messages = Messages(TranslationConfig(), escaping, timestamps=False)
    labels = dict(messages.labels({"a.b": "1", "a-b": "2"}))
    assert sorted(labels) == names
    assert labels == ({"a_b": "2;1"} if escaping is Escaping.UNDERSCORES else labels)


def test_classic_histograms_stand_before_native_ones_of_their_family() -> None:
    messages = Messages(TranslationConfig(), Escaping.UNDERSCORES, timestamps=False)
    points = {"a": exponential_point(), "b": histogram_point(), "c": exponential_point(), "d": histogram_point()}
    data = [messages.of(Kind.HISTOGRAM, messages.labels({"x": x}), point) for x, point in points.items()]
    body = b"".join(messages.family("m_seconds", Kind.HISTOGRAM, "seconds", "Help", data))
    family = families_of(body)["m_seconds"]
    assert [labels_of(metric)["x"] for metric in family.metric] == ["b", "d", "a", "c"]
    assert (family.help, family.unit, family.type) == ("Help", "seconds", pb.HISTOGRAM)
