"""The official JavaScript SDK, with protobuf and with JSON: another language, another encoder, the same rows."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Literal

import asyncpg
import httpx
import pytest

from tests.support import javascript
from tests.support.ares_process import AresProcess
from tests.support.encoders import left_to_the_reference


@dataclass(frozen=True, slots=True)
class Sent:
    """The service's name and the ids of what the client sent."""

    service: str
    ids: javascript.Sent


@pytest.fixture(scope="module", params=["proto", "json"])
def sent(request: pytest.FixtureRequest, ares: AresProcess) -> Sent:
    try:
        folder = javascript.install()
    except javascript.UnavailableError as error:
        pytest.skip(str(error))
    encoding: Literal["proto", "json"] = request.param
    service = f"javascript-{uuid.uuid4().hex[:12]}"
    return Sent(service, javascript.send(folder, otlp_http=ares.otlp_http, encoding=encoding, service=service))


async def test_spans_of_the_javascript_sdk_are_rows(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch("SELECT * FROM v_spans WHERE service_name = $1", sent.service)
    by_name = {row["operation_name"]: row for row in rows}
    parent, child = by_name["js parent"], by_name["js child"]
    assert len(rows) == 2
    assert (parent["trace_id"], parent["span_id"], parent["parent_span_id"]) == (
        sent.ids.trace_id,
        sent.ids.parent,
        None,
    )
    assert (child["span_id"], child["parent_span_id"]) == (sent.ids.child, sent.ids.parent)
    assert (parent["kind"], child["kind"]) == ("server", "client")
    assert (child["status"], child["status_message"]) == ("error", "failed on purpose")
    assert json.loads(parent["attributes"]) == {
        "text": "grüße 🚀",
        "integer": 42,
        "double": 2.5,
        "yes": True,
        "list": ["a", "b"],
    }
    assert [event["name"] for event in json.loads(parent["events"])] == ["js event"]
    [exception] = json.loads(child["events"])
    assert exception["attributes"]["exception.type"] == "TypeError"
    [link] = json.loads(child["links"])
    assert (link["trace_id"], link["span_id"]) == (sent.ids.trace_id, sent.ids.parent)
    resource = json.loads(parent["resource_attributes"])
    assert resource["service.version"] == "7.8.9"
    assert (parent["scope_name"], parent["scope_version"]) == ("js-client", "0.1.0")


async def test_log_records_of_the_javascript_sdk_are_rows(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch("SELECT * FROM v_logs WHERE service_name = $1 ORDER BY severity_number", sent.service)
    structured, text = rows
    assert (text["message"], text["log_level"], text["severity_number"], text["severity_text"]) == (
        "log line of the child",
        "WARN",
        14,
        "WARN2",
    )
    assert (text["trace_id"], text["span_id"]) == (sent.ids.trace_id, sent.ids.child)
    assert (text["source_file"], text["source_line"]) == ("client.mjs", 7)
    assert json.loads(text["metadata"])["nested"] == {"deep": [1, "two"]}
    assert json.loads(structured["body"]) == {"structured": True, "items": [1, 2]}
    assert structured["span_id"] == sent.ids.parent


async def test_points_of_the_javascript_sdk_are_rows(sent: Sent, database: asyncpg.Connection) -> None:
    rows = await database.fetch("SELECT * FROM service_metrics WHERE service_name = $1", sent.service)
    found = {row["metric_name"]: (row["metric_type"], row["metric_value"]) for row in rows}
    assert {name: kind for name, kind in found.items() if name.startswith("js.")} == {
        "js.requests": ("counter", 3),
        "js.queue": ("updowncounter", -2),
        "js.temperature": ("gauge", 21.5),
        "js.observed": ("gauge", 7),
        "js.latency.explicit": ("histogram", 555.5 / 4),
        "js.latency.exponential": ("exponential_histogram", 555.5 / 4),
    }
    explicit = await database.fetchrow(
        "SELECT d.* FROM metric_distributions d JOIN metric_series s USING (tenant_id, series_id) "
        "WHERE s.service_name = $1 AND s.metric_name = 'js.latency.explicit'",
        sent.service,
    )
    assert list(explicit["explicit_bounds"]) == [1, 10, 100]
    assert list(explicit["bucket_counts"]) == [1, 1, 1, 1]


async def test_the_endpoints_show_what_the_javascript_sdk_sent(sent: Sent, api: httpx.AsyncClient) -> None:
    trace = (await api.get(f"/trace/{sent.ids.trace_id}")).raise_for_status().json()
    assert [(span["operation_name"], span["depth"]) for span in trace["spans"]] == [("js parent", 0), ("js child", 1)]
    assert len(trace["logs"]) == 2
    assert trace["error_count"] == 1


def test_what_the_javascript_sdk_sends_is_encoded_natively(sent: Sent, ares: AresProcess) -> None:
    assert left_to_the_reference(httpx.get(f"{ares.http}/metrics").text) == {}
