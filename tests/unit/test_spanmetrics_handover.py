"""What the `spanmetrics` connector hands on when a metrics pipeline does not take it, at its end, and all in all."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.connectors import emitter
from ares_otel.connectors.spanmetrics.config import SpanMetricsConfig
from ares_otel.connectors.spanmetrics.connector import FACTORY
from ares_otel.model.batch import Batch
from ares_otel.model.errors import Rejected, Unavailable
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.telemetry import Telemetry
from tests.support.parts import make_batch, plain, traces
from tests.support.spanmetrics import CALLS, DURATION, SECOND, Pipe, Place, points, span

# --- what a metrics pipeline does not take -------------------------------------------------------------------------


@pytest.mark.parametrize("temporality", ["CUMULATIVE", "DELTA"])
async def test_what_could_not_be_handed_on_is_handed_on_later_under_the_same_key(
    temporality: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(emitter, "REQUEST_POINTS", 1)
    place = Place(aggregation_temporality=f"AGGREGATION_TEMPORALITY_{temporality}", histogram={"disable": True})
    await place.see({"name": "a"}, {"name": "b"}, seconds=1)
    place.pipe.errors = [Unavailable("away"), Unavailable("away")]
    assert await place.flush() == {}
    waiting = place.connector.emitter._handover._waiting
    assert waiting is not None
    await place.see({"name": "a"}, seconds=1)
    assert await place.flush() == {}
    found = await place.flush()
    assert place.pipe.batches[0].key == waiting.key
    values = [(labels["span.name"], point.as_int) for labels, point in found[CALLS]]
    if temporality == "DELTA":
        assert sorted(values) == [("a", 1), ("a", 1), ("b", 1)]
    else:
        assert values == [("a", 1), ("a", 2), ("b", 1)]
    assert caplog.text.count("takes no data points now; they wait: away") == 1
    account = {"signal": "metrics", "receiver": "spanmetrics", "transport": "connector"}
    read = place.telemetry.registry.get_sample_value
    received = read("ares_otel_account_items_total", account | {"outcome": "received"})
    stored = read("ares_otel_account_items_total", account | {"outcome": "stored"})
    refused = read("ares_otel_account_items_total", account | {"outcome": "refused"})
    assert received == (stored or 0) + (refused or 0)


async def test_what_is_refused_for_good_is_told_and_does_not_block_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    await place.see({})
    place.pipe.errors = [Rejected("wrong")]
    assert await place.flush() == {}
    assert "a metrics pipeline refused 2 data points: wrong" in caplog.text
    assert len(await place.flush()) == 2


async def test_the_end_hands_on_the_rest_and_the_timer_hands_on_before() -> None:
    pipe = Pipe()
    context = BuildContext("spanmetrics", Telemetry(), Admission())
    made = FACTORY.build(context, SpanMetricsConfig(metrics_flush_interval="100ms"), {METRICS: pipe})
    await made.start()
    await made.observe(make_batch(traces(span())))
    await asyncio.wait_for(pipe.came.wait(), 10)
    await made.observe(make_batch(traces(span())))
    await made.stop()
    assert points(pipe.batches)[CALLS][-1][1].as_int == 2
    count = len(pipe.batches)
    await made.stop()
    assert len(pipe.batches) == count
    await FACTORY.build(context, SpanMetricsConfig(), {METRICS: pipe}).stop()


async def test_an_end_without_anybody_to_take_it_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(emitter, "FINAL_SECONDS", -1.0)
    place = Place()
    await place.connector.start()
    await place.see({})
    place.pipe.errors = [Unavailable("away")] * 5
    await place.connector.stop()
    assert "spanmetrics ended with" in caplog.text


# --- whatever comes ------------------------------------------------------------------------------------------------

SPANS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "", "ü\0"]),
        "kind": st.integers(0, 7),
        "status": st.fixed_dictionaries({"code": st.integers(0, 4)}),
        "milliseconds": st.floats(-10, 1e7),
        "attributes": st.dictionaries(
            st.sampled_from(["x", "y"]),
            st.one_of(
                st.text(max_size=3), st.integers(-3, 3), st.booleans(), st.floats(), st.lists(st.text(max_size=2))
            ),
        ),
    }
)


@settings(max_examples=60)
@given(
    batches=st.lists(st.tuples(st.lists(SPANS, max_size=6), st.sampled_from(["s1", "s2", "s3"])), max_size=8),
    delta=st.booleans(),
    limit=st.integers(0, 3),
    failing=st.lists(st.booleans(), max_size=8),
    exponential=st.booleans(),
)
async def test_the_sums_of_all_series_are_the_spans_whatever_comes(
    batches: list[tuple[list[dict[str, Any]], str]], delta: bool, limit: int, failing: list[bool], exponential: bool
) -> None:
    place = Place(
        aggregation_temporality=f"AGGREGATION_TEMPORALITY_{'DELTA' if delta else 'CUMULATIVE'}",
        aggregation_cardinality_limit=limit,
        dimensions=[{"name": "x"}, {"name": "y", "default": "none"}],
        histogram={"exponential": {}} if exponential else {},
        resource_metrics_cache_size=1000,
    )
    handed: list[Batch] = []
    expected: Counter[str] = Counter()
    for number, (spans, service) in enumerate(batches):
        await place.see(*spans, resource={"service__name": service}, seconds=1)
        expected[service] += len(spans)
        place.pipe.errors = [Unavailable("away")] if failing[number : number + 1] == [True] else []
        await place.flush()
        handed += place.pipe.batches
    place.pipe.errors = []
    place.clock.now_ns += SECOND
    await place.flush()
    handed += place.pipe.batches
    for name in (CALLS, DURATION):
        assert +totals(handed, name, delta=delta) == +expected


def totals(handed: list[Batch], name: str, *, delta: bool) -> Counter[str]:
    """What all data points of a metric say together, by service."""
    series: Counter[tuple[str, str]] = Counter()
    for batch in handed:
        for group in batch.message().resource_metrics:
            service = plain(group.resource.attributes)["service.name"]
            for metric in group.scope_metrics[0].metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points if metric.name == name else ():
                    assert point.start_time_unix_nano <= point.time_unix_nano
                    key = service, repr(sorted(map(str, point.attributes)))
                    amount = point.as_int if name == CALLS else point.count
                    series[key] = amount + (series[key] if delta else 0)
    found: Counter[str] = Counter()
    for (service, _), amount in series.items():
        found[service] += amount
    return found
