"""JSON by hand: what a person can send with curl and nothing else."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
import uuid
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs the curl command")


def curl(url: str, body: bytes, *headers: str) -> tuple[int, str, Any]:
    """Status, content type and parsed body of the answer to a POST."""
    options = [option for header in headers for option in ("-H", header)]
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--data-binary", "@-", *options, "-w", "\n%{http_code} %{content_type}", url],
        input=body,
        capture_output=True,
        check=True,
        timeout=30,
    )
    answer, _, status = done.stdout.decode().rpartition("\n")
    code, _, content_type = status.partition(" ")
    return int(code), content_type, json.loads(answer)


def post(ares: AresProcess, signal: str, body: dict[str, Any]) -> None:
    """Send JSON and expect the answer of full success."""
    url = f"{ares.otlp_http}/v1/{signal}"
    assert curl(url, json.dumps(body).encode(), "Content-Type: application/json") == (200, "application/json", {})


def resource(service: str) -> dict[str, Any]:
    return {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}


def span_request(service: str, trace_id: str) -> dict[str, Any]:
    now = time.time_ns()
    span = {
        "traceId": trace_id,
        "spanId": "00f067aa0ba902b7",
        "name": "by hand",
        "kind": 2,
        "startTimeUnixNano": str(now - 1_500_000),
        "endTimeUnixNano": now,
        "attributes": [{"key": "big", "value": {"intValue": "9007199254740993"}}],
        "status": {"code": 2, "message": "so it goes"},
    }
    return {
        "resourceSpans": [{"resource": resource(service), "scopeSpans": [{"scope": {"name": "curl"}, "spans": [span]}]}]
    }


async def test_a_span_sent_by_curl_is_a_row_and_a_trace(
    ares: AresProcess, database: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    service, trace_id = f"curl-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    post(ares, "traces", span_request(service, trace_id.upper()))
    [row] = await database.fetch("SELECT * FROM v_spans WHERE trace_id = $1", trace_id)
    assert (row["service_name"], row["operation_name"], row["kind"]) == (service, "by hand", "server")
    assert (row["status"], row["status_message"], row["duration_ms"]) == ("error", "so it goes", 1.5)
    assert json.loads(row["attributes"]) == {"big": 9007199254740993}
    trace = (await api.get(f"/trace/{trace_id}")).raise_for_status().json()
    assert [span["span_id"] for span in trace["spans"]] == ["00f067aa0ba902b7"]


async def test_a_log_record_sent_by_curl_is_a_row(ares: AresProcess, database: asyncpg.Connection) -> None:
    service, trace_id = f"curl-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    record = {
        "timeUnixNano": str(time.time_ns()),
        "severityNumber": 21,
        "body": {"stringValue": "hello from a shell"},
        "traceId": trace_id,
        "spanId": "00f067aa0ba902b7",
    }
    scope = {"scope": {}, "logRecords": [record]}
    post(ares, "logs", {"resourceLogs": [{"resource": resource(service), "scopeLogs": [scope]}]})
    [row] = await database.fetch("SELECT * FROM v_logs WHERE service_name = $1", service)
    assert (row["message"], row["log_level"], row["severity_number"]) == ("hello from a shell", "ERROR", 21)
    assert (row["trace_id"], row["span_id"]) == (trace_id, "00f067aa0ba902b7")


async def test_points_sent_by_curl_are_rows_summaries_included(ares: AresProcess, database: asyncpg.Connection) -> None:
    service, now = f"curl-{uuid.uuid4().hex[:8]}", str(time.time_ns())
    summary = {"timeUnixNano": now, "count": "4", "sum": 10, "quantileValues": [{"quantile": 0.5, "value": 2.5}]}
    metrics = [
        {"name": "doors", "gauge": {"dataPoints": [{"timeUnixNano": now, "asInt": "3"}]}},
        {"name": "waits", "unit": "s", "summary": {"dataPoints": [summary]}},
    ]
    scope = {"scope": {"name": "curl"}, "metrics": metrics}
    post(ares, "metrics", {"resourceMetrics": [{"resource": resource(service), "scopeMetrics": [scope]}]})
    rows = await database.fetch(
        "SELECT metric_name, metric_type, metric_value FROM service_metrics WHERE service_name = $1 ORDER BY 1", service
    )
    assert [tuple(row) for row in rows] == [("doors", "gauge", 3), ("waits", "summary", 2.5)]


async def test_gzip_by_curl_is_taken(ares: AresProcess, database: asyncpg.Connection) -> None:
    service, trace_id = f"curl-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    body = gzip.compress(json.dumps(span_request(service, trace_id)).encode())
    code, _, answer = curl(
        f"{ares.otlp_http}/v1/traces", body, "Content-Type: application/json; charset=utf-8", "Content-Encoding: gzip"
    )
    assert (code, answer) == (200, {})
    assert await database.fetchval("SELECT count(*) FROM service_spans WHERE service_name = $1", service) == 1


def test_a_mistake_in_the_json_is_answered_with_a_sentence(ares: AresProcess) -> None:
    code, content_type, answer = curl(
        f"{ares.otlp_http}/v1/traces", b'{"resourceSpans": [', "Content-Type: application/json"
    )
    assert (code, content_type) == (400, "application/json")
    assert answer["message"]
