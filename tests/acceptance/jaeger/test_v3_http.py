"""Jaeger's API v3 over HTTP, below `/jaeger` of the API and at the root of a port of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.adjust import WARNINGS
from ares_otel.model.otlp_json_decode import decode
from tests.support.ares_process import AresProcess
from tests.support.jaeger_shop import (
    CHECKOUT,
    LARGE,
    LARGE_SPANS,
    MS,
    RESTOCK,
    SHORT,
    SKEWED,
    Shop,
    in_order,
    spans_of,
)

FILTER = {"op": "eq", "args": [{"attr": {"key": "customer"}}, {"scalar": {"value": "Ada & Söhne"}}]}


@pytest.fixture
async def v3(ares: AresProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{ares.http}/jaeger/api/v3", trust_env=False, timeout=30) as client:
        yield client


def search(shop: Shop, **values: str) -> dict[str, str]:
    """Parameters of a search."""
    times = {"start_time_min": shop.text(-1), "start_time_max": shop.text(100)}
    return {f"query.{name}": value for name, value in (times | values).items()}


def traces(answer: httpx.Response) -> TracesData:
    """What an answer holds: one object with one result, in OTLP's JSON."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert content.keys() == {"result"}
    return decode(json.dumps(content["result"]).encode(), TracesData)


def ids(answer: httpx.Response) -> list[bytes]:
    """Traces in the order in which they come."""
    return list(dict.fromkeys(span.trace_id for span in spans_of([traces(answer)])))


def error(answer: httpx.Response, status: int, code: int) -> str:
    """The message of an error, whose body has to have this shape and nothing else."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert content == {
        "error": {
            "grpcCode": code,
            "httpCode": status,
            "message": content["error"]["message"],
            "httpStatus": HTTPStatus(status).phrase,
        }
    }
    message: str = content["error"]["message"]
    assert message.endswith((".", "?"))
    return message


async def test_a_trace_is_one_result_in_otlps_json(v3: httpx.AsyncClient, shop: Shop) -> None:
    answer = await v3.get(f"/traces/{CHECKOUT.hex()}", params={"raw_traces": "true"})
    sent = spans_of([TracesData(resource_spans=shop.checkout())])
    assert in_order(spans_of([traces(answer)])) == in_order(sent)
    spans = {
        span["name"]: span
        for each in answer.json()["result"]["resourceSpans"]
        for scope in each["scopeSpans"]
        for span in scope["spans"]
    }
    root = spans["POST /checkout"]
    assert root["traceId"] == CHECKOUT.hex()
    assert root["spanId"] == "0000000000000001"
    assert root["kind"] == 2
    assert root["startTimeUnixNano"] == str(shop.begin)
    assert spans["take order"]["status"] == {"code": 2, "message": "out of stock"}
    assert {"key": "http.response.status_code", "value": {"intValue": "500"}} in root["attributes"]
    assert {"key": "key", "value": {"bytesValue": "AP8="}} in spans["POST /orders"]["attributes"]


async def test_the_same_is_at_the_root_of_a_port_of_its_own(
    ares: AresProcess, v3: httpx.AsyncClient, shop: Shop
) -> None:
    path = f"/traces/{CHECKOUT.hex()}"
    async with httpx.AsyncClient(base_url=f"{ares.doors['jaeger-http']}/api/v3", trust_env=False) as door:
        assert traces(await door.get(path)) == traces(await v3.get(path))
        error(await door.get("/nothing"), 404, 5)


async def test_raw_traces_switches_the_adjustment_of_clocks_off(v3: httpx.AsyncClient, shop: Shop) -> None:
    for path, name in ((f"/traces/{SKEWED.hex()}", "raw_traces"), ("/traces", "query.raw_traces")):
        found = {}
        for raw in ("false", "true"):
            parameters = {name: raw} | (search(shop, service_name="late") if path == "/traces" else {})
            spans = spans_of([traces(await v3.get(path, params=parameters))])
            found[raw] = [pair for span in spans for pair in span.attributes if pair.key == WARNINGS]
        assert found["false"]
        assert not found["true"]


async def test_a_large_trace_is_one_object_too(v3: httpx.AsyncClient, shop: Shop) -> None:
    answer = await v3.get(f"/traces/{LARGE.hex()}")
    assert len(spans_of([traces(answer)])) == LARGE_SPANS
    assert "content-length" not in answer.headers, "it is sent while it is read"


async def test_an_unknown_trace_is_404_and_an_id_that_is_none_400(v3: httpx.AsyncClient, shop: Shop) -> None:
    assert error(await v3.get(f"/traces/{'77' * 16}"), 404, 5) == f"There is no trace {'77' * 16}."
    assert "trace_id" in error(await v3.get("/traces/xyz"), 400, 3)
    assert ids(await v3.get("/traces/a3ce929d0e0e4736")) == [SHORT]


async def test_an_id_may_be_base64_with_slashes(v3: httpx.AsyncClient, shop: Shop) -> None:
    trace_id = bytes.fromhex("ff" * 12 + "fbefbefe")
    text = base64.b64encode(trace_id).decode()
    assert "/" in text
    assert "+" in text
    for path in (quote(text, safe=""), text, text.rstrip("=")):
        assert error(await v3.get(f"/traces/{path}"), 404, 5) == f"There is no trace {trace_id.hex()}."
    assert ids(await v3.get(f"/traces/{base64.b64encode(SHORT[8:]).decode()}")) == [SHORT]


async def test_a_range_says_where_a_trace_is_looked_for(v3: httpx.AsyncClient, shop: Shop) -> None:
    path = f"/traces/{CHECKOUT.hex()}"
    assert ids(await v3.get(path, params={"start_time": shop.text(-1), "endTime": shop.text(1)})) == [CHECKOUT]
    error(await v3.get(path, params={"startTime": shop.text(10), "end_time": shop.text(20)}), 404, 5)
    assert "start_time" in error(await v3.get(path, params={"start_time": "today"}), 400, 3)


async def test_a_search_gives_the_most_recent_first(v3: httpx.AsyncClient, shop: Shop) -> None:
    everything = search(shop, raw_traces="true")
    assert ids(await v3.get("/traces", params=everything)) == [SKEWED, LARGE, SHORT, RESTOCK, CHECKOUT]
    assert ids(await v3.get("/traces", params=search(shop, search_depth="2"))) == [SKEWED, LARGE]
    assert ids(await v3.get("/traces", params=search(shop, num_traces="2", rawTraces="1"))) == [SKEWED, LARGE]


async def test_times_are_taken_to_the_nanosecond_min_inclusive_max_exclusive(v3: httpx.AsyncClient, shop: Shop) -> None:
    async def between(first: str, last: str) -> list[bytes]:
        times = {"start_time_min": first, "start_time_max": last}
        return ids(await v3.get("/traces", params=search(shop, service_name="cart", **times)))

    assert await between(shop.text(8), shop.text(8, 1)) == [SHORT]
    assert await between(shop.text(8, 1), shop.text(9)) == []
    assert await between(shop.text(7), shop.text(8)) == []


@pytest.mark.parametrize("missing", ["start_time_min", "start_time_max"])
@pytest.mark.parametrize("path", ["/traces", "/trace-summaries"])
async def test_both_bounds_are_required(v3: httpx.AsyncClient, shop: Shop, path: str, missing: str) -> None:
    parameters = search(shop)
    del parameters[f"query.{missing}"]
    assert error(await v3.get(path, params=parameters), 400, 3).startswith(f"query.{missing} is required")


async def test_durations_are_in_gos_form(v3: httpx.AsyncClient, shop: Shop) -> None:
    assert ids(await v3.get("/traces", params=search(shop, duration_min="0.4s"))) == [CHECKOUT]
    assert ids(await v3.get("/traces", params=search(shop, duration_min="400ms1ns"))) == []
    assert ids(await v3.get("/traces", params=search(shop, service_name="cart", durationMax="1000us"))) == [SHORT]


async def test_attributes_are_a_json_map_in_the_address_whatever_their_values_hold(
    v3: httpx.AsyncClient, shop: Shop
) -> None:
    wanted = quote(json.dumps({"customer": "Ada & Söhne", "http.response.status_code": "500"}, ensure_ascii=False))
    address = httpx.QueryParams(search(shop))
    assert ids(await v3.get(f"/traces?{address}&query.attributes={wanted}")) == [CHECKOUT]
    assert ids(await v3.get("/traces", params=search(shop, attributes='{"error":"true"}'))) == [CHECKOUT]


async def test_a_search_may_be_posted_as_json_with_its_filter(v3: httpx.AsyncClient, shop: Shop) -> None:
    times = {"start_time_min": shop.text(-1), "startTimeMax": shop.text(100)}
    assert ids(await v3.post("/traces", json={"query": {**times, "filter": FILTER}})) == [CHECKOUT]
    assert ids(await v3.get("/traces", params=search(shop, filter=json.dumps(FILTER)))) == [CHECKOUT]
    body = {"query": {**times, "serviceName": "stock", "attributes": {"span.kind": "consumer"}, "searchDepth": 5}}
    assert ids(await v3.post("/traces", json=body)) == [RESTOCK]
    [summary] = (await v3.post("/trace-summaries", json={"query": {**times, "filter": FILTER}})).json()["summaries"]
    assert summary["traceId"] == CHECKOUT.hex()


async def test_nothing_found_is_an_empty_result(v3: httpx.AsyncClient, shop: Shop) -> None:
    parameters = search(shop, service_name="nobody")
    assert (await v3.get("/traces", params=parameters)).json() == {"result": {"resourceSpans": []}}
    assert (await v3.get("/trace-summaries", params=parameters)).json() == {"summaries": []}
    assert (await v3.get("/operations?service=nobody")).json() == {"operations": []}


async def test_a_summary_has_every_field(v3: httpx.AsyncClient, shop: Shop) -> None:
    answer = await v3.get("/trace-summaries", params=search(shop, serviceName="cart"))
    assert answer.json() == {
        "summaries": [
            {
                "traceId": SHORT.hex(),
                "rootServiceName": "cart",
                "rootOperationName": "remember",
                "minStartTimeUnixNano": str(shop.begin + 8_000 * MS),
                "maxEndTimeUnixNano": str(shop.begin + 8_001 * MS),
                "spanCount": 1,
                "errorSpanCount": 0,
                "orphanSpanCount": 0,
                "services": [{"name": "cart", "spanCount": 1, "errorSpanCount": 0}],
            }
        ]
    }


async def test_services_and_operations_are_lists(v3: httpx.AsyncClient, shop: Shop) -> None:
    assert {"frontend", "orders"} <= set((await v3.get("/services")).json()["services"])
    expected = {"operations": [{"name": "POST /orders", "spanKind": "client"}]}
    assert (await v3.get("/operations?service=frontend&span_kind=client")).json() == expected
    assert (await v3.get("/operations?service=frontend&spanKind=client")).json() == expected
    assert "service" in error(await v3.get("/operations"), 400, 3)
    assert "span_kind" in error(await v3.get("/operations?service=frontend&spanKind=x"), 400, 3)


async def test_dependencies_take_a_range(v3: httpx.AsyncClient, shop: Shop) -> None:
    parameters = {"start_time": shop.text(-7200), "end_time": shop.text(-3600)}
    assert (await v3.get("/dependencies", params=parameters)).json() == {"dependencies": []}
    assert "start_time" in error(await v3.get("/dependencies"), 400, 3)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, 5),
        ("GET", "/traces/a/b", None, 404, 5),
        ("DELETE", "/traces", None, 405, 12),
        ("POST", "/services", None, 405, 12),
        ("GET", "/services?x=1", None, 400, 3),
        ("GET", "/traces?query.service=x", None, 400, 3),
        ("GET", "/traces/77?raw=true", None, 400, 3),
        ("POST", "/traces?query.service_name=x", b"{}", 400, 3),
        ("POST", "/traces", b"not JSON", 400, 3),
        ("POST", "/traces", b'{"query":{"unknown":1}}', 400, 3),
        ("POST", "/traces", b" " * (1024 * 1024 + 1), 413, 8),
        ("GET", "/traces?query.filter=" + "x" * 9000, None, 414, 8),
    ],
)
async def test_every_error_has_the_shape_of_the_gateway(
    v3: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int, code: int
) -> None:
    error(await v3.request(method, path, content=body), status, code)


async def test_filters_that_cannot_be_served_are_refused(v3: httpx.AsyncClient, shop: Shop) -> None:
    def refused(filter: Any) -> dict[str, str]:
        return search(shop, filter=json.dumps(filter))

    for wrong in (
        {"op": "like", "args": FILTER["args"]},
        {"op": "eq", "args": []},
        {"op": "regex", "args": [{"attr": {"key": "a"}}, {"scalar": {"value": "("}}]},
        {"op": "eq", "args": [{"attr": {"key": "a", "level": "galaxy"}}, {"scalar": {"value": "1"}}]},
    ):
        error(await v3.get("/traces", params=refused(wrong)), 400, 3)
    both = search(shop, filter=json.dumps(FILTER), service_name="frontend")
    assert "exclude each other" in error(await v3.get("/traces", params=both), 400, 3)


async def test_a_head_request_is_answered_without_a_body(v3: httpx.AsyncClient, shop: Shop) -> None:
    answer = await v3.head(f"/traces/{LARGE.hex()}")
    assert (answer.status_code, answer.content) == (200, b"")
