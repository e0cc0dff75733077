"""What exemplars, start times and native histograms of a remote write request become in OTLP."""

from __future__ import annotations

from ares_otel.model.prometheus.native_histogram import STALE_NAN
from ares_otel.model.prometheus.proto import write_v2_pb2 as v2
from ares_otel.model.prometheus.verbatim import CUSTOM, METADATA_BUCKETS
from ares_otel.receivers.prometheusremotewrite.series import SeriesBook
from ares_otel.receivers.prometheusremotewrite.written import Written
from tests.support.remote_write import NOW_MS, Told, native, series
from tests.support.remote_write_decoded import (
    NOW_NS,
    Decode,
    both,
    first,
    labels_of,
    metrics,
    only_metric,
    second,
    type_of,
)


def test_2_0_tells_when_a_counter_began_in_both_places() -> None:
    here = Told({"__name__": "a_total"}, [(NOW_MS, 1.0), (NOW_MS + 9, 2.0)], starts=[NOW_MS - 5, NOW_MS + 3])
    there = Told({"__name__": "b_total"}, [(NOW_MS, 1.0)], created=NOW_MS - 7)
    later = Told({"__name__": "c_total"}, [(NOW_MS, 1.0)], created=NOW_MS + 1)
    gauge = Told({"__name__": "d"}, [(NOW_MS, 1.0)], created=NOW_MS - 7)
    histogram = Told({"__name__": "h"}, histograms=[native()], created=NOW_MS - 7)
    found = {
        metric.name: [
            point.start_time_unix_nano // 10**6
            for kind in (metric.sum, metric.gauge, metric.exponential_histogram)
            for point in kind.data_points
        ]
        for _, metric in metrics(second([here, there, later, gauge, histogram]))
    }
    assert found == {
        "a_total": [NOW_MS - 5, NOW_MS + 3],
        "b_total": [NOW_MS - 7],
        "c_total": [0],
        "d": [0],
        "h": [NOW_MS - 7],
    }


@both
def test_an_exemplar_goes_to_the_point_of_its_time_or_the_next_or_the_last(decode: Decode) -> None:
    ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "user": "u"}
    exemplars = [(ids, 1.5, NOW_MS), ({}, 2.5, NOW_MS + 5), ({"trace_id": "abc"}, 3.5, NOW_MS + 50)]
    told = [
        Told({"__name__": "a_total"}, [(NOW_MS + 10, 2.0), (NOW_MS, 1.0)]),
        Told({"__name__": "a_total"}, [(NOW_MS + 20, 3.0)], exemplars=exemplars),
    ]
    decoded = decode(told)
    late, early, last = only_metric(decoded).sum.data_points
    assert decoded.written == Written(3, 0, 3)
    [exemplar] = early.exemplars
    assert (exemplar.trace_id.hex(), exemplar.span_id.hex()) == (ids["trace_id"], ids["span_id"])
    assert (exemplar.as_double, exemplar.time_unix_nano) == (1.5, NOW_NS)
    assert [(pair.key, pair.value.string_value) for pair in exemplar.filtered_attributes] == [("user", "u")]
    assert [one.as_double for one in late.exemplars] == [2.5]
    [kept] = last.exemplars
    assert (kept.trace_id, kept.filtered_attributes[0].value.string_value) == (b"", "abc")


def test_an_exemplar_without_a_sample_is_left_out_and_2_0_is_told() -> None:
    lonely = Told({"__name__": "a_total"}, exemplars=[({"x": "y"}, 1.0, NOW_MS)])
    told = [lonely, series("b", (NOW_MS, 1.0))]
    old, new = first(told), second(told)
    assert [decoded.written for decoded in (old, new)] == [Written(1)] * 2
    assert [decoded.left_exemplars for decoded in (old, new)] == [1, 1]
    assert old.reason == ""
    assert "a_total" in new.reason


@both
def test_an_exemplar_of_a_histogram_stays_with_it(decode: Decode) -> None:
    told = Told({"__name__": "h"}, histograms=[native()], exemplars=[({"x": "y"}, 1.0, NOW_MS)])
    decoded = decode([told])
    assert decoded.written == Written(0, 1, 1)
    assert len(only_metric(decoded).exponential_histogram.data_points[0].exemplars) == 1


@both
def test_a_native_histogram_is_an_exponential_one_and_custom_buckets_are_explicit(decode: Decode) -> None:
    told = Told(
        {"__name__": "h", "job": "j"},
        histograms=[
            native((1, 2), first=4),
            native((5, 6, 7), schema=-53, custom_values=[0.5, 1.0]),
            native(reset_hint=v2.Histogram.RESET_HINT_GAUGE),
            v2.Histogram(sum=STALE_NAN, timestamp=NOW_MS, schema=3),
        ],
    )
    decoded = decode([told])
    assert not decoded.reason
    found = {(metric.WhichOneof("data"), type_of(metric)): metric for _, metric in metrics(decoded)}
    measured, stale = found["exponential_histogram", "histogram"].exponential_histogram.data_points
    assert (measured.scale, measured.positive.offset, list(measured.positive.bucket_counts)) == (3, 3, [1, 2])
    assert (measured.count, measured.sum, labels_of(measured)) == (3, 1.5, {"job": "j"})
    assert (stale.flags, stale.count) == (1, 0)
    of_custom = found["histogram", "histogram"]
    assert {pair.key: pair.value.string_value for pair in of_custom.metadata}[METADATA_BUCKETS] == CUSTOM
    [custom] = of_custom.histogram.data_points
    assert (list(custom.explicit_bounds), list(custom.bucket_counts)) == ([0.5, 1.0], [5, 6, 7])
    assert len(found["exponential_histogram", "gaugehistogram"].exponential_histogram.data_points) == 1


def test_the_end_of_native_histograms_may_be_told_by_a_sample() -> None:
    """As Prometheus 3 does it: the type tells, or what came before."""
    stale = [(NOW_MS + 5, STALE_NAN)]
    typed = Told({"__name__": "h"}, stale, type=v2.Metadata.METRIC_TYPE_HISTOGRAM)
    end = only_metric(second([typed]))
    assert [point.flags for point in end.exponential_histogram.data_points] == [1]
    assert type_of(end) == "histogram"
    part = Told({"__name__": "h_sum"}, stale, type=v2.Metadata.METRIC_TYPE_HISTOGRAM)
    assert only_metric(second([part])).HasField("sum")
    custom = native((5, 6), schema=-53, custom_values=[0.5])
    for told, kind in ((native(), "exponential_histogram"), (custom, "histogram"), (None, "gauge")):
        book = SeriesBook(2**20)
        before = Told({"__name__": "h"}, [] if told else [(NOW_MS, 1.0)], [told] if told else [])
        first([before], book)
        decoded = first([Told({"__name__": "h"}, stale)], book)
        assert only_metric(decoded).WhichOneof("data") == kind
        assert decoded.written == Written(1)


@both
def test_a_wrong_histogram_is_left_out_and_the_others_are_not(decode: Decode) -> None:
    floats = v2.Histogram(count_float=1.5, positive_counts=[1.5], timestamp=NOW_MS)
    floats.positive_spans.add(offset=0, length=1)
    whole = v2.Histogram(count_float=2.0, positive_counts=[2.0], timestamp=NOW_MS)
    whole.positive_spans.add(offset=0, length=1)
    mixed = v2.Histogram(count_float=2.0, positive_deltas=[2], timestamp=NOW_MS)
    told = Told({"__name__": "h"}, histograms=[native(), floats, whole, mixed, native(count_int=9), native(schema=9)])
    decoded = decode([told])
    assert (decoded.written, decoded.rejected) == (Written(0, 2, 0), 4)
    assert "not whole numbers" in decoded.reason
    assert decoded.reason.startswith("4 pieces of the request cannot be stored, the rest is: h: ")
