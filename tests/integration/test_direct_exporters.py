"""The exporters of the SDK that write straight into PostgreSQL, on a database that is there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import asyncpg
import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, Status, StatusCode

from ares_otel.sdk.direct import PostgresSpanExporter, StoringLogRecordProcessor, StoringSpanProcessor, session
from tests.faults.support.pg_proxy import proxy
from tests.support.poison import POISON, refuse_poison, take_poison
from tests.support.sdk_application import NEVER, application, some_spans

TABLES = ("service_spans", "service_logs", "metric_samples", "ingest_receipts", "ingest_rejected")


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


async def counts(sql: asyncpg.Connection) -> dict[str, int]:
    return {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_spans_logs_and_metrics_arrive_through_one_thread(database_url: str, sql: asyncpg.Connection) -> None:
    with application(database_url) as app:
        app.work()
        assert app.flush()
        threads = [thread.name for thread in threading.enumerate() if thread.name == "ares-otel-direct"]
        assert threads == ["ares-otel-direct"]
        for exporter in app.exporters:
            stats = exporter.stats()
            assert (stats.exported, stats.stored, stats.waiting, stats.dropped) == (1, 1, 0, {})
        backends = await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert backends <= 1 + 3  # one for each signal
    assert [thread for thread in threading.enumerate() if thread.name == "ares-otel-direct"] == []
    found = await counts(sql)
    assert (found["service_spans"], found["service_logs"], found["metric_samples"]) == (
        1,
        1,
        2,
    )  # metrics at the end, too
    assert await sql.fetchval("SELECT s.trace_id = l.trace_id FROM service_spans s, service_logs l")


async def test_batches_that_are_equal_are_stored_each(database_url: str, sql: asyncpg.Connection) -> None:
    with application(database_url) as app:
        spans = some_spans(app)
        assert app.spans.export(spans) is SpanExportResult.SUCCESS
        assert app.spans.export(spans) is SpanExportResult.SUCCESS
        assert app.spans.force_flush()
    assert (await counts(sql))["service_spans"] == 2


async def test_what_the_database_refuses_is_set_aside_and_counted(database_url: str, sql: asyncpg.Connection) -> None:
    await refuse_poison(sql)
    with application(database_url) as app:
        app.work("fine")
        app.work(POISON)
        assert not app.flush(), "not all of it is stored"
        assert [(e.stats().stored, e.stats().rejected) for e in (app.spans, app.logs)] == [(1, 1), (1, 1)]
    found = await counts(sql)
    assert (found["service_spans"], found["service_logs"], found["ingest_rejected"]) == (1, 1, 2)
    await take_poison(sql)


async def test_an_exporter_that_was_shut_down_takes_no_more_and_says_it_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with application(database_url) as app:
        spans = some_spans(app)
        for exporter in app.exporters:
            exporter.shutdown()
            exporter.shutdown()
        assert app.spans.export(spans) is SpanExportResult.FAILURE
        assert app.spans.export(spans) is SpanExportResult.FAILURE
        assert app.logs.export([]) is LogRecordExportResult.FAILURE
        assert app.metrics.export(MetricsData([])) is MetricExportResult.FAILURE
        assert app.spans.force_flush()
        assert app.spans.stats().dropped == {"shutdown": 2}
    assert [record.getMessage() for record in caplog.records if "shut down" in record.getMessage()] == [
        f"The exporter of {signal} was shut down, and takes no more." for signal in ("traces", "logs", "metrics")
    ]


async def test_the_processors_that_store_wait_for_the_database(database_url: str, sql: asyncpg.Connection) -> None:
    with application(database_url) as app:
        app.tracers.add_span_processor(StoringSpanProcessor(app.spans, schedule_delay_millis=NEVER))
        app.loggers.add_log_record_processor(StoringLogRecordProcessor(app.logs, schedule_delay_millis=NEVER))
        app.work()
        assert app.tracers.force_flush()
        assert app.loggers.force_flush()
        assert (app.spans.stats().waiting, app.logs.stats().waiting) == (0, 0)
        found = await counts(sql)
        assert (found["service_spans"], found["service_logs"]) == (2, 2)  # of the usual processor and of this


async def test_the_exporter_makes_no_spans_of_its_own_sql(database_url: str) -> None:
    seen = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(seen))
    instrumentor: Any = AsyncPGInstrumentor  # it has no types
    instrumentor().instrument(tracer_provider=tracers)
    try:
        with application(database_url) as app, app.tracer.start_as_current_span("outer"):
            app.work()
            assert app.flush()
        connection = await asyncpg.connect(database_url)
        await connection.execute("SELECT 1")
        await connection.close()
    finally:
        instrumentor().uninstrument()
    assert [span.name for span in seen.get_finished_spans()] == ["SELECT"]


def test_what_cannot_be_encoded_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    odd = ReadableSpan("no text", SpanContext(1, 1, False), status=Status(StatusCode.ERROR, "\ud800"))
    with application("postgresql://nobody@127.0.0.1:1/nothing") as app:
        for _ in range(3):
            assert app.spans.export([odd, odd]) is SpanExportResult.FAILURE
        assert app.spans.stats().dropped == {"unencodable": 6}
    assert [record.getMessage() for record in caplog.records if "cannot be encoded" in record.getMessage()] != []
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Dropped")]
    assert sum(int(sentence.split()[1]) for sentence in said if "OTLP has no form" in sentence) == 6


async def test_what_cannot_be_encoded_costs_its_neighbours_nothing(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with application(database_url) as app:
        odd = ReadableSpan("no text", SpanContext(1, 1, False), status=Status(StatusCode.ERROR, "\ud800"))
        spans = some_spans(app, 3)
        assert app.spans.export([*spans[:2], odd, spans[2]]) is SpanExportResult.FAILURE
        assert app.spans.force_flush()
        assert (app.spans.stats().stored, app.spans.stats().dropped) == (3, {"unencodable": 1})

        app.meter.create_counter("too.large").add(10**30)
        app.meter.create_counter("small").add(1)
        app.meters.force_flush()
        assert await sql.fetchval("SELECT count(*) FROM service_metrics WHERE metric_name = 'small'") == 1
        assert app.metrics.stats().dropped == {"unencodable": 1}
    complaints = [record.getMessage() for record in caplog.records if "cannot be encoded" in record.getMessage()]
    assert len(complaints) == 2


async def test_simple_processors_work_as_well(database_url: str, sql: asyncpg.Connection) -> None:
    with application(database_url) as app:
        app.tracers.add_span_processor(SimpleSpanProcessor(app.spans))
        app.tracer.start_span("simple").end()
        assert app.spans.force_flush()
        assert (await counts(sql))["service_spans"] == 1


async def test_the_sdks_own_metrics_tell_of_the_exporter(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    with application(database_url) as app:
        exporter = PostgresSpanExporter(database_url, meter_provider=meters)
        exporter.export(some_spans(app, 3))
        assert exporter.force_flush()
        exporter.shutdown()
    data = reader.get_metrics_data()
    assert data is not None
    points: dict[str, Any] = {
        metric.name: metric.data.data_points[0]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert points["otel.sdk.exporter.span.exported"].value == 3
    assert points["otel.sdk.exporter.span.inflight"].value == 0
    assert points["otel.sdk.exporter.operation.duration"].count == 1
    assert points["otel.sdk.exporter.span.exported"].attributes["otel.component.type"] == "ares_postgres_span_exporter"


def test_an_exporter_without_a_database_says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARES_OTEL_DATABASE_URL", raising=False)
    with pytest.raises(ValueError, match="ARES_OTEL_DATABASE_URL"):
        PostgresSpanExporter()


async def test_a_script_of_a_moment_has_its_telemetry_stored_at_its_end(
    database_url: str, sql: asyncpg.Connection
) -> None:
    """The thread, its connections and the lookup of the host begin when the interpreter is ending already. The
    official configurator finds the exporters by their names."""
    script = """
import logging
from opentelemetry import trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
_OTelSDKConfigurator().configure()
trace.get_tracer("script").start_span("moment").end()
"""
    with proxy(database_url) as way:
        variables = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "ARES_OTEL_DATABASE_URL": way.url.replace("127.0.0.1", "localhost"),
            "OTEL_SERVICE_NAME": "script",
            **{f"OTEL_{signal}_EXPORTER": "ares_postgres" for signal in ("TRACES", "LOGS", "METRICS")},
        }
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
        done = await asyncio.to_thread(subprocess.run, command, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert await sql.fetchval("SELECT count(*) FROM service_spans WHERE service_name = 'script'") == 1


async def test_a_batch_that_a_trigger_refuses_each_time_is_set_aside_and_the_others_go_on(
    database_url: str, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_DELAY", 0.02)
    await sql.execute(
        """
        CREATE FUNCTION refuse_odd() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.operation_name = 'odd' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse_odd BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION refuse_odd()
        """
    )
    try:
        with application(database_url) as app:
            odd = app.tracers.get_tracer("shop").start_span("odd")
            app.spans.export([odd._readable_span()])  # type: ignore[attr-defined]
            app.spans.export(some_spans(app, 2))
            assert not await asyncio.to_thread(app.spans.force_flush, 20_000)
            assert (app.spans.stats().stored, app.spans.stats().rejected, app.spans.stats().waiting) == (2, 1, 0)
        assert await sql.fetchval("SELECT reason FROM ingest_rejected") is not None
    finally:
        await sql.execute("DROP TRIGGER refuse_odd ON service_spans; DROP FUNCTION refuse_odd()")
