"""What a remote write request becomes in OTLP."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from ares_otel.model.errors import Rejected
from ares_otel.model.prometheus.metadata import MetricMetadata
from ares_otel.model.prometheus.native_histogram import STALE_NAN
from ares_otel.model.prometheus.proto import remote_v1_pb2 as v1
from ares_otel.model.prometheus.proto import write_v2_pb2 as v2
from ares_otel.model.prometheus.verbatim import SCOPE_NAME
from ares_otel.receivers.prometheusremotewrite.decode import decode_v1, decode_v2
from ares_otel.receivers.prometheusremotewrite.series import MAX_LABELS, SeriesBook
from ares_otel.receivers.prometheusremotewrite.written import Decoded, Written
from tests.support.remote_write import NOW_MS, Told, native, request_v1, request_v2, series
from tests.support.remote_write_decoded import (
    NOW_NS,
    Decode,
    both,
    first,
    labels_of,
    metrics,
    only_metric,
    otlp,
    second,
    type_of,
)
from tests.support.rows_encoding import encoded


def bits(point: NumberDataPoint) -> bytes:
    """The value, bit by bit; a stale one's too."""
    return struct.pack(">d", STALE_NAN if point.flags else point.as_double)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = TEXTS.filter(lambda text: text != "__name__")
FLOATS = st.one_of(st.floats(width=64), st.just(STALE_NAN))
SERIES = st.builds(
    lambda name, labels, samples: Told({**labels, "__name__": name}, samples),
    TEXTS,
    st.dictionaries(st.one_of(NAMES, st.sampled_from(["job", "instance", "le"])), TEXTS, max_size=4),
    st.lists(st.tuples(st.integers(1, NOW_MS + 600_000), FLOATS), min_size=1, max_size=4),
)


@both
@given(told=st.lists(SERIES, max_size=5, unique_by=lambda one: frozenset(one.pairs)))
def test_every_sample_comes_out_under_its_labels_bit_by_bit(decode: Decode, told: list[Told]) -> None:
    decoded = decode(told)
    assert not decoded.reason
    assert decoded.written == Written(sum(len(one.samples) for one in told))
    found: dict[frozenset[tuple[str, str]], list[tuple[int, bytes]]] = {}
    for _, metric in metrics(decoded):
        for point in (*metric.gauge.data_points, *metric.sum.data_points):
            key = frozenset({**labels_of(point), "__name__": metric.name}.items())
            found.setdefault(key, []).append((point.time_unix_nano, bits(point)))
    assert found == {
        frozenset(one.pairs): [(time * 10**6, struct.pack(">d", value)) for time, value in one.samples] for one in told
    }


@both
@given(told=st.lists(SERIES, max_size=5))
def test_the_bytes_are_those_of_the_official_library(decode: Decode, told: list[Told]) -> None:
    decoded = decode(told)
    assert otlp(decoded).SerializeToString() == decoded.payload


@both
def test_both_row_encoders_take_the_request_and_reject_nothing(decode: Decode, encoder: str) -> None:
    exemplars = [({"trace_id": "0af7651916cd43dd8448eb211c80319c", "user": "u"}, 1.0, NOW_MS)]
    told = [
        Told({"__name__": "a_total", "job": "shop/orders"}, [(NOW_MS, 1.0), (NOW_MS, STALE_NAN)], exemplars=exemplars),
        Told({"__name__": "h", "job": "shop/orders"}, histograms=[native(zero_count_int=3, zero_threshold=0.1)]),
    ]
    made = encoded(otlp(decode(told)))
    assert (made.items, made.fallback) == (3, "")
    assert not made.reasons


@both
def test_job_and_instance_are_labels_and_the_resource(decode: Decode) -> None:
    told = Told({"__name__": "up", "job": "shop/orders", "instance": "pod:80"}, [(NOW_MS, 1.0)])
    [(resource, metric)] = metrics(decode([told]))
    assert resource == {"service.namespace": "shop", "service.name": "orders", "service.instance.id": "pod:80"}
    assert labels_of(metric.gauge.data_points[0]) == {"job": "shop/orders", "instance": "pod:80"}
    assert otlp(decode([told])).resource_metrics[0].scope_metrics[0].scope.name == SCOPE_NAME


@both
def test_samples_of_a_series_and_series_of_a_name_are_one_metric(decode: Decode) -> None:
    told = [
        series("a", (NOW_MS, 1.0), (NOW_MS + 1, 2.0)),
        series("b", (NOW_MS, 5.0)),
        series("a", (NOW_MS, 3.0), x="y"),
    ]
    found = [(metric.name, len(metric.gauge.data_points)) for _, metric in metrics(decode(told))]
    assert found == [("a", 3), ("b", 1)]


@pytest.mark.parametrize(
    ("name", "labels", "type_name", "counter"),
    [
        ("requests_total", {}, "counter", True),
        ("wait_bucket", {"le": "1"}, "histogram", True),
        ("wait_bucket", {}, "unknown", False),
        ("wait_count", {}, "unknown", False),
        ("temperature", {}, "unknown", False),
    ],
)
@both
def test_a_name_tells_the_type_where_nobody_says_one(
    decode: Decode, name: str, labels: dict[str, str], type_name: str, counter: bool
) -> None:
    metric = only_metric(decode([series(name, (NOW_MS, 1.0), **labels)]))
    assert (type_of(metric), metric.HasField("sum")) == (type_name, counter)
    if counter:
        assert (metric.sum.is_monotonic, metric.sum.aggregation_temporality) == (True, 2)


@pytest.mark.parametrize(
    ("name", "type_", "type_name", "counter"),
    [
        ("requests", v2.Metadata.METRIC_TYPE_COUNTER, "counter", True),
        ("things_total", v2.Metadata.METRIC_TYPE_GAUGE, "gauge", False),
        ("wait_count", v2.Metadata.METRIC_TYPE_HISTOGRAM, "histogram", True),
        ("wait_sum", v2.Metadata.METRIC_TYPE_SUMMARY, "summary", True),
        ("wait", v2.Metadata.METRIC_TYPE_SUMMARY, "summary", False),
        ("queue_bucket", v2.Metadata.METRIC_TYPE_GAUGEHISTOGRAM, "gaugehistogram", False),
        ("build_info", v2.Metadata.METRIC_TYPE_INFO, "info", False),
        ("state", v2.Metadata.METRIC_TYPE_STATESET, "stateset", False),
    ],
)
def test_metadata_of_a_series_tells_its_type(name: str, type_: int, type_name: str, counter: bool) -> None:
    told = series(name, (NOW_MS, 1.0), le="1")
    told.type = type_
    metric = only_metric(second([told]))
    assert (type_of(metric), metric.HasField("sum")) == (type_name, counter)


def test_help_and_unit_are_told_apart_and_make_no_other_series() -> None:
    told = [series("a_bucket", (NOW_MS, 1.0), le="1"), series("b_total", (NOW_MS, 1.0))]
    plain = second(told)
    told[0].type = told[1].type = 0
    told[0].help, told[0].unit, told[1].help = "How long.", "seconds", "How many."
    decoded = second(told)
    assert decoded.payload == plain.payload
    assert decoded.metadata == [
        MetricMetadata("a_bucket", "unknown", "seconds", "How long."),
        MetricMetadata("b_total", "unknown", "", "How many."),
    ]


def test_metadata_of_the_parts_of_a_histogram_is_that_of_the_histogram() -> None:
    told = [series(f"wait_{part}", (NOW_MS, 1.0), le="1") for part in ("bucket", "sum", "count")]
    for one in told:
        one.type, one.help = v2.Metadata.METRIC_TYPE_HISTOGRAM, "How long."
    assert set(second(told).metadata) == {MetricMetadata("wait", "histogram", "", "How long.")}


def test_metadata_of_1_0_comes_without_series() -> None:
    told = v1.MetricMetadata(type=v1.MetricMetadata.COUNTER, metric_family_name="a_total", help="Things.", unit="s")
    decoded = decode_v1(request_v1([], [told]).SerializeToString(), NOW_NS, SeriesBook(2**20))
    assert decoded.metadata == [MetricMetadata("a_total", "counter", "s", "Things.")]
    assert (decoded.payload, decoded.written, decoded.reason) == (b"", Written(), "")


@both
def test_what_was_remembered_gives_the_same_bytes(decode: Callable[..., Decoded]) -> None:
    told = [series("a_total", (NOW_MS, 1.0)), series("b", (NOW_MS, 2.0)), series("a_total", (NOW_MS, 3.0), x="y")]
    book = SeriesBook(2**20)
    fresh = decode(told)
    assert [decode(told, book).payload for _ in range(3)] == [fresh.payload] * 3


def test_the_book_forgets_what_was_not_asked_for() -> None:
    book = SeriesBook(8_000)
    first([series("kept", (NOW_MS, 1.0))], book)
    for number in range(100):
        first([series(f"n{number}", (NOW_MS, 1.0)), series("kept", (NOW_MS, 1.0))], book)
    kept = len(book._young) + len(book._old)
    assert 2 <= kept < 30


def test_labels_that_look_alike_when_they_are_put_together_are_not_mixed_up() -> None:
    """One label whose fields stand twice, of which the last ones count, and two labels with the same bytes."""
    name = v1.Label(name="__name__", value="n").SerializeToString()
    one, other = (v1.Label(name=text, value=text).SerializeToString() for text in "ab")
    book = SeriesBook(2**20)

    def body(*labels: bytes) -> bytes:
        fields = b"".join(b"\x0a%c%b" % (len(label), label) for label in labels)
        sample = b"\x12%c%b" % (len(SAMPLE), SAMPLE)
        return b"\x0a%c%b" % (len(fields + sample), fields + sample)

    found = [
        labels_of(only_metric(decode_v1(body(*labels), NOW_NS, book)).gauge.data_points[0])
        for labels in (
            (name, one + other),
            (name, one, other),
        )
    ]
    assert found == [{"b": "b"}, {"a": "a", "b": "b"}]


SAMPLE = v1.Sample(value=1.0, timestamp=NOW_MS).SerializeToString()
MANY = {f"l{number}": "x" for number in range(MAX_LABELS)}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([("a", "b")], "a series has no label __name__"),
        ([("__name__", "n"), ("a", "")], "the label 'a' has no value"),
        ([("__name__", ""), ("a", "b")], "the label '__name__' has no value"),
        ([("__name__", "n"), ("", "b")], "a label has no name"),
        ([("__name__", "n"), ("a", "b"), ("a", "c")], "the label 'a' stands twice"),
        ([("__name__", "n"), ("a" * 1025, "b")], "the name of a label takes more than 1024 bytes"),
        ([("__name__", "n"), *MANY.items()], f"a series has more than {MAX_LABELS} labels"),
        ([("__name__", "n"), ("a", "b" * 65536)], "the labels of a series take more than 64 KiB"),
    ],
)
@both
def test_a_wrong_series_is_left_out_and_the_others_are_not(
    decode: Decode, labels: list[tuple[str, str]], reason: str
) -> None:
    samples = [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]
    wrong = Told(labels, samples, exemplars=[({"a": "b"}, 1.0, NOW_MS)])
    decoded = decode([series("before", (NOW_MS, 1.0)), wrong, series("after", (NOW_MS, 1.0))])
    assert reason in decoded.reason
    assert (decoded.rejected, decoded.left_exemplars, decoded.written) == (2, 1, Written(2))
    assert [metric.name for _, metric in metrics(decoded)] == ["before", "after"]


@both
def test_labels_in_any_order_are_the_same_series(decode: Decode) -> None:
    pairs = [("__name__", "n"), ("b", "1"), ("a", "2"), ("job", "j")]
    assert decode([Told(pairs, [(NOW_MS, 1.0)])]).payload == decode([Told(pairs[::-1], [(NOW_MS, 1.0)])]).payload


@both
def test_a_label_that_is_not_utf_8_is_left_out(decode: Decode) -> None:
    told = [Told({"__name__": "n", "a": "QQQQ"}, [(NOW_MS, 1.0)]), series("b", (NOW_MS, 1.0))]
    if decode is first:
        decoded = decode_v1(request_v1(told).SerializeToString().replace(b"QQQQ", b"\xff" * 4), NOW_NS, SeriesBook(99))
    else:
        decoded = decode_v2(request_v2(told).SerializeToString().replace(b"QQQQ", b"\xff" * 4), NOW_NS, SeriesBook(99))
    assert "a label is not UTF-8" in decoded.reason
    assert (decoded.rejected, decoded.written) == (1, Written(1))


@both
def test_samples_that_are_far_ahead_are_left_out_and_old_ones_are_not(decode: Decode) -> None:
    times = [0, 1, NOW_MS + 600_000, NOW_MS + 600_001, 2**63 - 1, -1, -(2**63)]
    decoded = decode([series("a", *((time, 1.0) for time in times))])
    assert [point.time_unix_nano // 10**6 for point in only_metric(decoded).gauge.data_points] == times[:3]
    assert (decoded.rejected, decoded.written.samples) == (4, 3)
    assert "more than ten minutes ahead" in decoded.reason
    assert "before 1970" in decoded.reason


def test_a_time_series_of_2_0_has_samples_or_histograms() -> None:
    neither = Told({"__name__": "a"})
    mixed = Told({"__name__": "b"}, [(NOW_MS, 1.0)], [native()])
    decoded = second([neither, mixed, series("c", (NOW_MS, 1.0))])
    assert (decoded.written, decoded.rejected) == (Written(1), 2)
    assert "a has neither samples nor histograms" in decoded.reason
    assert "b has samples and histograms" in decoded.reason


@pytest.mark.parametrize("refs", [[1], [1, 99], [2**32 - 1, 1]])
def test_references_that_lead_nowhere_are_left_out(refs: list[int]) -> None:
    request = request_v2([series("a", (NOW_MS, 1.0))])
    request.timeseries.add(labels_refs=refs).samples.add(value=1.0, timestamp=NOW_MS)
    decoded = decode_v2(request.SerializeToString(), NOW_NS, SeriesBook(2**20))
    assert (decoded.written, decoded.rejected) == (Written(1), 1)
    assert decoded.reason


def test_the_first_symbol_is_empty_and_the_empty_request_is_nothing() -> None:
    assert decode_v2(b"", NOW_NS, SeriesBook(99)).written == Written()
    assert decode_v1(b"", NOW_NS, SeriesBook(99)).written == Written()
    request = request_v2([series("a", (NOW_MS, 1.0))])
    request.symbols[0] = "x"
    with pytest.raises(Rejected, match=r"symbols\[0\]"):
        decode_v2(request.SerializeToString(), NOW_NS, SeriesBook(99))


def test_a_request_of_1_0_that_is_called_2_0_is_refused() -> None:
    with pytest.raises(Rejected, match=r"A request of 1\.0 must say so"):
        decode_v2(request_v1([series("a", (NOW_MS, 1.0))]).SerializeToString(), NOW_NS, SeriesBook(99))


def test_a_request_of_2_0_that_is_called_1_0_is_refused() -> None:
    with pytest.raises(Rejected, match=r"proto=io\.prometheus\.write\.v2\.Request"):
        decode_v1(request_v2([series("a", (NOW_MS, 1.0))]).SerializeToString(), NOW_NS, SeriesBook(99))


@both
@given(body=st.binary(max_size=200), cut=st.integers(0, 400))
def test_damaged_bodies_are_refused_or_taken_and_nothing_else(decode: Decode, body: bytes, cut: int) -> None:
    message = (request_v1 if decode is first else request_v2)([series("a", (NOW_MS, 1.0), x="y")]).SerializeToString()
    for damaged in (body, message[:cut] + body + message[cut:]):
        try:
            decoded = (decode_v1 if decode is first else decode_v2)(damaged, NOW_NS, SeriesBook(99))
        except Rejected:
            continue
        otlp(decoded)
