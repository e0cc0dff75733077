"""The FastAPI service of `examples/`: its requests, SQL, logs and metrics are in one trace, whether they come by
OTLP or straight into the tables, and a JavaScript service beside it is in it too."""

from __future__ import annotations

import json
import re

import asyncpg
import httpx
import pytest

from tests.acceptance.examples.conftest import Both, Straight
from tests.support.example import EXAMPLES, ROOT
from tests.support.example_orders import FAILED, MISSING, PLACED, Sent

APP = EXAMPLES / "fastapi_orders" / "app.py"
QUICKSTARTS = (ROOT / "docs" / "quickstarts.md").read_text(encoding="utf-8")
CODE = APP.read_text(encoding="utf-8").splitlines()


@pytest.fixture(params=["both", "straight"], ids=["by OTLP", "straight"])
def sent(request: pytest.FixtureRequest) -> Sent:
    """What the service was asked for. It has ended since: all that it recorded has been sent."""
    found: Both | Straight = request.getfixturevalue(request.param)
    return found.sent


def test_the_set_up_of_the_example_is_five_lines() -> None:
    begin = CODE.index("ares_otel.configure(")
    assert CODE.index(")", begin) - begin <= 5
    assert [line for line in CODE if "ares_otel." in line] == ["ares_otel.configure("]


async def test_a_request_its_sql_and_its_log_line_are_one_trace(sent: Sent, api: httpx.AsyncClient) -> None:
    trace = (await api.get(f"/trace/{sent.traces[PLACED]}")).raise_for_status().json()
    server, insert = trace["spans"][:2]
    assert (server["operation_name"], server["kind"], server["parent_span_id"]) == (
        "POST /orders",
        "server",
        sent.parent,
    )
    assert (insert["kind"], insert["parent_span_id"], insert["depth"]) == ("client", server["span_id"], 1)
    assert insert["attributes"]["db.statement"].startswith("INSERT INTO example_orders")
    [line] = trace["logs"]
    assert line["message"].startswith("order ")
    assert line["span_id"] == server["span_id"]
    assert line["source_file"] == str(APP)
    assert CODE[line["source_line"] - 1].lstrip().startswith('log.info("order %d placed"')
    assert (line["metadata"]["symbol"], line["metadata"]["amount"]) == (sent.symbol, 1.5)
    assert trace["error_count"] == 0


async def test_metrics_lead_to_the_trace_of_the_request(
    sent: Sent, api: httpx.AsyncClient, database: asyncpg.Connection
) -> None:
    answer = await api.get("/metrics", params={"service": "orders", "metric": "orders.placed"})
    points = [
        point for point in answer.raise_for_status().json()["metrics"] if point["labels"]["symbol"] == sent.symbol
    ]
    assert [point["metric_value"] for point in points] == [1]
    exemplars = await database.fetchval(
        "SELECT d.exemplars FROM metric_distributions d JOIN metric_series s USING (tenant_id, series_id) "
        "WHERE s.metric_name = 'orders.amount' AND s.labels->>'symbol' = $1",
        sent.symbol,
    )
    [exemplar] = json.loads(exemplars)
    assert exemplar["trace_id"] == sent.traces[PLACED]


async def test_a_request_that_finds_nothing_says_so_in_its_trace(sent: Sent, api: httpx.AsyncClient) -> None:
    trace = (await api.get(f"/trace/{sent.traces[MISSING]}")).raise_for_status().json()
    assert [line["log_level"] for line in trace["logs"]] == ["WARN"]
    assert trace["error_count"] == 0
    assert trace["spans"][0]["attributes"]["http.status_code"] == 404


async def test_an_exception_nobody_handles_is_in_the_trace_with_its_line(sent: Sent, api: httpx.AsyncClient) -> None:
    trace = (await api.get(f"/trace/{sent.traces[FAILED]}")).raise_for_status().json()
    server = trace["spans"][0]
    assert (server["operation_name"], server["status"]) == ("GET /orders/{number}/share", "error")
    [event] = [event for event in server["events"] if event["name"] == "exception"]
    assert event["attributes"]["exception.type"] == "ZeroDivisionError"
    assert "return order.amount / people" in event["attributes"]["exception.stacktrace"]


async def test_what_the_server_says_about_an_exception_is_a_log_record_with_its_stack(
    sent: Sent, api: httpx.AsyncClient
) -> None:
    answer = await api.get("/logs", params={"service": "orders", "level": "ERROR", "q": "Exception in ASGI"})
    for line in answer.raise_for_status().json()["logs"]:
        assert line["metadata"]["exception.type"] == "ZeroDivisionError"
        assert "return order.amount / people" in line["metadata"]["exception.stacktrace"]
        assert line["source_file"].endswith("httptools_impl.py")


async def test_a_javascript_service_and_a_python_one_are_one_trace(straight: Straight, api: httpx.AsyncClient) -> None:
    if straight.checkout is None:
        pytest.skip("the JavaScript example needs node and npm on the PATH, and its packages")
    trace = (await api.get(f"/trace/{straight.checkout}")).raise_for_status().json()
    assert [(span["service_name"], span["kind"], span["depth"]) for span in trace["spans"][:4]] == [
        ("checkout", "server", 0),
        ("checkout", "client", 1),
        ("orders", "server", 2),
        ("orders", "client", 3),
    ]
    assert sorted(trace["services"]) == ["checkout", "orders"]
    assert [(line["service_name"], line["message"].split()[0]) for line in trace["logs"]] == [
        ("orders", "order"),
        ("checkout", "checked"),
    ]


@pytest.mark.parametrize("statement", re.findall(r"<!-- run -->\n```sql\n(.*?)```", QUICKSTARTS, re.DOTALL))
async def test_the_questions_of_the_quickstarts_have_answers(
    statement: str, straight: Straight, database: asyncpg.Connection
) -> None:
    if "checkout" in statement and straight.checkout is None:
        pytest.skip("the JavaScript example needs node and npm on the PATH, and its packages")
    assert await database.fetch(statement)
