"""Jaeger's HTTP API of version 1: searches, what is answered from roll-ups, and what its clients send."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ares_otel.api.jaeger.v1_metrics import render_family
from ares_otel.query.spm import Point, Series, SpanMetrics
from tests.support.jaeger_http import JaegerHttp, envelope_of, jaeger_http, tags_of
from tests.support.jaeger_traces import MS, NOW, TRACE_ID, here, of, sid, trace
from tests.support.otlp_samples import pairs
from tests.support.rollups import run_once

SECOND = 1_000_000
"""Microseconds."""


@pytest.fixture
async def api(emptied_database_url: str) -> AsyncIterator[JaegerHttp]:
    async with jaeger_http(emptied_database_url) as made:
        yield made


async def test_every_parameter_of_a_search_selects_traces_and_the_newest_come_first(api: JaegerHttp) -> None:
    await api.send(
        trace(
            {
                "orders": [
                    here(1, at=-40_000, ms=900, name="slow", kind="server", trace_id=of(1 << 90)),
                    here(
                        2, at=-30_000, ms=20, name="quick", trace_id=of(2 << 90), attributes={"code": 500, "a": "x:y"}
                    ),
                    here(
                        3, at=-20_000, ms=20, name="other", trace_id=of(3 << 90), attributes={"code": 200, "on": True}
                    ),
                ],
                "mail": [here(4, at=-10_000, ms=100, name="send", trace_id=of(4 << 90), attributes={"code": "500"})],
            }
        )
    )
    assert await api.names() == ["send", "other", "quick", "slow"], "any service"
    assert await api.names(service="orders") == ["other", "quick", "slow"]
    assert await api.names(service="orders", operation="quick") == ["quick"]
    assert await api.names(service="nobody") == []
    assert await api.names(tag="code:500") == ["send", "quick"], "a text also finds a number that is written so"
    assert await api.names(tag=["code:500", "a:x:y"]) == ["quick"]
    assert await api.names(tags=json.dumps({"code": "500"}), service="mail") == ["send"]
    assert await api.names(tags=json.dumps({"code": 500, "a": "x:y"})) == ["quick"]
    assert await api.names(tags=json.dumps({"on": "true"})) == ["other"]
    assert await api.names(tag="span.kind:server") == ["slow"]
    assert await api.names(minDuration="100ms") == ["send", "slow"]
    assert await api.names(minDuration="100ms", maxDuration="0.5s") == ["send"]
    assert await api.names(maxDuration="20ms", minDuration="") == ["other", "quick"]
    assert await api.names(limit=2) == ["send", "other"]
    start = NOW // 1000
    assert await api.names(start=start - 30 * SECOND) == ["send", "other", "quick"]
    assert await api.names(end=start - 30 * SECOND) == ["quick", "slow"], "the end is meant with its whole microsecond"
    assert await api.names(start=start - 30 * SECOND, end=start - 20 * SECOND) == ["other", "quick"]
    assert await api.names(lookback="25s", end=start) == ["send", "other"]
    assert await api.names(lookback="2d", end=start, start=start - 15 * SECOND) == ["send"], "the start goes first"


async def test_a_search_gives_whole_traces_with_the_limit_in_the_envelope(api: JaegerHttp) -> None:
    await api.send(trace({"web": [here(1, name="page", ms=100)], "orders": [here(2, 1, -59_990, name="serve")]}))
    body = envelope_of(await api.get("traces", service="orders", limit=7), 200)
    assert (body["total"], body["limit"], body["errors"]) == (1, 7, None)
    assert [one["operationName"] for one in body["data"][0]["spans"]] == ["page", "serve"]
    body = envelope_of(await api.get("traces", service="nobody"), 200)
    assert (body["data"], body["total"], body["limit"]) == ([], 0, 100)


async def test_attributes_are_searched_wherever_jaeger_shows_them(api: JaegerHttp) -> None:
    one = here(1, name="one")
    one.events.add(name="boom", attributes=pairs({"in.event": "1"}))
    one.links.add(trace_id=of(5), span_id=sid(5), attributes=pairs({"in.link": "1"}))
    one.status.code = Status.STATUS_CODE_ERROR
    data = trace({"web": [one, here(2, trace_id=of(9 << 80), name="two")]})
    data.resource_spans[0].scope_spans[0].scope.name = "the.scope"
    data.resource_spans[0].resource.attributes.extend(pairs({"in.resource": "1"}))
    await api.send(data)
    for tag in ("in.event:1", "in.link:1", "error:true", "otel.status_code:ERROR"):
        assert await api.names(tag=tag) == ["one"], tag
    for tag in ("in.resource:1", "otel.scope.name:the.scope"):
        assert sorted(await api.names(tag=tag)) == ["one", "two"], tag
    assert await api.names(tag="error:false") == ["two"]


async def test_reserved_characters_in_tag_values_are_found_and_shown_as_they_are(api: JaegerHttp) -> None:
    values = [
        "a&b=c",
        "50%",
        "a+b c",
        'he said "no"',
        "back\\slash",
        "ü→💥",
        "a:b:c",
        "{}",
        "'; DROP TABLE x; --",
        "%",
        "_",
    ]
    spans = [
        here(n, name=f"op {text}", trace_id=of(n << 90), attributes={"k": text}) for n, text in enumerate(values, 1)
    ]
    await api.send(trace({"a/b c": spans}))
    for value in values:
        for query in ({"tag": f"k:{value}"}, {"tags": json.dumps({"k": value})}, {"operation": f"op {value}"}):
            [found] = await api.data("traces", service="a/b c", **query)
            assert tags_of(found["spans"][0])["k"] == value
    assert await api.data("traces", tag="k:something else") == []


async def test_links_lead_into_other_traces(api: JaegerHttp) -> None:
    linking = here(1, name="consumer", kind="consumer")
    linking.links.add(trace_id=of(2 << 100), span_id=sid(2))
    await api.send(trace({"web": [linking, here(2, trace_id=of(2 << 100), name="producer", kind="producer")]}))
    [found] = await api.data("traces", operation="consumer")
    [reference] = found["spans"][0]["references"]
    assert reference["refType"] == "FOLLOWS_FROM"
    [other] = await api.data(f"traces/{reference['traceID']}")
    assert other["spans"][0]["spanID"] == reference["spanID"]


async def test_what_grafana_and_jaegers_pages_send_is_understood(api: JaegerHttp) -> None:
    await api.send(trace({"orders": [here(1, name="op", attributes={"http.status_code": 200})]}))
    end = NOW // 1000 + 60 * SECOND
    queries: list[dict[str, Any]] = [
        # Jaeger's pages before version 2.
        {
            "end": end,
            "limit": 20,
            "lookback": "1h",
            "maxDuration": "",
            "minDuration": "",
            "operation": "op",
            "service": "orders",
            "start": end - 3600 * SECOND,
            "tags": '{"http.status_code":"200"}',
        },
        {"end": end, "limit": 1500, "lookback": "custom", "service": "orders", "start": 0, "maxDuration": "1s"},
        {"end": end, "lookback": "2d", "service": "orders", "start": end - 172_800 * SECOND, "view": "graph"},
        # Grafana's data source.
        {"service": "orders", "start": end - 3600 * SECOND, "end": end, "limit": "20", "operation": ""},
        {"traceID": [TRACE_ID.hex(), TRACE_ID.hex()], "prettyPrint": "true"},
    ]
    for query in queries:
        assert await api.names(**query) == ["op"], query
    for pretty, indented in (("true", True), ("1", True), ("false", False), ("", False)):
        answer = await api.get("traces", service="orders", prettyPrint=pretty)
        assert (b"\n  " in answer.content) is indented
    head = await api.client.head("/api/traces?service=orders")
    assert (head.status_code, head.content) == (200, b"")


async def test_calls_between_services_are_told(database_url: str) -> None:
    async with jaeger_http(database_url) as api:
        await api.send(
            trace(
                {
                    "web": [here(1, at=-180_000, kind="client"), here(2, at=-180_000, kind="client")],
                    "orders": [here(3, 1, -180_000, kind="server"), here(4, 2, -180_000, kind="server")],
                    "stock": [here(5, 4, -180_000, kind="server")],
                }
            )
        )
        await run_once(partial(asyncpg.connect, database_url))
        body = envelope_of(await api.get("dependencies"), 200)
        assert sorted(body["data"], key=lambda one: str(one["parent"])) == [
            {"parent": "orders", "child": "stock", "callCount": 1},
            {"parent": "web", "child": "orders", "callCount": 2},
        ]
        assert body["total"] == 2
        assert [one["child"] for one in await api.data("dependencies", service="web")] == ["orders"]
        end = NOW // MS
        assert len(await api.data("dependencies", endTs=end, lookback=3_600_000)) == 2
        assert await api.data("dependencies", endTs=end - 3_600_000, lookback=3_600_000) == []


async def test_metrics_of_spans_are_a_metric_family(database_url: str) -> None:
    async with jaeger_http(database_url) as api:
        calls = [here(number, at=-180_000, ms=100, kind="server", name="GET /") for number in range(1, 5)]
        calls[0].status.code = Status.STATUS_CODE_ERROR
        await api.send(trace({"orders": [*calls, here(9, at=-180_000, kind="client")]}))
        await run_once(partial(asyncpg.connect, database_url))
        query = {"service": "orders", "endTs": NOW // MS, "lookback": 600_000, "step": 60_000, "ratePer": 600_000}
        for kind, name, least, most in (
            ("latencies", "latencies", 99, 101),
            ("calls", "call_rate", 0.0001, 1),
            ("errors", "error_rate", 0.25, 0.25),
        ):
            answer = await api.get(f"metrics/{kind}", quantile="0.95", groupByOperation="true", **query)
            assert answer.status_code == 200, answer.text
            family = answer.json()
            assert set(family) == {"name", "type", "help", "metrics"}
            assert name in family["name"]
            assert family["type"] == "GAUGE"
            [series] = family["metrics"]
            assert {one["name"]: one["value"] for one in series["labels"]} == {
                "service_name": "orders",
                "operation": "GET /",
            }
            values = [point["gaugeValue"]["doubleValue"] for point in series["metricPoints"]]
            assert least <= max(value for value in values if value != "NaN") <= most, kind
        body = envelope_of(await api.get("metrics/minstep"), 200)
        assert (body["data"], body["total"]) == (60_000, 0)
        [told] = envelope_of(await api.get("metrics/calls", **{**query, "lookback": 10**11}), 400)["errors"]
        assert "lookback" in told["msg"]


def test_a_metric_family_is_what_protobufs_json_makes_of_one() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = SpanMetrics("calls", "of all", [Series({"service_name": "a"}, [Point(at, math.nan), Point(at, 0.5)])])
    assert render_family(found) == {
        "name": "calls",
        "type": "GAUGE",
        "help": "of all",
        "metrics": [
            {
                "labels": [{"name": "service_name", "value": "a"}],
                "metricPoints": [
                    {"gaugeValue": {"doubleValue": "NaN"}, "timestamp": "2026-01-31T12:00:00.000000Z"},
                    {"gaugeValue": {"doubleValue": 0.5}, "timestamp": "2026-01-31T12:00:00.000000Z"},
                ],
            }
        ],
    }
