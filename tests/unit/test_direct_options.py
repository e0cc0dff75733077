"""Options and variables of the exporters into PostgreSQL."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DropAggregation

from ares_otel.sdk.direct import PostgresMetricExporter
from ares_otel.sdk.direct.bounds import Bounds

URL = "postgresql://nobody@127.0.0.1:1/nothing"


def test_an_option_wins_over_its_variable_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Bounds.of({}) == Bounds(16.0, 100_000, 300.0, 5.0)
    for name in ("QUEUE_MIB", "QUEUE_ITEMS", "RETRY_SECONDS", "SHUTDOWN_SECONDS"):
        monkeypatch.setenv(f"ARES_OTEL_SDK_{name}", "3")
    assert Bounds.of({}) == Bounds(3, 3, 3, 3)
    assert Bounds.of({"queue_mib": 0.5, "retry_seconds": None}) == Bounds(0.5, 3, 3, 3)


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "nan", "inf"])
def test_a_variable_that_is_no_positive_number_is_said_and_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    monkeypatch.setenv("ARES_OTEL_SDK_QUEUE_MIB", wrong)
    assert Bounds.of({}).queue_mib == 16
    assert "ARES_OTEL_SDK_QUEUE_MIB must be a positive number" in caplog.text


@pytest.mark.parametrize("wrong", [{"queue_mib": 0}, {"retry_seconds": -1}, {"queue_items": "x"}, {"queue_kib": 1}])
def test_an_option_that_cannot_be_is_an_error_that_names_it(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PostgresMetricExporter(URL, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("temporality", ["", "cumulative", "Delta", "lowmemory", "none of these"])
@pytest.mark.parametrize("histogram", ["", "base2_exponential_bucket_histogram", "none of these"])
def test_the_metric_exporter_prefers_what_the_stock_one_prefers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, temporality: str, histogram: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", histogram)
    stock, ours = OTLPMetricExporter(), PostgresMetricExporter(URL)
    assert ours._preferred_temporality == stock._preferred_temporality
    assert {kind: type(way) for kind, way in (ours._preferred_aggregation or {}).items()} == {
        kind: type(way) for kind, way in (stock._preferred_aggregation or {}).items()
    }


def test_what_the_code_prefers_wins() -> None:
    drop = DropAggregation()
    exporter = PostgresMetricExporter(
        URL,
        preferred_temporality={Counter: AggregationTemporality.DELTA},
        preferred_aggregation={Histogram: drop},
    )
    assert (exporter._preferred_temporality or {})[Counter] is AggregationTemporality.DELTA
    assert (exporter._preferred_aggregation or {})[Histogram] is drop
