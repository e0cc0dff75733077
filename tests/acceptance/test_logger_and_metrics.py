"""Logger and metrics beside a running Ares: what the usage example of the architecture gave to its calls is what the
API shows afterwards, and what nobody should give to them is stored as well."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from ares_otel import Logger, MetricsCollector
from tests.support.ares_process import AresProcess, environment
from tests.support.hostile_values import HOSTILE
from tests.support.reference import ROOT

EXAMPLE = ROOT / "examples" / "trading.py"


@dataclass(frozen=True, slots=True)
class Shown:
    """The answers under the addresses that the example printed."""

    trace: dict[str, Any]
    logs: list[dict[str, Any]]
    metrics: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def shown(ares: AresProcess) -> Shown:
    """The example was run to its end: all it recorded is stored then."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc, "ARES_OTEL_API_URL": ares.http, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env=environment(where),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    addresses = done.stdout.split()
    with httpx.Client(trust_env=False, timeout=30) as client:
        trace, logs, metrics = (client.get(address).raise_for_status().json() for address in addresses)
    return Shown(trace, logs["logs"], {row["metric_name"]: row for row in metrics["metrics"]})


def test_the_trace_shows_all_of_it(shown: Shown) -> None:
    assert shown.trace["services"] == ["trading"]
    assert shown.trace["warnings"] == []
    assert [(span["operation_name"], span["depth"]) for span in shown.trace["spans"]] == [
        ("trading", 0),
        ("settle trade", 1),
    ]
    assert [(log["log_level"], log["message"]) for log in shown.trace["logs"]] == [
        ("INFO", "Trade execution started"),
        ("INFO", "Trade execution completed"),
        ("ERROR", "Settlement failed"),
    ]


def test_a_log_has_its_metadata_and_where_it_was_written(shown: Shown) -> None:
    started = next(log for log in shown.logs if log["message"] == "Trade execution started")
    assert (started["metadata"]["symbol"], started["metadata"]["amount"]) == ("BTC-USD", 1.5)
    assert started["source_file"] == str(EXAMPLE)
    line = EXAMPLE.read_text(encoding="utf-8").splitlines()[started["source_line"] - 1]
    assert '"Trade execution started"' in line
    assert started["trace_id"] == shown.trace["trace_id"]


def test_an_error_has_its_exception_and_its_span(shown: Shown) -> None:
    failed = next(log for log in shown.logs if log["log_level"] == "ERROR")
    assert failed["metadata"]["attempts"] == [1, 2, 3]
    assert failed["metadata"]["exception.type"] == "TimeoutError"
    assert "the clearing house did not answer" in failed["metadata"]["exception.stacktrace"]
    assert failed["span_id"] == shown.trace["spans"][1]["span_id"]


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("trades.executed", "counter", {"symbol": "BTC-USD", "side": "buy"}),
        ("memory.usage_mb", "gauge", {}),
        ("database.query", "histogram", {"table": "trades"}),
        ("clearing.call", "histogram", {"house": "north", "error.type": "TimeoutError"}),
    ],
)
def test_a_metric_has_its_kind_and_labels(shown: Shown, name: str, kind: str, labels: dict[str, str]) -> None:
    row = shown.metrics[name]
    assert (row["service_name"], row["metric_type"], row["labels"]) == ("trading", kind, labels)
    expected = {"trades.executed": 1, "memory.usage_mb": 256.5}
    assert row["metric_value"] == expected.get(name, row["metric_value"])
    assert row["unit"] == ("s" if kind == "histogram" else "")


async def test_whatever_is_logged_and_measured_is_stored(ares: AresProcess, database: asyncpg.Connection) -> None:
    resource = Resource.create({"service.name": "hostile"})
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{ares.otlp_http}/v1/logs"), max_export_batch_size=8)
    )
    exporter = OTLPMetricExporter(endpoint=f"{ares.otlp_http}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=600_000)
    meters = MeterProvider(resource=resource, metric_readers=[reader], shutdown_on_exit=False)
    logger = Logger("hostile", logger_provider=loggers)
    metrics = MetricsCollector("hostile", meter_provider=meters)
    for number, value in enumerate(HOSTILE):
        logger.error(None, value, {"number": number, "value": value, "in": [{"it": value}]})
        metrics.record_counter("hostile.labels", 1, {"number": number, "value": value})
    loggers.shutdown()
    meters.shutdown()
    logs = await database.fetch("SELECT metadata->>'number' AS number FROM service_logs WHERE service_name = 'hostile'")
    labels = "SELECT labels->>'number' AS number FROM service_metrics WHERE metric_name = 'hostile.labels'"
    expected = {str(number) for number in range(len(HOSTILE))}
    assert {row["number"] for row in logs} == expected
    assert {row["number"] for row in await database.fetch(labels)} == expected
