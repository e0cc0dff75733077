"""Jaeger's HTTP API of version 1 over stored spans: traces by id and by search, and what its clients send."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.api.jaeger import trace_reading
from ares_otel.api.jaeger.adjust import TOO_LARGE
from ares_otel.api.jaeger.v1_metrics import render_family
from ares_otel.model.otlp_json import encode_json
from ares_otel.query.spm import Point, Series, SpanMetrics
from tests.support.jaeger_http import JaegerHttp, envelope_of, jaeger_http, tags_of
from tests.support.jaeger_traces import MS, TRACE_ID, sid, span, trace
from tests.support.otlp_samples import pairs
from tests.support.ports import free_port
from tests.support.rollups import run_once

UNKNOWN = "0123456789abcdef0123456789abcdef"
NOW = time.time_ns() // 1_000_000_000 * 1_000_000_000
SECOND = 1_000_000
"""Microseconds."""


@pytest.fixture
async def api(emptied_database_url: str) -> AsyncIterator[JaegerHttp]:
    async with jaeger_http(emptied_database_url) as made:
        yield made


def here(number: int, parent: int = 0, at: int = -60_000, ms: int = 10, **options: Any) -> Span:
    """A span that started `at` milliseconds from now."""
    return span(number, parent, at, ms, base=NOW, **options)


def of(number: int) -> bytes:
    """A trace id."""
    return number.to_bytes(16, "big")


# --- one trace --------------------------------------------------------------------------------------------------------


async def test_a_trace_comes_in_the_envelope_with_spans_tags_logs_references_and_processes(api: JaegerHttp) -> None:
    root = here(1, kind="client", name="checkout", ms=200)
    served = here(2, 1, -59_990, 100, kind="server", name="POST /orders", attributes={"http.status": 500, "ok": False})
    served.status.code, served.status.message = Status.STATUS_CODE_ERROR, "out of stock"
    served.trace_state = "vendor=1"
    served.events.add(name="retry", time_unix_nano=NOW - 59_950 * MS, attributes=pairs({"n": 2}))
    served.links.add(trace_id=bytes.fromhex(UNKNOWN), span_id=sid(7))
    data = trace({"web": [root], "orders": [served]})
    scope = data.resource_spans[1].scope_spans[0].scope
    scope.name, scope.version = "http", "2.1"
    await api.send(data)
    body = envelope_of(await api.get(f"traces/{TRACE_ID.hex()}"), 200)
    assert (body["total"], body["limit"], body["offset"], body["errors"]) == (1, 0, 0, None)
    [found] = body["data"]
    assert set(found) == {"traceID", "spans", "processes", "warnings"}
    assert found["traceID"] == TRACE_ID.hex()
    assert {key: one["serviceName"] for key, one in found["processes"].items()} == {"p1": "web", "p2": "orders"}
    first, second = found["spans"]
    assert (first["operationName"], first["references"], first["processID"]) == ("checkout", [], "p1")
    assert first["startTime"] == (NOW - 60_000 * MS) // 1000
    assert first["duration"] == 200_000
    assert second["references"] == [
        {"refType": "CHILD_OF", "traceID": TRACE_ID.hex(), "spanID": "0000000000000001"},
        {"refType": "FOLLOWS_FROM", "traceID": UNKNOWN, "spanID": "0000000000000007"},
    ]
    assert tags_of(second) == {
        "otel.scope.name": "http",
        "otel.scope.version": "2.1",
        "http.status": 500,
        "ok": False,
        "span.kind": "server",
        "otel.status_code": "ERROR",
        "error": True,
        "otel.status_description": "out of stock",
        "w3c.tracestate": "vendor=1",
    }
    assert second["logs"] == [
        {
            "timestamp": (NOW - 59_950 * MS) // 1000,
            "fields": [
                {"key": "event", "type": "string", "value": "retry"},
                {"key": "n", "type": "int64", "value": 2},
            ],
        }
    ]
    assert second["warnings"] is None


async def test_a_trace_is_found_by_every_way_to_write_its_id(api: JaegerHttp) -> None:
    await api.send(trace({"web": [here(1)]}))
    hexadecimal = [TRACE_ID.hex(), TRACE_ID.hex().upper(), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", f"{TRACE_ID.hex()}/"]
    for written in (*hexadecimal, "S/kvNXezTaajzpKdDg5HNg==", "S%2FkvNXezTaajzpKdDg5HNg%3D%3D"):
        assert [one["traceID"] for one in await api.data(f"traces/{written}")] == [TRACE_ID.hex()]


async def test_an_id_of_64_bits_is_found_with_and_without_leading_zeros(api: JaegerHttp) -> None:
    await api.send(trace({"web": [here(1, trace_id=of(0xA3CE929D0E0E4736))]}))
    for written in ("a3ce929d0e0e4736", "0000000000000000a3ce929d0e0e4736", "o86SnQ4ORzY="):
        [found] = await api.data(f"traces/{written}")
        assert found["traceID"] == found["spans"][0]["traceID"] == "a3ce929d0e0e4736"
        assert await api.data("traces", traceID=written) == [found]


async def test_an_unknown_trace_is_404_in_the_envelope(api: JaegerHttp) -> None:
    for written in (UNKNOWN, "77"):
        assert envelope_of(await api.get(f"traces/{written}"), 404)["errors"][0]["msg"] == "trace not found"


async def test_a_trace_is_shown_as_it_is_stored_with_raw_and_adjusted_without(api: JaegerHttp) -> None:
    data = trace(
        {"web": [here(1, at=-60_000, ms=100, kind="client")], "orders": [here(2, 1, -60_050, 20, kind="server")]}
    )
    await api.send(data)
    [adjusted] = await api.data(f"traces/{TRACE_ID.hex()}")
    [raw] = await api.data(f"traces/{TRACE_ID.hex()}", raw="true")
    by_id = {one["spanID"][-1]: one for one in adjusted["spans"]}
    assert by_id["2"]["startTime"] - by_id["1"]["startTime"] == 40_000
    assert by_id["2"]["warnings"] == ["Clock skew: the span and its events were moved by 90ms."]
    assert all("@jaeger@warnings" not in tags_of(one) for one in adjusted["spans"])
    by_id = {one["spanID"][-1]: one for one in raw["spans"]}
    assert by_id["2"]["startTime"] - by_id["1"]["startTime"] == -50_000
    assert by_id["2"]["warnings"] is None
    [again] = await api.data("traces", service="orders", raw="true")
    assert again == raw
    assert await api.data("traces", traceID=TRACE_ID.hex()) == [adjusted]


async def test_odd_traces_are_shown_whole_with_warnings(api: JaegerHttp) -> None:
    spans = [
        *(here(1, 1, name="self"), here(2, 3, name="cycle a"), here(3, 2, -59_000, name="cycle b")),
        *(here(4, 99, name="orphan"), here(5, name="twin"), here(5, name="other twin")),
        *(here(6, name="call", kind="client"), here(7, ms=-20, name="backwards")),
    ]
    await api.send(trace({"web": spans, "orders": [here(6, name="serve", kind="server")]}))
    [found] = await api.data(f"traces/{TRACE_ID.hex()}")
    by_name = {one["operationName"]: one for one in found["spans"]}
    assert len(by_name) == len(spans) + 1
    told = {name: " ".join(one["warnings"] or ()) for name, one in by_name.items()}
    assert "its own parent" in told["self"]
    assert "ancestor of its own parent" in told["cycle a"]
    assert "0000000000000063 is not in the trace" in told["orphan"]
    assert "is that of 2 spans" in told["twin"]
    assert "is that of 2 spans" in told["other twin"]
    assert "is also that of a client span" in told["serve"]
    assert "before it started" in told["backwards"]
    assert by_name["serve"]["references"][0]["spanID"] == by_name["call"]["spanID"]
    assert by_name["backwards"]["duration"] == 0
    assert not told["call"]
    assert not told["cycle b"]


async def test_a_trace_by_id_can_be_looked_for_in_a_time_range(api: JaegerHttp) -> None:
    await api.send(trace({"web": [here(1, at=-60_000), here(2, 1, -50_000)]}))
    start = NOW // 1000 - 60 * SECOND
    for inside in ({"start": start}, {"end": start}, {"start": start, "end": start}, {"start": "", "end": ""}):
        [found] = await api.data(f"traces/{TRACE_ID.hex()}", **inside)
        assert len(found["spans"]) == 2, "all of it, wherever its other spans are"
    for outside in ({"start": start + 20 * SECOND}, {"end": start - 1}, {"start": start + 1, "end": start + SECOND}):
        envelope_of(await api.get(f"traces/{TRACE_ID.hex()}", **outside), 404)


async def test_several_traces_come_in_the_order_asked_for_and_missing_ones_are_named(api: JaegerHttp) -> None:
    await api.send(trace({"web": [here(1, trace_id=of(1 << 100)), here(2, trace_id=of(2 << 100), name="second")]}))
    asked = [of(2 << 100).hex(), UNKNOWN, of(1 << 100).hex(), "77", of(2 << 100).hex().upper()]
    body = envelope_of(await api.get("traces", traceID=asked), 200)
    assert [one["traceID"] for one in body["data"]] == [of(2 << 100).hex(), of(1 << 100).hex()]
    assert body["total"] == 2
    assert body["errors"] == [
        {"msg": "trace not found", "traceID": UNKNOWN},
        {"msg": "trace not found", "traceID": "0000000000000077"},
    ]
    assert envelope_of(await api.get("traces", traceID=UNKNOWN), 200)["data"] == []


async def test_a_trace_with_too_many_spans_is_shown_as_stored_and_says_so(
    api: JaegerHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_reading, "MAX_SPANS", 1_500)
    spans = [here(number, number if number == 7 else 0, number - 60_000) for number in range(1, 2_601)]
    await api.send(trace({"web": spans[::2], "orders": spans[1::2]}))
    [found] = await api.data(f"traces/{TRACE_ID.hex()}")
    assert sorted(int(one["spanID"], 16) for one in found["spans"]) == list(range(1, 2_601))
    assert found["warnings"] == [TOO_LARGE]
    assert len(found["processes"]) == 2
    assert {one["processID"] for one in found["spans"]} == {"p1", "p2"}
    told = {one["spanID"]: one["warnings"] for one in found["spans"] if one["warnings"]}
    assert told == {found["spans"][0]["spanID"]: [TOO_LARGE]}
    [raw] = await api.data(f"traces/{TRACE_ID.hex()}", raw="1")
    assert raw["warnings"] is None
    monkeypatch.setattr(trace_reading, "MAX_SPANS", 5_000)
    [small] = await api.data(f"traces/{TRACE_ID.hex()}", prettyPrint="true")
    assert small["warnings"] is None
    [seventh] = [one for one in small["spans"] if one["warnings"]]
    assert "own parent" in seventh["warnings"][0]
    assert len(small["spans"]) == 2_600


async def test_an_archived_trace_survives_its_rows(database_url: str) -> None:
    async with jaeger_http(database_url) as api:
        await api.send(trace({"web": [here(1), here(2, trace_id=of(2 << 100))]}))
        answer = await api.client.post(f"/api/archive/{TRACE_ID.hex()}")
        assert answer.status_code == 200
        assert answer.json() == {"data": [], "total": 0, "limit": 0, "offset": 0, "errors": []}
        await api.pool.execute("DELETE FROM service_spans")
        assert len(await api.data(f"traces/{TRACE_ID.hex()}")) == 1
        envelope_of(await api.get(f"traces/{of(2 << 100).hex()}"), 404)
        envelope_of(await api.client.post(f"/api/archive/{UNKNOWN}"), 404)
        envelope_of(await api.client.post("/api/archive/xyz"), 400)


# --- search -----------------------------------------------------------------------------------------------------------


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


# --- what clients send ------------------------------------------------------------------------------------------------


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


# --- what is wrong ----------------------------------------------------------------------------------------------------

_WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(("traces", {"limit": value}, "limit") for value in ("0", "-1", "abc", "1.5", "10001", "9" * 30, "１")),
    *(("traces", {"start": value}, "start") for value in ("-1", "abc", "1e6", "9" * 19, "2026-01-01T00:00:00Z")),
    *(("traces", {"end": value}, "end") for value in ("-1", "abc", "9" * 19)),
    ("traces", {"start": 2, "end": 1}, "start"),
    ("traces", {"traceID": UNKNOWN, "start": 2, "end": 1}, "start"),
    (f"traces/{UNKNOWN}", {"start": 2, "end": 1}, "start"),
    (f"traces/{UNKNOWN}", {"raw": "maybe"}, "raw"),
    ("traces", {"raw": "maybe"}, "raw"),
    *(("traces", {"lookback": value}, "lookback") for value in ("abc", "-1h", "0s", "99999999d", "1y", "20")),
    *(("traces", {"tag": value}, "tag") for value in ("noColon", ":value", "nul\0:x")),
    *(
        ("traces", {"tags": value}, "tags")
        for value in ("{", "[]", "1", '{"a":null}', '{"a":{}}', '{"":"x"}', '{"a":[1]}')
    ),
    ("traces", {"tags": '{"a":"\\u0000"}'}, "tags"),
    *(("traces", {"minDuration": value}, "minDuration") for value in ("100", "abc", "-1s", "1d", "9" * 30 + "h")),
    *(("traces", {"maxDuration": value}, "maxDuration") for value in ("100", "-1ms")),
    ("traces", {"minDuration": "2s", "maxDuration": "1s"}, "maxDuration"),
    *(("traces", {"traceID": value}, "traceID") for value in ("xyz", "0", "4bf92f3577b34da6a3ce929d0e0e47360")),
    ("traces/xyz", {}, "traceID"),
    ("traces/00000000000000000000000000000000", {}, "traceID"),
    *(("traces", {name: "a\0b"}, name) for name in ("service", "operation")),
    ("operations", {}, "service"),
    ("operations", {"service": "x", "spanKind": "nonsense"}, "spanKind"),
    ("services/a%00b/operations", {}, "service"),
    *(("dependencies", {"endTs": value}, "endTs") for value in ("abc", "-1", "9" * 18)),
    *(("dependencies", {"lookback": value}, "lookback") for value in ("1h", "-1", "0", "9" * 18)),
    *((f"metrics/{kind}", {}, "service") for kind in ("latencies", "calls", "errors")),
    *(("metrics/latencies", {"service": "x", "quantile": value}, "quantile") for value in ("0", "1.1", "x", "nan")),
    *(("metrics/calls", {"service": "x", name: "abc"}, name) for name in ("endTs", "lookback", "step", "ratePer")),
    ("metrics/calls", {"service": "x", "spanKind": "nonsense"}, "spanKind"),
    ("metrics/calls", {"service": "x", "groupByOperation": "perhaps"}, "groupByOperation"),
]


async def test_a_wrong_parameter_is_400_in_the_envelope_with_a_sentence_that_names_it(api: JaegerHttp) -> None:
    for path, query, name in _WRONG:
        [told] = envelope_of(await api.get(path, **query), 400)["errors"]
        assert told["msg"].startswith(f"The parameter {name} "), (path, query, told)
        assert told["msg"].endswith(".")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "/api", 404), ("GET", "/api/nope", 404), ("GET", "/api/traces/../x", 404), ("GET", "/search", 404)),
        *(("POST", "/api/services", 405), ("PUT", "/api/traces", 405), ("DELETE", "/api/transform", 405)),
        *(("GET", "/api/archive/77", 405), ("GET", "/api/transform", 405)),
    ],
)
async def test_unknown_paths_and_methods_are_answered_in_the_envelope(
    api: JaegerHttp, method: str, path: str, status: int
) -> None:
    answer = await api.client.request(method, path)
    envelope_of(answer, status)
    if status == 405:
        assert answer.headers["allow"]
        assert answer.headers["allow"].split(", ")[0] in answer.json()["errors"][0]["msg"]


async def test_without_the_database_everything_is_503_in_the_envelope() -> None:
    paths = ["services", "services/x/operations", "operations?service=x", "traces?service=x", f"traces/{UNKNOWN}"]
    paths += [f"traces?traceID={UNKNOWN}", "dependencies", "metrics/calls?service=x"]
    async with jaeger_http(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing") as away:
        for path in paths:
            answer = await away.client.get(f"/api/{path}")
            [told] = envelope_of(answer, 503)["errors"]
            assert "database" in told["msg"].lower(), path
            assert answer.headers["retry-after"] == "1"


async def test_the_root_says_what_this_is(api: JaegerHttp) -> None:
    answer = await api.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "remote storage" in answer.text


# --- from roll-ups ----------------------------------------------------------------------------------------------------


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


# --- transform --------------------------------------------------------------------------------------------------------


async def test_transform_makes_jaegers_json_of_otlps(api: JaegerHttp) -> None:
    data = trace(
        {
            "web": [span(1, 0, 0, 100, kind="client"), span(3, trace_id=of(5))],
            "orders": [span(2, 1, -50, 20, kind="server")],
        }
    )
    answer = await api.client.post("/api/transform", content=encode_json(data))
    body = envelope_of(answer, 200)
    assert (body["total"], body["errors"]) == (2, None)
    first, second = body["data"]
    assert [one["spanID"][-1] for one in first["spans"]] == ["1", "2"]
    assert {one["serviceName"] for one in first["processes"].values()} == {"web", "orders"}
    assert first["spans"][1]["warnings"], "adjusted, as every trace that is looked at"
    assert second["traceID"] == "0000000000000005"
    assert envelope_of(await api.client.post("/api/transform", content=b"{}"), 200)["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        *(
            (b"", 400, "JSON"),
            (b"[]", 400, "object"),
            (b"{", 400, "JSON"),
            (b'{"resourceSpans": 7}', 400, "resourceSpans"),
        ),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz","spanId":"01"}]}]}]}', 400, "traceId"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"no id"}]}]}]}', 400, "traceId"),
        (b" " * (16 * 1024 * 1024 + 1), 413, "bytes"),
        (b"[" + b"{}," * 1_100_000 + b"{}]", 413, "fewer spans"),
    ],
    ids=["empty", "list", "cut", "type", "id", "no id", "large", "hollow"],
)
async def test_what_transform_cannot_take_is_told(api: JaegerHttp, body: bytes, status: int, words: str) -> None:
    [told] = envelope_of(await api.client.post("/api/transform", content=body), status)["errors"]
    assert words in told["msg"]
