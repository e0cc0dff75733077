"""The `spanmetrics` connector: what it counts, and under which names."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from ares_otel.connectors import series
from ares_otel.connectors.spanmetrics.config import SpanMetricsConfig
from ares_otel.model.batch import DERIVED
from tests.support.parts import make_batch, plain, traces
from tests.support.spanmetrics import CALLS, DURATION, SECOND, Place, span

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
BASE = {
    "service.name": "shop",
    "span.name": "GET /",
    "span.kind": "SPAN_KIND_SERVER",
    "status.code": "STATUS_CODE_UNSET",
    "collector.instance.id": "ares-1/2",
}


async def test_calls_and_durations_have_the_collectors_names_and_dimensions() -> None:
    place = Place()
    begun = place.clock.now_ns
    await place.see({"milliseconds": 5}, {"milliseconds": 7}, {"status": {"code": 2}}, seconds=3)
    found = await place.flush()
    assert list(found) == [CALLS, DURATION]
    assert [(labels, point.as_int) for labels, point in found[CALLS]] == [
        (BASE, 2),
        (BASE | {"status.code": "STATUS_CODE_ERROR"}, 1),
    ]
    (labels, ok), _ = found[DURATION]
    assert labels == BASE
    assert (ok.count, ok.sum, ok.min, ok.max) == (2, 12, 5, 7)
    assert list(ok.explicit_bounds) == [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10000, 15000]
    assert list(ok.bucket_counts)[:5] == [0, 0, 1, 1, 0]
    assert (ok.start_time_unix_nano, ok.time_unix_nano) == (begun, begun + 3 * SECOND)
    (batch,) = place.pipe.batches
    (group,) = batch.message().resource_metrics
    assert plain(group.resource.attributes) == {"service.name": "shop"}
    calls, duration = group.scope_metrics[0].metrics
    assert group.scope_metrics[0].scope.name == "spanmetricsconnector"
    assert calls.sum.is_monotonic
    assert calls.sum.aggregation_temporality == duration.histogram.aggregation_temporality == CUMULATIVE
    assert (calls.unit, duration.unit) == ("", "ms")
    assert (batch.receiver, batch.transport) == ("spanmetrics", DERIVED)


async def test_cumulative_series_go_on_and_are_handed_on_also_without_new_spans() -> None:
    place = Place()
    for expected in (1, 2):
        await place.see({}, seconds=1)
        assert [point.as_int for _, point in (await place.flush())[CALLS]] == [expected]
    first = place.pipe.batches[0].key
    place.clock.now_ns += SECOND
    assert [point.as_int for _, point in (await place.flush())[CALLS]] == [2]
    assert place.pipe.batches[0].key != first


async def test_deltas_begin_where_the_last_ended_and_are_handed_on_once() -> None:
    place = Place(aggregation_temporality="AGGREGATION_TEMPORALITY_DELTA")
    begun = place.clock.now_ns
    await place.see({}, seconds=1)
    ((_, one),) = (await place.flush())[CALLS]
    assert await place.flush() == {}
    await place.see({}, {}, seconds=2)
    ((_, two),) = (await place.flush())[CALLS]
    assert (one.as_int, two.as_int) == (1, 2)
    assert (one.start_time_unix_nano, one.time_unix_nano, two.start_time_unix_nano) == (
        begun,
        begun + SECOND,
        begun + SECOND,
    )
    metric = place.pipe.batches[0].message().resource_metrics[0].scope_metrics[0].metrics[0]
    assert metric.sum.aggregation_temporality == DELTA


@pytest.mark.parametrize(("unit", "duration", "bound"), [("ms", 1500.0, 2.0), ("s", 1.5, 0.002)])
async def test_the_unit_is_that_of_durations_and_bounds(unit: str, duration: float, bound: float) -> None:
    place = Place(histogram={"unit": unit})
    await place.see({"milliseconds": 1500})
    ((_, point),) = (await place.flush())[DURATION]
    assert (point.sum, point.explicit_bounds[0]) == (duration, bound)


async def test_histograms_are_explicit_exponential_or_none() -> None:
    place = Place(histogram={"explicit": {"buckets": ["100us", "1ms", "1m40s"]}})
    await place.see({"milliseconds": 1}, {"milliseconds": 1.1})
    ((_, point),) = (await place.flush())[DURATION]
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([0.1, 1, 100_000], [0, 1, 1, 0])
    place = Place(histogram={"exponential": {"max_size": 4}})
    await place.see({"milliseconds": 0}, {"milliseconds": 1}, {"milliseconds": 9})
    ((_, exponential),) = (await place.flush())[DURATION]
    assert (exponential.count, exponential.zero_count, exponential.sum) == (3, 1, 10)
    assert sum(exponential.positive.bucket_counts) == 2
    assert len(exponential.positive.bucket_counts) <= 4
    place = Place(histogram={"disable": True})
    await place.see({})
    assert list(await place.flush()) == [CALLS]


@pytest.mark.parametrize(("namespace", "name"), [("", "calls"), ("span.metrics", "span.metrics.calls")])
async def test_the_namespace_begins_the_names(namespace: str, name: str) -> None:
    place = Place(namespace=namespace, histogram={"disable": True})
    await place.see({})
    assert list(await place.flush()) == [name]


async def test_more_dimensions_come_from_the_span_then_the_resource_then_the_default_and_keep_their_type() -> None:
    place = Place(
        dimensions=[{"name": "http.status"}, {"name": "region", "default": "nowhere"}, {"name": "missing"}],
        calls_dimensions=[{"name": "only.calls"}],
        histogram={"dimensions": [{"name": "only.duration"}]},
    )
    await place.see(
        {"attributes": {"http__status": 200, "only__calls": True}},
        {"attributes": {"http__status": "200", "region": "mars", "only__duration": 1.5}},
        resource={"service__name": "shop", "region": "earth"},
    )
    await place.see({})
    found = await place.flush()
    own = [{key: value for key, value in labels.items() if key not in BASE} for labels, _ in found[CALLS]]
    assert own == [
        {"http.status": 200, "region": "earth", "only.calls": True},
        {"http.status": "200", "region": "mars"},
        {"region": "nowhere"},
    ]
    own = [{key: value for key, value in labels.items() if key not in BASE} for labels, _ in found[DURATION]]
    assert own[1] == {"http.status": "200", "region": "mars", "only.duration": 1.5}


async def test_built_in_dimensions_can_be_left_out_and_scopes_be_named() -> None:
    place = Place(
        exclude_dimensions=["span.name", "collector.instance.id"], include_instrumentation_scope=["tests", "others"]
    )
    await place.see({"name": "a"}, {"name": "b"})
    ((labels, point),) = (await place.flush())[CALLS]
    assert labels == {key: BASE[key] for key in ("service.name", "span.kind", "status.code")} | {
        "span.instrumentation.scope.name": "tests",
    }
    assert point.as_int == 2


async def test_exemplars_are_the_latest_spans_since_the_last_data_point() -> None:
    place = Place(exemplars={"enabled": True, "max_per_data_point": 2})
    spans = [span(milliseconds) for milliseconds in (1, 2, 3)]
    await place.connector.observe(make_batch(traces(*spans)))
    found = await place.flush()
    for name in (CALLS, DURATION):
        ((_, point),) = found[name]
        assert [(one.trace_id, one.span_id, one.as_double) for one in point.exemplars] == [
            (one["trace_id"], one["span_id"], float(milliseconds))
            for one, milliseconds in zip(spans[1:], (2, 3), strict=True)
        ]
    assert not any(point.exemplars for _, point in (await place.flush())[DURATION])


async def test_events_are_counted_by_their_attributes() -> None:
    place = Place(events={"enabled": True, "dimensions": [{"name": "exception.type"}]})
    request = traces(span(), span())
    for one, kind in zip(request.resource_spans[0].scope_spans[0].spans, ("A", "B"), strict=True):
        for _ in range(2):
            one.events.add(name="exception").attributes.add(key="exception.type").value.string_value = kind
    await place.connector.observe(make_batch(request))
    found = await place.flush()
    assert [(labels["exception.type"], point.as_int) for labels, point in found["traces.span.metrics.events"]] == [
        ("A", 2),
        ("B", 2),
    ]
    assert [point.as_int for _, point in found[CALLS]] == [2]


async def test_an_events_dimension_comes_from_the_span_then_the_event_then_the_resource() -> None:
    place = Place(events={"enabled": True, "dimensions": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})
    request = traces(
        span(attributes={"a": "span"}), resource={"service__name": "shop", "b": "resource", "c": "resource"}
    )
    event = request.resource_spans[0].scope_spans[0].spans[0].events.add(name="exception")
    for key in "ab":
        event.attributes.add(key=key).value.string_value = "event"
    await place.connector.observe(make_batch(request))
    ((labels, _),) = (await place.flush())["traces.span.metrics.events"]
    assert [labels[key] for key in "abc"] == ["span", "event", "resource"]


async def test_resources_are_kept_apart_by_all_their_attributes_or_by_those_that_are_named() -> None:
    one, two = ({"service__name": "shop", "process__pid": pid} for pid in (1, 2))
    for options, resources, calls in (
        ({}, [{"service.name": "shop", "process.pid": pid} for pid in (1, 2)], [1, 1]),
        ({"resource_metrics_key_attributes": ["service.name"]}, [{"service.name": "shop"}], [2]),
        ({"add_resource_attributes": False}, [{}], [2]),
    ):
        place = Place(**options)
        await place.see({}, resource=one)
        await place.see({}, resource=two)
        found = await place.flush()
        assert [point.as_int for _, point in found[CALLS]] == calls
        groups = [group for batch in place.pipe.batches for group in batch.message().resource_metrics]
        assert [plain(group.resource.attributes) for group in groups] == resources


async def test_spans_beyond_the_limit_are_counted_in_one_series() -> None:
    place = Place(aggregation_cardinality_limit=2)
    await place.see(*({"name": name} for name in "abcda"))
    found = await place.flush()
    for name in (CALLS, DURATION):
        values = [(labels.get("span.name"), labels.get("otel.metric.overflow")) for labels, _ in found[name]]
        assert values == [("a", None), ("b", None), (None, True)]
    assert [point.as_int for _, point in found[CALLS]] == [2, 1, 2]


async def test_without_a_limit_there_is_still_one_of_all_series_and_of_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series, "MAX_SERIES", 4)
    place = Place(resource_metrics_cache_size=2)
    for number in range(7):
        await place.see({"name": f"n{number}"}, {}, resource={"service__name": f"s{number}"})
    found = await place.flush()
    assert sum(point.as_int for _, point in found[CALLS]) == 14
    assert len(found[CALLS]) < 8
    monkeypatch.setattr(series, "MAX_SERIES", 1000)
    monkeypatch.setattr(series, "MAX_BYTES", 5000)
    place = Place()
    await place.see(*({"name": f"{number:02}" * 500} for number in range(20)))
    found = await place.flush()
    assert [(len(labels), point.as_int) for labels, point in found[CALLS][-1:]] == [(2, 17)]
    monkeypatch.setattr(series, "MAX_BYTES", 1 << 20)
    place = Place(resource_metrics_cache_size=2)
    for number in range(7):
        await place.see({}, resource={"service__name": f"s{number}"}, seconds=1)
    found = await place.flush()
    assert sum(point.as_int for _, point in found[CALLS]) == 7
    assert len(place.pipe.batches[0].message().resource_metrics) == 5
    left = await place.flush()
    assert len(place.pipe.batches[0].message().resource_metrics) == 2
    assert {labels["service.name"] for labels, _ in left[CALLS]} == {"s3", "s4", "s5", "s6"}


async def test_what_expired_is_handed_on_once_more_and_then_forgotten() -> None:
    place = Place(metrics_expiration="10s")
    await place.see({}, resource={"service__name": "old"}, seconds=8)
    await place.see({}, resource={"service__name": "new"}, seconds=2)
    assert len((await place.flush())[CALLS]) == 2
    assert [labels["service.name"] for labels, _ in (await place.flush())[CALLS]] == ["new"]
    place = Place(series_expiration="10s")
    await place.see({"name": "old"}, seconds=8)
    await place.see({"name": "new"}, seconds=2)
    assert len((await place.flush())[CALLS]) == 2
    assert [labels["span.name"] for labels, _ in (await place.flush())[CALLS]] == ["new"]
    begun = place.clock.now_ns
    await place.see({"name": "old"}, seconds=1)
    again = {labels["span.name"]: point for labels, point in (await place.flush())[CALLS]}["old"]
    assert (again.as_int, again.start_time_unix_nano) == (1, begun)


async def test_spans_without_a_service_are_counted_and_those_without_ids_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = Place()
    await place.see({}, {"trace_id": b""}, {"span_id": bytes(8)}, {"parent_span_id": b"xy"}, resource={"a": 1})
    ((labels, point),) = (await place.flush())[CALLS]
    assert (labels["service.name"], point.as_int) == ("unknown_service", 1)
    assert "3 spans with invalid ids are not counted" in caplog.text


async def test_a_span_that_ends_before_it_starts_took_no_time_and_odd_numbers_are_known() -> None:
    place = Place()
    await place.see({"milliseconds": -5, "kind": 99})
    found = await place.flush()
    ((labels, point),) = found[DURATION]
    assert (point.count, point.sum, labels["span.kind"]) == (1, 0, "SPAN_KIND_UNSPECIFIED")


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"histogram": {"explicit": {}, "exponential": {}}}, "use either explicit or exponential"),
        ({"histogram": {"explicit": {"buckets": ["2ms", "1ms"]}}}, "buckets must rise"),
        ({"histogram": {"unit": "min"}}, "'ms' or 's'"),
        ({"dimensions": [{"name": "span.name"}]}, "the dimension 'span.name' is there already"),
        ({"dimensions": [{"name": "a"}], "calls_dimensions": [{"name": "a"}]}, "the dimension 'a' is there already"),
        ({"events": {"enabled": True}}, "events needs dimensions"),
        ({"exclude_dimensions": ["http.method"]}, "'service.name'"),
        ({"metrics_flush_interval": "0"}, "greater than or equal to 0.1"),
        ({"aggregation_temporality": "delta"}, "AGGREGATION_TEMPORALITY_DELTA"),
        ({"dimensions_cache_size": 5}, "there is no such cache; aggregation_cardinality_limit bounds the series"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpanMetricsConfig.model_validate(options)
