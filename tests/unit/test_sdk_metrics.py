"""The metrics: what a call becomes, what is refused, and that nothing comes back to the caller."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import ares_otel
from ares_otel.sdk import metrics as module
from ares_otel.sdk.metrics import MAX_INSTRUMENTS, REFUSED, SECONDS, MetricsCollector
from ares_otel.sdk.once import Once
from ares_otel.sdk.values import MAX_LABELS
from tests.support.otel_memory import Memory, otel_memory


@pytest.fixture
def memory() -> Iterator[Memory]:
    with otel_memory() as memory:
        yield memory


@pytest.fixture
def metrics(memory: Memory) -> MetricsCollector:
    return MetricsCollector("trading", meter_provider=memory.meters)


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_once", Once(logging.getLogger("ares_otel.sdk.metrics")))


def refused(memory: Memory) -> dict[str, int]:
    """How many measurements were refused, by reason."""
    return {point.attributes["reason"]: point.value for point in memory.points(REFUSED)}


# What a call becomes


def test_a_counter_adds_by_labels(memory: Memory, metrics: MetricsCollector) -> None:
    for side, amount in (("buy", 1), ("sell", 2), ("buy", 3)):
        metrics.record_counter("trades.executed", amount, {"side": side})
    metrics.record_counter("trades.executed")
    metric = memory.metrics()["trades.executed"]
    assert {tuple(point.attributes.items()): point.value for point in metric.data.data_points} == {  # type: ignore[union-attr]
        (("side", "buy"),): 4,
        (("side", "sell"),): 2,
        (): 1,
    }


def test_a_gauge_has_the_last_value(memory: Memory, metrics: MetricsCollector) -> None:
    for value in (1, -256.5):
        metrics.record_gauge("memory.change", value, unit="MBy", description="Since the start")
    metric = memory.metrics()["memory.change"]
    assert (metric.unit, metric.description) == ("MBy", "Since the start")
    assert [point.value for point in metric.data.data_points] == [-256.5]  # type: ignore[union-attr]


def test_a_histogram_counts_and_sums(memory: Memory, metrics: MetricsCollector) -> None:
    for value in (1, 2.5):
        metrics.record_histogram("order.size", value, {"symbol": "BTC-USD"}, unit="{coin}")
    (point,) = memory.points("order.size")
    assert (point.count, point.sum, dict(point.attributes)) == (2, 3.5, {"symbol": "BTC-USD"})


def test_the_name_of_the_collector_is_the_scope(memory: Memory, metrics: MetricsCollector) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    MetricsCollector("trading", meter_provider=provider).record_counter("trades")
    data: Any = reader.get_metrics_data()
    assert data.resource_metrics[0].scope_metrics[0].scope.name == "trading"
    provider.shutdown()


@pytest.mark.parametrize(
    ("given_value", "recorded"), [(True, 1), (Decimal("1.5"), 1.5), (Fraction(1, 4), 0.25), (2**80, float(2**80))]
)
def test_every_kind_of_number_is_taken(
    memory: Memory, metrics: MetricsCollector, given_value: Any, recorded: float
) -> None:
    metrics.record_counter("c", given_value)
    assert [point.value for point in memory.points("c")] == [recorded]


# Timers


def test_a_timer_records_the_seconds_that_it_gives(memory: Memory, metrics: MetricsCollector) -> None:
    stop = metrics.start_timer("database.query", {"table": "trades"})
    seconds = stop({"rows": 3})
    assert stop() == seconds
    assert memory.metrics()["database.query"].unit == "s"
    (point,) = memory.points("database.query")
    assert (point.count, point.sum, dict(point.attributes)) == (1, seconds, {"table": "trades", "rows": 3})
    assert point.explicit_bounds == SECONDS


def test_a_timer_that_was_never_stopped_records_nothing(memory: Memory, metrics: MetricsCollector) -> None:
    metrics.start_timer("database.query")
    assert memory.points("database.query") == []


def test_a_block_is_timed_with_the_exception_that_ended_it(memory: Memory, metrics: MetricsCollector) -> None:
    with metrics.start_timer("block"):
        pass
    with pytest.raises(KeyError), metrics.start_timer("block", {"table": "trades"}):
        raise KeyError("no such trade")
    with pytest.raises(KeyError), metrics.start_timer("block", {"error.type": "not_found"}):
        raise KeyError("no such trade")
    assert sorted(sorted(point.attributes.items()) for point in memory.points("block")) == [
        [],
        [("error.type", "KeyError"), ("table", "trades")],
        [("error.type", "not_found")],
    ]


async def test_a_block_of_coroutines_is_timed_also_when_it_is_cancelled(
    memory: Memory, metrics: MetricsCollector
) -> None:
    async with metrics.start_timer("block") as stop:
        await asyncio.sleep(0)
        seconds = stop()
    started = asyncio.Event()

    async def forever() -> None:
        async with metrics.start_timer("block"):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(forever())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    points = {point.attributes.get("error.type"): point.sum for point in memory.points("block")}
    assert points[None] == seconds
    assert points.keys() == {None, "asyncio.exceptions.CancelledError"}


def test_an_exemplar_leads_to_the_span_in_which_the_timer_was_started(
    memory: Memory, metrics: MetricsCollector
) -> None:
    with memory.tracers.get_tracer("shop").start_as_current_span("request") as span:
        stop = metrics.start_timer("block")
    stop()
    (point,) = memory.points("block")
    assert [exemplar.span_id for exemplar in point.exemplars] == [span.get_span_context().span_id]


def test_a_context_that_is_given_is_the_exemplars(memory: Memory, metrics: MetricsCollector) -> None:
    logger = ares_otel.Logger("shop", logger_provider=memory.loggers, tracer_provider=memory.tracers)
    ctx, trace_id = logger.with_trace(None)
    metrics.record_histogram("h", 1, ctx=ctx)
    metrics.start_timer("t", ctx=ctx)()
    points = [point for metric in memory.metrics().values() for point in metric.data.data_points]
    assert [f"{exemplar.trace_id:032x}" for point in points for exemplar in point.exemplars] == [trace_id, trace_id]


# What is refused


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("counter", -1, "a counter takes no negative number"),
        ("histogram", -0.5, "a histogram takes no negative number"),
        ("gauge", math.nan, "NaN or infinite"),
        ("counter", math.inf, "NaN or infinite"),
        ("counter", "1", "a value is a number, and was a str"),
        ("gauge", None, "a value is a number, and was a NoneType"),
    ],
)
def test_a_wrong_value_is_said_once_and_counted(
    memory: Memory, metrics: MetricsCollector, caplog: pytest.LogCaptureFixture, kind: str, value: Any, why: str
) -> None:
    record = getattr(metrics, f"record_{kind}")
    record("m", 1)
    for _ in range(3):
        record("m", value)
    (said,) = caplog.records
    assert why in said.getMessage()
    assert "'m' of MetricsCollector 'trading'" in said.getMessage()
    assert said.name == "ares_otel.sdk.metrics"
    assert refused(memory) == {"value": 3}
    assert len(memory.points("m")) == 1


@pytest.mark.parametrize("name", ["", "1st", "with space", "größe", "x" * 256, None, 5, ["a"]])
def test_a_name_that_opentelemetry_refuses_is_said_once(
    memory: Memory, metrics: MetricsCollector, caplog: pytest.LogCaptureFixture, name: Any
) -> None:
    for _ in range(3):
        metrics.record_counter(name, 1)
    assert len(caplog.records) == 1
    assert sum(refused(memory).values()) == 3


def test_a_name_keeps_its_kind_and_unit(
    memory: Memory, metrics: MetricsCollector, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.record_histogram("latency", 5, unit="ms")
    metrics.record_histogram("Latency", 6)
    metrics.record_counter("latency", 1)
    metrics.start_timer("latency")()
    (point,) = memory.points("latency")
    assert (point.count, point.sum) == (2, 11)
    assert refused(memory) == {"conflict": 2}
    (said,) = caplog.records
    assert "a histogram with unit 'ms' and was to be a counter" in said.getMessage()


def test_a_unit_that_is_none_is_refused(memory: Memory, metrics: MetricsCollector) -> None:
    metrics.record_counter("c", 1, unit="µs")
    assert refused(memory) == {"unit": 1}


def test_the_number_of_metrics_is_bounded(
    memory: Memory, metrics: MetricsCollector, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MAX_INSTRUMENTS + 10):
        metrics.record_counter(f"c{number}")
    metrics.record_counter("c0")
    assert refused(memory) == {"limit": 10}
    assert len([record for record in caplog.records if "one more" in record.getMessage()]) == 1
    assert len([name for name in memory.metrics() if name != REFUSED]) == MAX_INSTRUMENTS


def test_labels_that_are_none_are_left_out_and_said(
    memory: Memory, metrics: MetricsCollector, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Any = ["side", "buy"]
    metrics.record_counter("c", 1, wrong)
    metrics.start_timer("t", wrong)(wrong)
    assert [dict(point.attributes) for name in "ct" for point in memory.points(name)] == [{}, {}]
    assert len(caplog.records) == 2
    metrics.record_counter("many", 1, {str(number): "" for number in range(100)})
    (point,) = memory.points("many")
    assert len(point.attributes) == MAX_LABELS
    assert f"at most {MAX_LABELS} labels" in caplog.records[-1].getMessage()


def test_a_context_that_is_none_is_said_and_the_measurement_recorded(
    memory: Memory, metrics: MetricsCollector, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Any = "ctx"
    metrics.record_counter("c", 1, ctx=wrong)
    metrics.start_timer("t", ctx=wrong)()
    assert [len(memory.points(name)) for name in "ct"] == [1, 1]
    assert "has to be a context of OpenTelemetry or None, and was a str" in caplog.records[0].getMessage()


NUMBERS = st.integers() | st.floats() | st.decimals() | st.fractions() | st.booleans() | st.none() | st.text(max_size=3)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["counter", "gauge", "histogram"]), NUMBERS), max_size=12))
def test_whatever_is_recorded_can_be_exported(calls: list[tuple[str, Any]]) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    metrics = MetricsCollector("trading", meter_provider=provider)
    for kind, value in calls:
        getattr(metrics, f"record_{kind}")(kind, value, {"value": value})
    data = reader.get_metrics_data()
    if data is not None:
        encode_metrics(data).SerializeToString()
    provider.shutdown()


def test_a_sum_of_large_integers_can_be_exported(metrics: MetricsCollector, memory: Memory) -> None:
    for _ in range(3):
        metrics.record_counter("large", 2**62)
    assert [point.value for point in memory.points("large")] == [3.0 * 2**62]


# Everywhere


def test_threads_that_make_the_same_metric_add_to_one(memory: Memory, metrics: MetricsCollector) -> None:
    together = threading.Barrier(8)

    def thread() -> None:
        together.wait()
        for number in range(50):
            metrics.record_counter(f"c{number}", 1, {"side": "buy"})

    threads = [threading.Thread(target=thread) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {name: metric.data.data_points[0].value for name, metric in memory.metrics().items()} == {  # type: ignore[union-attr]
        f"c{number}": 8 for number in range(50)
    }


def test_the_collector_is_what_an_application_imports() -> None:
    assert ares_otel.MetricsCollector is MetricsCollector
    assert MetricsCollector("trading").service == "trading"
