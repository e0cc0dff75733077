"""What the five endpoints answer about rows that are stored."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ares_otel.api import models
from ares_otel.query.rows import HealthRow, LogRow, MetricRow, OperationRow, SpanRow
from tests.support.api import Api, running_api
from tests.support.stored_rows import (
    TRACE,
    insert,
    insert_histogram,
    insert_log,
    insert_metric,
    insert_service,
    insert_span,
    now,
    span_id,
)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as made:
        yield made


def text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


async def test_a_log_row_has_the_columns_of_the_table_with_ids_in_hex_and_times_to_the_nanosecond(api: Api) -> None:
    time = (now() - timedelta(seconds=1)).replace(microsecond=120_000)
    resource, scope = uuid4(), uuid4()
    await insert_log(
        api.pool,
        id=7,
        trace_id=TRACE,
        span_id=span_id(0xAB),
        parent_span_id=span_id(1),
        message="näh <b>",
        body={"a": [1, 2.5, None]},
        metadata={"n": 9007199254740993, "nan": "NaN"},
        timestamp=time,
        timestamp_ns=9,
        observed_timestamp=time,
        observed_ns=0,
        resource_id=resource,
        scope_id=scope,
        received_at=time,
        original_time_unix_nano=18446744073709551615,
        attributes_raw=b"raw",
    )
    [row] = await api.rows("logs", "logs")
    assert row == {
        "id": 7,
        "tenant_id": 0,
        "trace_id": TRACE.hex,
        "span_id": "00000000000000ab",
        "parent_span_id": "0000000000000001",
        "service_name": "orders",
        "log_level": "INFO",
        "severity_number": 9,
        "severity_text": None,
        "message": "näh <b>",
        "body": {"a": [1, 2.5, None]},
        "metadata": {"n": 9007199254740993, "nan": "NaN"},
        "timestamp": text(time)[:-1] + "009Z",
        "timestamp_ns": 9,
        "observed_timestamp": text(time),
        "observed_ns": 0,
        "source_file": None,
        "source_line": None,
        "event_name": None,
        "flags": 0,
        "dropped_attributes_count": None,
        "resource_id": resource.hex,
        "scope_id": scope.hex,
        "received_at": text(time),
        "original_time_unix_nano": "18446744073709551615",
    }


async def test_every_answer_has_the_shape_that_its_model_documents(api: Api) -> None:
    await insert_log(api.pool, trace_id=TRACE)
    await insert_span(api.pool, 1)
    await insert_metric(api.pool)
    await insert_histogram(api.pool)
    await insert_service(api.pool)
    for path, query, model in (
        ("logs", {}, models.LogPage),
        ("metrics", {}, models.MetricPage),
        ("health", {"exact": "true"}, models.Health),
        ("performance", {"exact": "true"}, models.Performance),
        (f"trace/{TRACE}", {}, models.Trace),
    ):
        body = (await api.get(path, **query)).json()
        again = model.model_validate(body, extra="forbid").model_dump()
        assert again == body
        assert any(body[name] for name in body if isinstance(body[name], list))


@pytest.mark.parametrize(
    ("row", "table", "left_out"),
    [
        (LogRow, "service_logs", {"body_raw", "attributes_raw"}),
        (SpanRow, "service_spans", {"attributes_raw", "events_raw", "links_raw"}),
        (MetricRow, "service_metrics", set()),
        (HealthRow, "v_system_health", set()),
        (OperationRow, "v_service_performance", set()),
    ],
)
async def test_rows_have_every_column_of_their_table_but_the_raw_bytes(
    api: Api, row: Any, table: str, left_out: set[str]
) -> None:
    columns = await api.pool.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    assert {field.name for field in fields(row)} == {column["attname"] for column in columns} - left_out


async def test_logs_are_filtered_by_everything_that_is_given(api: Api) -> None:
    start = now() - timedelta(minutes=10)
    rows: list[dict[str, Any]] = [
        {"message": "a", "service_name": "orders", "log_level": "ERROR", "trace_id": TRACE},
        {"message": "b", "service_name": "orders", "log_level": "INFO"},
        {"message": "c", "service_name": "payments", "log_level": "ERROR"},
        {"message": "Card DECLINED at 50%_\\ off", "service_name": "payments", "log_level": "WARN"},
        {"message": "card declined at 500 off", "service_name": "payments", "log_level": "DEBUG"},
        {"message": None, "service_name": "quiet"},
    ]
    for number, row in enumerate(rows):
        await insert_log(api.pool, timestamp=start + timedelta(minutes=number), **row)

    async def messages(**query: Any) -> str:
        return "".join((row["message"] or "-")[0] for row in await api.rows("logs", "logs", **query))

    assert await messages() == "-cCcba"
    assert await messages(service="orders") == "ba"
    assert await messages(level="error") == "ca"
    assert await messages(level="ERROR", service="payments") == "c"
    assert await messages(trace_id=str(TRACE).upper()) == "a"
    assert await messages(q="card declined") == "cC"
    assert await messages(q="50%_\\ O") == "C"
    assert await messages(q="%") == "C"
    assert await messages(from_=text(start + timedelta(minutes=1)), to=text(start + timedelta(minutes=3))) == "cb"
    assert await messages(to=text(start)) == ""
    assert await messages(service="nobody") == ""
    assert await messages(q="' OR 1=1 --") == ""


async def test_a_service_name_longer_than_the_stored_255_characters_finds_its_rows(api: Api) -> None:
    await insert_log(api.pool, service_name="ü" * 255)
    await insert_span(api.pool, 1, service_name="ü" * 255)
    await insert_metric(api.pool, service_name="ü" * 255)
    for path, name in (("logs", "logs"), ("metrics", "metrics")):
        assert len(await api.rows(path, name, service="ü" * 300)) == 1
    assert len(await api.rows("performance", "operations", service="ü" * 300, exact="true")) == 1


async def test_a_time_with_nanoseconds_bounds_logs_to_the_nanosecond(api: Api) -> None:
    time = now()
    for ns in (0, 1, 2):
        await insert_log(api.pool, timestamp=time, timestamp_ns=ns, message=str(ns))
    exact = text(time)[:-1] + "001Z"
    assert [row["message"] for row in await api.rows("logs", "logs", from_=exact)] == ["2", "1"]
    assert [row["message"] for row in await api.rows("logs", "logs", to=exact)] == ["0"]
    [row] = await api.rows("logs", "logs", from_=exact, limit=1)
    assert [again["message"] for again in await api.rows("logs", "logs", from_=row["timestamp"])] == ["2"]


async def test_pages_of_logs_show_each_row_once_newest_first_also_where_times_are_equal(api: Api) -> None:
    time = now()
    for number in range(23):
        await insert_log(
            api.pool,
            message=str(number),
            service_name="orders" if number % 2 else "payments",
            timestamp=time + timedelta(microseconds=number // 6),
            timestamp_ns=number // 3 % 2,
        )
    for query in ({}, {"service": "orders"}, {"q": "1"}):
        whole = await api.rows("logs", "logs", **query)
        assert [(r["timestamp"], r["id"]) for r in whole] == sorted(
            ((r["timestamp"], r["id"]) for r in whole), key=lambda key: (key[0].rstrip("Z").ljust(29, "0"), key[1])
        )[::-1]
        paged: list[dict[str, Any]] = []
        cursor = None
        while True:
            body = (await api.get("logs", limit=4, **query, **({"cursor": cursor} if cursor else {}))).json()
            paged += body["logs"]
            assert len(body["logs"]) == 4 or body["next"] is None
            if (cursor := body["next"]) is None:
                break
        assert paged == whole


async def test_a_page_that_holds_exactly_the_rest_has_no_next(api: Api) -> None:
    for _ in range(2):
        await insert_log(api.pool)
    assert (await api.get("logs", limit=2)).json()["next"] is None
    assert (await api.get("logs", limit=1)).json()["next"] is not None


async def test_metrics_show_points_of_both_sample_tables_with_numbers_that_json_lacks_as_text(api: Api) -> None:
    time = now() - timedelta(minutes=1)
    await insert_metric(api.pool, metric_value=math.nan, labels={"queue": "a"}, timestamp=time)
    await insert_histogram(api.pool, sum=math.inf, value=math.inf, min=-math.inf, timestamp=time + timedelta(seconds=1))
    histogram, gauge = await api.rows("metrics", "metrics")
    assert (histogram["metric_type"], histogram["metric_value"], histogram["count"]) == ("histogram", "Infinity", 4)
    assert (histogram["sum"], histogram["min"], histogram["max"]) == ("Infinity", "-Infinity", None)
    assert (gauge["metric_name"], gauge["metric_value"], gauge["labels"]) == ("queue.length", "NaN", {"queue": "a"})
    assert gauge["timestamp"] == text(time)
    assert UUID(gauge["series_id"]).hex == gauge["series_id"]


async def test_metrics_are_those_of_the_last_hour_unless_a_window_is_given(api: Api) -> None:
    time = now()
    for minutes in (5, 55, 65, 125):
        await insert_metric(api.pool, metric_value=minutes, timestamp=time - timedelta(minutes=minutes))
    await insert_metric(api.pool, metric_value=1, metric_name="other", service_name="payments")

    async def values(**query: Any) -> list[float]:
        return [row["metric_value"] for row in await api.rows("metrics", "metrics", **query)]

    def ago(minutes: float) -> str:
        return text(time - timedelta(minutes=minutes))

    assert await values() == [1, 5, 55]
    assert await values(hours="0.5") == [1, 5]
    assert await values(hours=3, metric="queue.length") == [5, 55, 65, 125]
    assert await values(hours=3, service="payments") == [1]
    assert await values(from_=ago(65), to=ago(5)) == [55, 65]
    assert await values(from_=ago(60), service="orders") == [5, 55]
    assert await values(to=ago(60)) == [65]


async def test_pages_of_metrics_keep_the_window_of_the_first_page(api: Api) -> None:
    time = now() - timedelta(minutes=30)
    for number in range(7):
        await insert_metric(api.pool, metric_value=number, timestamp=time + timedelta(microseconds=number // 2))
    seen, cursor = [], None
    while True:
        # A later page asks for a window in which nothing lies; the cursor's counts.
        query = {"hours": "0.0001", "cursor": cursor} if cursor else {"hours": "1"}
        body = (await api.get("metrics", limit=3, **query)).json()
        seen += [row["metric_value"] for row in body["metrics"]]
        if (cursor := body["next"]) is None:
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]


async def test_health_shows_the_view_by_name(api: Api) -> None:
    await insert_service(api.pool, name="payments", status="offline", last_heartbeat=datetime(2026, 1, 31, tzinfo=UTC))
    await insert_service(api.pool, name="orders", instance_id="1")
    await insert_service(api.pool, name="orders", instance_id="2", version="1.4.3")
    await insert_log(api.pool, log_level="ERROR", trace_id=TRACE)
    orders, payments = await api.rows("health", "services", exact="true")
    assert (orders["service_name"], orders["status"], orders["version"]) == ("orders", "online", "1.4.3")
    assert (orders["active_traces"], orders["error_count_1h"]) == (1, 1)
    assert 0 <= orders["seconds_since_heartbeat"] < 60
    assert payments["last_heartbeat"] == "2026-01-31T00:00:00.000000Z"
    assert (payments["service_name"], payments["status"]) == ("payments", "offline")


async def test_performance_shows_the_view_of_one_service_or_of_all(api: Api) -> None:
    for milliseconds in (10, 20, 30):
        await insert_span(api.pool, milliseconds, operation_name="GET /", duration_ns=milliseconds * 1_000_000)
    await insert_span(api.pool, 1, operation_name="GET /rare", status="error")
    await insert_span(api.pool, 2, service_name="payments")
    await insert_span(api.pool, 3, service_name="payments", start_time=now() - timedelta(hours=2), operation_name="old")
    rows = await api.rows("performance", "operations", exact="true")
    assert [(row["service_name"], row["operation_name"]) for row in rows] == [
        ("orders", "GET /"),
        ("orders", "GET /rare"),
        ("payments", "operation 2"),
    ]
    assert (rows[0]["call_count"], rows[0]["avg_duration_ms"], rows[0]["p50_ms"], rows[0]["error_count"]) == (
        3,
        20,
        20,
        0,
    )
    assert rows[1]["error_count"] == 1
    rows = await api.rows("performance", "operations", service="payments", exact="true")
    assert [row["operation_name"] for row in rows] == ["operation 2"]


async def test_a_trace_is_a_tree_with_self_times_logs_services_and_figures(api: Api) -> None:
    start = now()

    def at(milliseconds: float) -> datetime:
        return start + timedelta(milliseconds=milliseconds)

    resource = uuid4()
    await insert(
        api.pool,
        "otel_resources",
        resource_id=resource,
        service_name="orders",
        attributes={"service.name": "orders", "host.name": "h1"},
    )
    await insert_span(api.pool, 3, 2, start_time=at(15), duration_ns=5_000_000, service_name="payments", status="error")
    await insert_span(api.pool, 4, 1, start_time=at(50), duration_ns=60_000_000)
    await insert_span(api.pool, 2, 1, start_time=at(10), start_ns=500, duration_ns=20_000_000)
    await insert_span(
        api.pool, 1, start_time=start, duration_ns=100_000_000, resource_id=resource, attributes={"k": [True, None]}
    )
    await insert_span(api.pool, 9, trace_id=uuid4())
    await insert_log(api.pool, trace_id=TRACE, span_id=span_id(3), service_name="inventory", message="second")
    await insert_log(api.pool, trace_id=TRACE, timestamp=at(-5000), message="first")
    body = (await api.get(f"trace/{TRACE.hex}")).json()
    assert [(int(s["span_id"], 16), s["depth"], s["self_time_ms"]) for s in body["spans"]] == [
        (1, 0, 30.0),
        (2, 1, 15.0),
        (3, 2, 5.0),
        (4, 1, 60.0),
    ]
    assert body["trace_id"] == TRACE.hex
    assert body["duration_ms"] == 110.0
    assert body["error_count"] == 1
    assert body["services"] == ["inventory", "orders", "payments"]
    assert [row["message"] for row in body["logs"]] == ["first", "second"]
    assert body["resources"] == {resource.hex: {"service.name": "orders", "host.name": "h1"}}
    assert (body["warnings"], body["truncated"]) == ([], False)
    root, second = body["spans"][:2]
    assert root["attributes"] == {"k": [True, None]}
    assert (root["parent_span_id"], second["parent_span_id"]) == (None, "0000000000000001")
    assert second["start_time"] == text(at(10))[:-1] + "500Z"
    assert (second["duration_ns"], second["duration_ms"]) == (20_000_000, 20.0)


@pytest.mark.parametrize("written", [str(TRACE), TRACE.hex.upper(), str(TRACE).upper()])
async def test_a_trace_id_may_be_written_with_dashes_and_in_capitals(api: Api, written: str) -> None:
    await insert_span(api.pool, 1)
    assert (await api.get(f"trace/{written}")).json()["trace_id"] == TRACE.hex


async def test_a_trace_id_of_64_bits_is_found_under_its_16_digits(api: Api) -> None:
    await insert_span(api.pool, 1, trace_id=UUID(int=0xA3CE929D0E0E4736))
    assert (await api.get("trace/a3ce929d0e0e4736")).json()["trace_id"] == "0000000000000000a3ce929d0e0e4736"


async def test_a_trace_of_only_logs_is_a_trace(api: Api) -> None:
    await insert_log(api.pool, trace_id=TRACE)
    body = (await api.get(f"trace/{TRACE}")).json()
    assert (body["spans"], len(body["logs"]), body["services"], body["duration_ms"]) == ([], 1, ["orders"], 0)


async def test_a_trace_whose_parents_go_in_circles_is_answered_with_a_warning(api: Api) -> None:
    await insert_span(api.pool, 1, 2)
    await insert_span(api.pool, 2, 1)
    await insert_span(api.pool, 2, 1)
    await insert_span(api.pool, 3, 3)
    await insert_span(api.pool, 4, 77)
    body = (await api.get(f"trace/{TRACE}")).json()
    assert len(body["spans"]) == 5
    assert len(body["warnings"]) == 4


async def test_spans_filed_under_their_receive_time_stand_in_the_tree_where_their_sender_says(api: Api) -> None:
    await insert_span(api.pool, 1, duration_ns=10_000_000, original_time_unix_nano=1_000_000_000_000)
    await insert_span(api.pool, 2, 1, duration_ns=4_000_000, original_time_unix_nano=1_000_003_000_000)
    body = (await api.get(f"trace/{TRACE}")).json()
    assert body["duration_ms"] == 10.0
    assert [span["self_time_ms"] for span in body["spans"]] == [6.0, 4.0]
    assert body["spans"][0]["original_time_unix_nano"] == "1000000000000"
