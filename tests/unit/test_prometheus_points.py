"""Points of OTLP as lines of text, read back by the official parsers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.model.prometheus.escaping import Escaping
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.points import PointLines, is_stale
from ares_otel.model.prometheus.text import Lines
from ares_otel.model.prometheus.values import bound_text, canonical_bound_text, seconds_text, value_text
from tests.support.otlp_samples import exponential_point, histogram_point, pairs, summary_point

TEXT = Format()
OPENMETRICS = Format(True, "1.0.0", Escaping.ALLOW_UTF8)
FORMATS = [TEXT, OPENMETRICS]

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map("x{}".format)
"""The official parser refuses labels that begin with two underscores, which Prometheus keeps for itself."""


def text_of(
    point: Any, kind: Kind, format_: Format = TEXT, name: str = "m", labels: dict[str, str] | None = None
) -> str:
    lines = Lines(format_)
    points = PointLines(lines, TranslationConfig(), timestamps=False)
    family = lines.family_name(name, kind)
    made = points.of(family, name, kind, lines.labels(labels or {}), point)
    return lines.head(name, kind, "", "Help") + made + lines.end


def family_of(point: Any, kind: Kind, format_: Format = TEXT, name: str = "m", **labels: str) -> Metric:
    parse = parse_openmetrics if format_.openmetrics else parse_text
    [family] = parse(text_of(point, kind, format_, name, labels))
    return family


def values(family: Metric) -> dict[tuple[str, str | None], float]:
    return {(s.name, s.labels.get("le") or s.labels.get("quantile")): s.value for s in family.samples}


def test_a_histogram_has_cumulative_buckets_and_the_last_is_its_count() -> None:
    point = histogram_point(explicit_bounds=[0.05, 0.1, 1], bucket_counts=[2, 1, 2, 1], start_time_unix_nano=0)
    assert values(family_of(point, Kind.HISTOGRAM)) == {
        ("m_bucket", "0.05"): 2,
        ("m_bucket", "0.1"): 3,
        ("m_bucket", "1"): 5,
        ("m_bucket", "+Inf"): 6,
        ("m_sum", None): 0.9,
        ("m_count", None): 6,
    }
    assert ("m_bucket", "1.0") in values(family_of(point, Kind.HISTOGRAM, OPENMETRICS))


def test_a_sum_is_told_only_where_there_is_one() -> None:
    point = histogram_point()
    point.ClearField("sum")
    for format_ in FORMATS:
        found = values(family_of(point, Kind.HISTOGRAM, format_))
        assert ("m_sum", None) not in found
        assert found["m_bucket", "+Inf"] == 6
    below = histogram_point(explicit_bounds=[-1, 1], bucket_counts=[2, 3, 1])
    assert ("m_sum", None) in values(family_of(below, Kind.HISTOGRAM, TEXT))
    assert ("m_sum", None) not in values(family_of(below, Kind.HISTOGRAM, OPENMETRICS))


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [([], []), ([], [6]), ([1, 2], [6]), ([1], [1, 2, 3]), ([1, math.inf], [1, 5, 0]), ([2, 1, 1], [1, 1, 1, 3])],
)
def test_counts_that_do_not_fit_the_bounds_break_nothing(bounds: list[float], counts: list[int]) -> None:
    point = HistogramDataPoint(count=6, sum=3, explicit_bounds=bounds, bucket_counts=counts)
    for format_ in FORMATS:
        found = values(family_of(point, Kind.HISTOGRAM, format_))
        assert found["m_bucket", "+Inf"] == found["m_count", None] == 6


def test_an_exponential_histogram_in_text_is_its_count_and_sum() -> None:
    for format_ in FORMATS:
        point = exponential_point(start_time_unix_nano=0)
        assert values(family_of(point, Kind.HISTOGRAM, format_)) == {
            ("m_bucket", "+Inf"): 7,
            ("m_sum", None): 40.5,
            ("m_count", None): 7,
        }


def test_a_summary_has_quantiles_sum_and_count() -> None:
    assert values(family_of(summary_point(), Kind.SUMMARY)) == {
        ("m", "0.5"): 2,
        ("m", "0.99"): 7.5,
        ("m_sum", None): 25,
        ("m_count", None): 10,
    }


def test_exemplars_stand_on_counters_and_buckets_the_newest_each_and_nowhere_else() -> None:
    def exemplar(value: float, time: int) -> Exemplar:
        return Exemplar(time_unix_nano=time, as_double=value, trace_id=b"t" * 16, span_id=b"s" * 8)

    exemplars = [exemplar(0.1, 3_000_000_001), exemplar(0.07, 2_000_000_000), exemplar(9, 1_000_000_000)]
    point = histogram_point(explicit_bounds=[0.05, 0.1], bucket_counts=[1, 4, 1], exemplars=exemplars)
    family = family_of(point, Kind.HISTOGRAM, OPENMETRICS)
    found = {s.labels["le"]: (s.exemplar.value, s.exemplar.timestamp) for s in family.samples if s.exemplar}
    assert {bound: value for bound, (value, _) in found.items()} == {"0.1": 0.1, "+Inf": 9}
    assert float(found["0.1"][1] or 0) == pytest.approx(3.000000001)
    number = NumberDataPoint(as_int=4, exemplars=exemplars)
    [sample] = family_of(number, Kind.COUNTER, OPENMETRICS, name="m_total").samples
    assert sample.exemplar is not None
    assert sample.exemplar.labels == {"trace_id": b"t".hex() * 16, "span_id": b"s".hex() * 8}
    [sample] = family_of(number, Kind.GAUGE, OPENMETRICS).samples
    assert sample.exemplar is None
    assert "#" not in text_of(point, Kind.HISTOGRAM, TEXT).partition("# TYPE")[2][1:]


def test_an_exemplar_of_more_than_128_characters_keeps_its_ids_alone() -> None:
    def labels(length: int) -> dict[str, str]:
        exemplar = Exemplar(as_int=1, trace_id=b"t" * 16, span_id=b"s" * 8)
        exemplar.filtered_attributes.extend(pairs({"user.id": "x" * length}))
        point = NumberDataPoint(as_int=4, exemplars=[exemplar])
        [sample] = family_of(point, Kind.COUNTER, OPENMETRICS, name="m_total").samples
        assert sample.exemplar is not None
        return dict(sample.exemplar.labels)

    room = 128 - len("trace_id") - 32 - len("span_id") - 16 - len("user_id")
    assert set(labels(room)) == {"trace_id", "span_id", "user_id"}
    assert set(labels(room + 1)) == {"trace_id", "span_id"}


def test_start_times_are_told_in_openmetrics_for_what_counts() -> None:
    point = NumberDataPoint(as_int=4, start_time_unix_nano=1_700_000_000_123_456_789)
    assert "m_created 1700000000.123456789\n" in text_of(point, Kind.COUNTER, OPENMETRICS, name="m_total")
    assert "_created" not in text_of(point, Kind.GAUGE, OPENMETRICS)
    assert "_created" not in text_of(point, Kind.COUNTER, TEXT, name="m_total")
    for other, kind in ((histogram_point(), Kind.HISTOGRAM), (summary_point(start_time_unix_nano=5), Kind.SUMMARY)):
        assert "m_created" in text_of(other, kind, OPENMETRICS)


def test_a_counter_without_total_is_of_unknown_type_in_openmetrics() -> None:
    point = NumberDataPoint(as_int=4, start_time_unix_nano=1)
    assert family_of(point, Kind.COUNTER, OPENMETRICS, name="requests").type == "unknown"
    assert family_of(point, Kind.COUNTER, TEXT, name="requests").type == "counter"


@pytest.mark.parametrize(
    "point", [NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint, SummaryDataPoint]
)
def test_a_point_without_a_recorded_value_is_stale(point: Any) -> None:
    assert is_stale(point(flags=1))
    assert is_stale(point(flags=3))
    assert not is_stale(point(flags=2))


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        *((1.0, "1"), (0.005, "0.005"), (1e6, "1000000"), (1e-7, "0.0000001"), (1e21, "1" + "0" * 21)),
        *((math.inf, "+Inf"), (-2.5, "-2.5"), (0.1 + 0.2, "0.30000000000000004"), (100.0, "100")),
    ],
)
def test_bounds_are_the_shortest_decimals_without_an_exponent(bound: float, text: str) -> None:
    assert bound_text(bound) == text


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        *(
            (1.0, "1.0"),
            (0.0, "0.0"),
            (100000.0, "100000.0"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
        ),
        *((0.00001, "1e-05"), (-2.5, "-2.5"), (-25e20, "-2.5e+21"), (999999.5, "999999.5"), (math.inf, "+Inf")),
        *((5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308")),
    ],
)
def test_bounds_of_a_page_are_written_as_a_prometheus_3_has_them(bound: float, text: str) -> None:
    assert canonical_bound_text(bound) == text


@given(st.floats(allow_nan=False))
def test_numbers_survive_being_text(value: float) -> None:
    assert float(value_text(value)) == value
    assert float(bound_text(value)) == value
    assert "e" not in bound_text(value)
    assert float(canonical_bound_text(value)) == value


@pytest.mark.parametrize(("nanoseconds", "text"), [(0, "0"), (1, "0.000000001"), (10**9, "1"), (1_500_000_000, "1.5")])
def test_times_are_seconds_with_all_their_digits(nanoseconds: int, text: str) -> None:
    assert seconds_text(nanoseconds) == text


@given(
    st.dictionaries(NAMES, st.text(max_size=8), max_size=4),
    st.sampled_from([Escaping.UNDERSCORES, Escaping.VALUES, Escaping.DOTS]),
)
def test_whatever_a_label_holds_is_one_line_and_legal(labels: dict[str, str], scheme: Escaping) -> None:
    """Labels whose names become equal are one; the line is read back with the values as they were."""
    text = text_of(NumberDataPoint(as_int=1), Kind.GAUGE, Format(escaping=scheme), labels=labels)
    assert text.count("\n") == 3
    [family] = parse_text(text)
    [sample] = family.samples
    if scheme is Escaping.VALUES and not any(name.startswith("U__") for name in labels):
        assert sorted(sample.labels.values()) == sorted(labels.values())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_description_is_one_line(description: str) -> None:
    for format_ in FORMATS:
        assert Lines(format_).head("m", Kind.GAUGE, "", description).count("\n") == 1 + bool(description)
