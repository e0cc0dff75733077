"""Pages of protobuf: the same as text, native histograms, and what is damaged."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.native_histogram import STALE_NAN
from ares_otel.model.prometheus.proto import exposition_pb2 as proto
from ares_otel.receivers.prometheus.estimate import protobuf_memory, text_memory
from ares_otel.receivers.prometheus.page import WrongPage
from ares_otel.receivers.prometheus.protobuf_page import read_protobuf
from tests.support.scraped_pages import SECOND, Scraped, delimited, kind, points


def native(**fields: Any) -> proto.MetricFamily:
    family = proto.MetricFamily(name="n", help="N.", type=proto.HISTOGRAM)
    histogram = family.metric.add().histogram
    histogram.MergeFrom(proto.Histogram(schema=3, zero_threshold=1e-3, sample_count=6, sample_sum=7.5, zero_count=1))
    histogram.positive_span.add(offset=2, length=2)
    histogram.positive_span.add(offset=1, length=1)
    histogram.positive_delta.extend([1, 1, 0])
    for name, value in fields.items():
        setattr(histogram, name, value)
    return family


def test_a_native_histogram_is_an_exponential_one() -> None:
    [metric] = Scraped().protobuf(native()).values()
    [point] = metric.exponential_histogram.data_points
    assert (point.scale, point.zero_count, point.zero_threshold, point.count, point.sum) == (3, 1, 1e-3, 6, 7.5)
    assert (point.positive.offset, list(point.positive.bucket_counts)) == (1, [1, 2, 0, 2])


def test_a_text_that_is_not_utf8_fails_the_page() -> None:
    """In proto2 the library does not look, and gives bytes."""
    family = proto.MetricFamily(name="name", help="help", unit="unit", type=proto.COUNTER)
    counted = family.metric.add(label=[proto.LabelPair(name="label", value="value")]).counter
    counted.exemplar.label.add(name="one", value="two")
    page = delimited(family)
    for text in (b"name", b"help", b"unit", b"label", b"value", b"one", b"two"):
        with pytest.raises(WrongPage, match="family 1: a text is not UTF-8"):
            read_protobuf(page.replace(text, b"\xff" + text[1:]), {}, native=True, classic=False)


def test_a_native_histogram_that_contradicts_itself_is_left_out_and_counted() -> None:
    scraped = Scraped()
    assert not scraped.protobuf(native(sample_count=99))
    assert scraped.assembled.wrong == 1
    assert "count" in scraped.assembled.reason


def with_classic(family: proto.MetricFamily) -> proto.MetricFamily:
    histogram = family.metric[0].histogram
    histogram.bucket.add(upper_bound=1.0, cumulative_count=4)
    return family


def test_which_of_both_histograms_is_taken_is_an_option() -> None:
    family = with_classic(native())
    assert kind(Scraped().protobuf(family, native=False)["n"]) == "histogram"
    assert kind(Scraped().protobuf(family)["n"]) == "exponential_histogram"
    scraped = Scraped()
    scraped.protobuf(family, classic=True)
    [request] = scraped.requests
    assert sorted(kind(one) for one in request.resource_metrics[0].scope_metrics[0].metrics) == [
        "exponential_histogram",
        "histogram",
    ]


def test_a_page_of_protobuf_says_the_same_as_its_text() -> None:
    counter = proto.MetricFamily(name="c_total", help="C.", type=proto.COUNTER)
    one = counter.metric.add()
    one.label.add(name="a", value="b")
    one.counter.value = 5
    one.counter.created_timestamp.seconds = 1
    summary = proto.MetricFamily(name="s", type=proto.SUMMARY)
    summary.metric.add().summary.MergeFrom(
        proto.Summary(sample_count=2, sample_sum=3, quantile=[proto.Quantile(quantile=0.5, value=1)])
    )
    gauge = proto.MetricFamily(name="g", type=proto.GAUGE)
    gauge.metric.add(timestamp_ms=500).gauge.value = float("nan")
    made = Scraped().protobuf(counter, summary, gauge, with_classic(native(schema=0)), native=False)
    assert {name: kind(one) for name, one in made.items()} == {
        "c_total": "sum",
        "s": "summary",
        "g": "gauge",
        "n": "histogram",
    }
    assert points(made["c_total"])[0].start_time_unix_nano == SECOND
    assert points(made["g"])[0].time_unix_nano == 500_000_000
    assert list(points(made["n"])[0].bucket_counts) == [4, 2]


def test_a_marker_on_a_page_of_protobuf_ends_the_series() -> None:
    family = proto.MetricFamily(name="g", type=proto.GAUGE)
    family.metric.add().gauge.value = STALE_NAN
    [point] = points(Scraped().protobuf(family)["g"])
    assert point.flags == 1
    assert struct.pack(">d", point.as_double) == bytes(8)


@pytest.mark.parametrize(
    "body",
    [
        b"\x05\x0a",
        b"\xff\xff\xff\xff\xff\x01",
        b"\x80",
        b"\x02\xff\xff",
        delimited(proto.MetricFamily(type=proto.GAUGE)),
        delimited(native(schema=9)),
        delimited(native(schema=3)) + b"\x01",
    ],
)
def test_a_damaged_page_of_protobuf_fails(body: bytes) -> None:
    with pytest.raises(WrongPage, match=r"^family \d: "):
        read_protobuf(body, {}, native=True, classic=False)


def test_what_a_page_takes_is_told_before_it_is_read() -> None:
    """Not exactly; but two bytes that become a hundred count as a hundred."""
    hollow = b"\x22\x00" * 100_000
    assert protobuf_memory(hollow, 0) > 40 * len(hollow)
    with pytest.raises(WrongPage, match="without content"):
        protobuf_memory(b"\x22\x00" * 5_000_000, 0)
    labels = b"a{" + b'b="",' * 10_000 + b"} 1\n"
    assert text_memory(labels, 0) > 40 * len(labels)
    page = b'a{b="c",d="e"} 1\n' * 1000
    assert text_memory(page, 1000) < text_memory(page, 0) < 100 * len(page)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_page_of_protobuf_or_said_to_be_none(body: bytes) -> None:
    scraped = Scraped()
    try:
        page = read_protobuf(body, scraped.state.known, native=True, classic=True)
        scraped._page(page)
    except WrongPage:
        pass
