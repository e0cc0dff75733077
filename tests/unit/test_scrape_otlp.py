"""What becomes of the samples of a page in OTLP, and how series begin, go on and end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from ares_otel.model.prometheus.verbatim import METADATA_TYPE, SCOPE_NAME
from ares_otel.receivers.prometheus.page import WrongPage
from ares_otel.receivers.prometheus.relabel import RelabelConfig
from ares_otel.receivers.prometheus.requests import REQUEST_POINTS
from ares_otel.receivers.prometheus.text_page import read_text
from tests.support.parts import plain
from tests.support.scraped_pages import SECOND, Scraped, kind, points

HISTOGRAM = """\
# HELP wait Wait.
# TYPE wait histogram
wait_bucket{le="0.1"} 1
wait_bucket{le="1"} 3
wait_bucket{le="+Inf"} 4
wait_sum 2.5
wait_count 4
"""


def test_a_series_keeps_name_and_labels_and_says_so() -> None:
    scraped = Scraped()
    [metric] = scraped.text('# TYPE orders_total counter\norders_total{kind="a"} 5\n').values()
    [request] = scraped.requests
    [resource] = request.resource_metrics
    assert plain(resource.resource.attributes) == {
        "service.namespace": "shop",
        "service.name": "app",
        "service.instance.id": "host:80",
    }
    assert resource.scope_metrics[0].scope.name == SCOPE_NAME
    [point] = points(metric)
    assert plain(point.attributes) == {"kind": "a", "job": "shop/app", "instance": "host:80"}
    assert plain(metric.metadata) == {METADATA_TYPE: "counter"}
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert (point.as_double, point.time_unix_nano) == (5.0, SECOND)


@pytest.mark.parametrize(
    ("text", "name", "type_", "shape"),
    [
        ("# TYPE a gauge\na 1\n", "a", "gauge", "gauge"),
        ("# TYPE a untyped\na 1\n", "a", "unknown", "gauge"),
        ("a 1\n", "a", "unknown", "gauge"),
        ("# TYPE a_total counter\na_total 1\n", "a_total", "counter", "sum"),
        ("# TYPE a counter\na 1\n", "a", "counter", "sum"),
    ],
)
def test_a_type_of_the_text_format_has_its_place(text: str, name: str, type_: str, shape: str) -> None:
    metric = Scraped().text(text)[name]
    assert (plain(metric.metadata)[METADATA_TYPE], kind(metric)) == (type_, shape)


@pytest.mark.parametrize(
    ("text", "name", "type_", "shape"),
    [
        ("# TYPE a counter\na_total 1\n# EOF\n", "a_total", "counter", "sum"),
        ('# TYPE a info\na_info{v="1"} 1\n# EOF\n', "a_info", "info", "gauge"),
        ('# TYPE a stateset\na{a="x"} 1\n# EOF\n', "a", "stateset", "gauge"),
        (
            '# TYPE a gaugehistogram\na_bucket{le="+Inf"} 1\na_gsum 1\na_gcount 1\n# EOF\n',
            "a_gcount",
            "gaugehistogram",
            "gauge",
        ),
    ],
)
def test_a_type_of_openmetrics_has_its_place(text: str, name: str, type_: str, shape: str) -> None:
    metric = Scraped().text(text, openmetrics=True)[name]
    assert (plain(metric.metadata)[METADATA_TYPE], kind(metric)) == (type_, shape)


def test_a_classic_histogram_is_one_point() -> None:
    [metric] = Scraped().text(HISTOGRAM).values()
    [point] = metric.histogram.data_points
    assert (metric.name, metric.description) == ("wait", "Wait.")
    assert list(point.explicit_bounds) == [0.1, 1.0]
    assert list(point.bucket_counts) == [1, 2, 1]
    assert (point.count, point.sum) == (4, 2.5)
    assert "le" not in plain(point.attributes)


def test_a_histogram_without_a_sum_is_one_point_without_it() -> None:
    [metric] = Scraped().text(HISTOGRAM.replace("wait_sum 2.5\n", "")).values()
    assert not metric.histogram.data_points[0].HasField("sum")


def test_a_summary_is_one_point() -> None:
    [metric] = (
        Scraped().text('# TYPE s summary\ns{quantile="0.5"} 3\ns{quantile="0.9"} NaN\ns_sum 9\ns_count 3\n').values()
    )
    [point] = metric.summary.data_points
    assert [one.quantile for one in point.quantile_values] == [0.5, 0.9]
    assert (point.count, point.sum, point.quantile_values[0].value) == (3, 9.0, 3.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('wait_bucket{le="1"} 3', 'wait_bucket{le="1"} 0'),  # falls
        ('wait_bucket{le="1"} 3', 'wait_bucket{le="1"} 2.5'),
        ('wait_bucket{le="1"} 3', 'wait_bucket{le="one"} 3'),
        ('wait_bucket{le="1"} 3', 'wait_bucket{le="0.10"} 3'),  # a bound twice
        ("wait_count 4", "wait_count 5"),
        ("wait_count 4\n", ""),
        ('wait_bucket{le="+Inf"} 4\n', ""),
        ("wait_count 4", "wait_count NaN"),
    ],
)
def test_a_histogram_that_is_not_otlp_s_is_stored_line_by_line(old: str, new: str) -> None:
    text = HISTOGRAM.replace(old, new)
    made = Scraped().text(text)
    assert all(kind(one) == "sum" for one in made.values())
    assert sum(len(points(one)) for one in made.values()) == len(read_text(text.encode(), {}).samples)


def test_a_histogram_that_was_stored_by_line_once_stays_so_and_does_not_end() -> None:
    scraped = Scraped()
    assert kind(scraped.text(HISTOGRAM)["wait"]) == "histogram"
    for text in (HISTOGRAM.replace("wait_count 4", "wait_count 5"), HISTOGRAM):
        made = scraped.text(text)
        assert set(made) == {"wait_bucket", "wait_sum", "wait_count"}
        assert not any(point.flags for one in made.values() for point in points(one))


def test_a_rule_that_takes_a_line_away_leaves_the_others() -> None:
    rules = (RelabelConfig(source_labels=("__name__",), regex="wait_sum|wait_count", action="drop"),)
    scraped = Scraped(rules=rules)
    assert set(scraped.text(HISTOGRAM)) == {"wait_bucket"}
    assert (scraped.assembled.scraped, scraped.assembled.kept) == (5, 3)


def test_a_series_that_a_rule_renames_is_stored_under_its_new_name() -> None:
    rules = (
        RelabelConfig(source_labels=("__name__",), regex="wait_(.*)", target_label="__name__", replacement="w_$1"),
    )
    assert set(Scraped(rules=rules).text(HISTOGRAM)) == {"w_bucket", "w_sum", "w_count"}


def test_a_counter_begins_when_it_is_first_seen_and_anew_when_it_falls() -> None:
    scraped = Scraped()
    starts = []
    for value in (5, 7, 3, 4):
        [point] = points(scraped.text(f"# TYPE c counter\nc {value}\n")["c"])
        starts.append(point.start_time_unix_nano // SECOND)
    assert starts == [1, 1, 3, 3]


def test_a_counter_begins_when_the_page_says_so() -> None:
    text = "# TYPE c counter\nc_total 5\nc_created 0.25\n# EOF\n"
    [point] = points(Scraped().text(text, openmetrics=True)["c_total"])
    assert point.start_time_unix_nano == 250_000_000


def test_a_histogram_begins_anew_when_its_count_falls() -> None:
    scraped = Scraped()
    scraped.text(HISTOGRAM)
    fallen = '# TYPE wait histogram\nwait_bucket{le="1"} 0\nwait_bucket{le="+Inf"} 1\nwait_sum 1\nwait_count 1\n'
    [point] = points(scraped.text(fallen)["wait"])
    assert point.start_time_unix_nano == 2 * SECOND


def test_a_series_that_vanishes_is_told_to_have_ended_once() -> None:
    scraped = Scraped()
    scraped.text(HISTOGRAM + "a 1\nb 2\n")
    made = scraped.text("a 1\n")
    assert {name for name, one in made.items() if points(one)[0].flags == 1} == {"wait", "b"}
    assert points(made["wait"])[0].time_unix_nano == 2 * SECOND
    assert plain(points(made["b"])[0].attributes) == {"job": "shop/app", "instance": "host:80"}
    assert set(scraped.text("a 1\n")) == {"a"}
    back = scraped.text("a 1\nb 3\n")
    assert points(back["b"])[0].as_double == 3
    assert scraped.assembled.added == 1


def test_an_end_that_could_not_be_stored_is_told_again() -> None:
    scraped = Scraped()
    scraped.text("a 1\nb 2\n")
    stored, scraped.state.stored = scraped.state.stored, lambda ended: None  # type: ignore[method-assign]
    scraped.text("a 1\n")
    scraped.state.stored = stored  # type: ignore[method-assign]
    assert points(scraped.text("a 1\n")["b"])[0].flags == 1


def test_what_is_never_stored_is_not_remembered_for_ever() -> None:
    scraped = Scraped()
    scraped.state.stored = lambda ended: scraped.state.lost()  # type: ignore[method-assign]
    for number in range(50):
        scraped.text(f'a{{i="{number}"}} 1\n')
    assert len(scraped.state) <= 2


def test_a_series_with_times_of_its_own_does_not_end_by_vanishing() -> None:
    scraped = Scraped()
    scraped.text("a 1 500\nb 1\n")
    assert set(scraped.text("\n")) == {"b"}
    scraped.options["track_timestamps"] = True
    scraped.text("a 1 500\n")
    assert set(scraped.text("\n")) == {"a"}


def test_times_of_the_page_count_unless_they_are_not_honoured() -> None:
    scraped = Scraped()
    assert points(scraped.text("a 1 500\n")["a"])[0].time_unix_nano == 500_000_000
    scraped.options["honor_timestamps"] = False
    assert points(scraped.text("a 1 500\n")["a"])[0].time_unix_nano == 2 * SECOND


def test_of_two_samples_of_one_series_the_first_counts() -> None:
    scraped = Scraped()
    [point] = points(scraped.text('a{b="c",d="e"} 1\na{d="e",b="c"} 2\n')["a"])
    assert point.as_double == 1
    assert scraped.assembled.duplicates == 1


def test_labels_of_the_target_win_unless_those_of_the_page_are_honoured() -> None:
    text = 'a{job="inner",exported_job="x",instance=""} 1\n'
    [point] = points(Scraped().text(text)["a"])
    assert plain(point.attributes) == {
        "job": "shop/app",
        "exported_exported_job": "inner",
        "exported_job": "x",
        "instance": "host:80",
    }
    [point] = points(Scraped(honor_labels=True).text(text)["a"])
    assert plain(point.attributes) == {"job": "inner", "exported_job": "x"}


def test_external_labels_are_for_series_that_have_none_of_the_name() -> None:
    scraped = Scraped(external=(("dc", "eu"), ("region", "x")))
    [point] = points(scraped.text('a{region="y"} 1\n')["a"])
    assert plain(point.attributes) == {"job": "shop/app", "instance": "host:80", "dc": "eu", "region": "y"}


@pytest.mark.parametrize(
    ("limit", "message"),
    [({"label_limit": 3}, "label_limit"), ({"name_limit": 7}, "name_length"), ({"value_limit": 8}, "value_length")],
)
def test_too_many_or_too_long_labels_fail_the_page(limit: dict[str, int], message: str) -> None:
    with pytest.raises(WrongPage, match=message):
        Scraped(**limit).text('a{b="c",longname="longvalue"} 1\n')


def test_more_samples_than_allowed_fail_the_page_and_end_nothing_by_themselves() -> None:
    scraped = Scraped()
    scraped.options["sample_limit"] = 2
    scraped.text("a 1\nb 1\n")
    with pytest.raises(WrongPage, match="sample_limit"):
        scraped.text("a 1\nb 1\nc 1\n")


def test_the_first_description_stays() -> None:
    scraped = Scraped()
    scraped.text("# HELP a First.\n# TYPE a gauge\na 1\n")
    assert scraped.text('# HELP a Second.\n# TYPE a gauge\na 1\na{b="c"} 1\n')["a"].description == "First."


def test_examples_are_stored_once_with_their_ids() -> None:
    text = (
        "# TYPE c counter\n"
        'c_total 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736",span_id="00f067aa0ba902b7",user="a"} 0.5 0.25\n'
        "# EOF\n"
    )
    scraped = Scraped()
    [example] = points(scraped.text(text, openmetrics=True)["c_total"])[0].exemplars
    assert example.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert example.span_id.hex() == "00f067aa0ba902b7"
    assert plain(example.filtered_attributes) == {"user": "a"}
    assert (example.as_double, example.time_unix_nano) == (0.5, 250_000_000)
    assert not points(scraped.text(text, openmetrics=True)["c_total"])[0].exemplars


def test_a_large_page_becomes_several_requests() -> None:
    scraped = Scraped()
    scraped.text("".join(f'a{{i="{number}"}} 1\n' for number in range(REQUEST_POINTS + 5)))
    assert [points for _, points in scraped.assembled.requests.made] == [REQUEST_POINTS, 5]


NAMES = ["h_bucket", "h_sum", "h_count", "h", "s", "s_sum", "s_count", "c_total", "g"]
TYPES = "# TYPE h histogram\n# TYPE s summary\n# TYPE c_total counter\n# TYPE g gauge\n"
LINES = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["", '{le="1"}', '{le="+Inf"}', '{quantile="0.5"}', '{quantile="2"}', '{a="b"}', '{a="b",le="1"}']),
    st.sampled_from(["0", "1", "2", "3.5", "-1", "NaN", "+Inf", "1e300"]),
)


@given(st.lists(st.lists(LINES, max_size=10), max_size=5))
def test_no_series_goes_missing_and_each_end_is_told_once(rounds: list[list[tuple[str, str, str]]]) -> None:
    """Whatever the pages say: a line is in a point, a duplicate, or the page's series ends; and points have one
    time each."""
    scraped = Scraped()
    alive: set[tuple[Any, ...]] = set()
    for rows in rounds:
        scraped.text(TYPES + "".join(f"{name}{labels} {value}\n" for name, labels, value in rows))
        seen: set[tuple[Any, ...]] = set()
        ended: set[tuple[Any, ...]] = set()
        for request in scraped.requests:
            for resource in request.resource_metrics:
                for metric in resource.scope_metrics[0].metrics:
                    for point in points(metric):
                        key = metric.name, kind(metric), tuple(sorted(plain(point.attributes).items()))
                        assert key not in seen | ended
                        (ended if point.flags else seen).add(key)
        assert ended <= alive
        assert bool(seen) == bool(rows)
        alive = (alive - ended) | seen
    scraped.text("\n")
    assert not list(scraped.state.gone())
