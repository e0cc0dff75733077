"""Jaeger's HTTP API of version 1: traces by id, and what OTLP becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from starlette.types import Message

from ares_otel.api.jaeger import trace_reading, v1_transform
from ares_otel.api.jaeger.adjust import TOO_LARGE
from ares_otel.api.jaeger.catalogue import operations
from ares_otel.api.jaeger.door import jaeger_app
from ares_otel.model.otlp_json import encode_json
from ares_otel.query.reader import DatabaseUnavailable
from tests.support.jaeger_http import JaegerHttp, envelope_of, jaeger_http, tags_of
from tests.support.jaeger_traces import MS, NOW, TRACE_ID, here, of, sid, span, trace
from tests.support.otlp_samples import pairs

UNKNOWN = "0123456789abcdef0123456789abcdef"
SECOND = 1_000_000
"""Microseconds."""


@pytest.fixture
async def api(emptied_database_url: str) -> AsyncIterator[JaegerHttp]:
    async with jaeger_http(emptied_database_url) as made:
        yield made


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


async def test_operations_are_found_by_the_name_that_a_service_sent_however_long(api: JaegerHttp) -> None:
    name = "long " * 100
    await api.send(trace({name: [here(1, name="of long")]}))
    assert await operations(api.pool, name, "") == [("of long", "internal")], "v3 and remote storage"
    assert await api.data(f"services/{name}/operations") == ["of long"]


async def test_several_traces_come_in_the_order_asked_for_and_missing_ones_are_named(api: JaegerHttp) -> None:
    await api.send(trace({"web": [here(1, trace_id=of(1 << 100)), here(2, trace_id=of(2 << 100), name="second")]}))
    asked = [of(2 << 100).hex(), UNKNOWN, of(1 << 100).hex(), "77", of(2 << 100).hex().upper()]
    body = envelope_of(await api.get("traces", traceID=asked), 200)
    assert [one["traceID"] for one in body["data"]] == [of(2 << 100).hex(), of(1 << 100).hex()]
    assert body["total"] == 2
    assert body["errors"] == [
        {"code": 404, "msg": "trace not found", "traceID": UNKNOWN},
        {"code": 404, "msg": "trace not found", "traceID": "0000000000000077"},
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


async def test_a_trace_that_may_not_be_archived_is_told(database_url: str) -> None:
    async with jaeger_http(database_url) as api:
        await api.send(trace({"web": [here(1), here(2, trace_id=of(2 << 100))]}))
        await api.pool.execute(
            "INSERT INTO service_config (service_name, config_key, config_value)"
            " VALUES ('ares-api', 'retention.pinned.max_traces', '1')"
        )
        assert (await api.client.post(f"/api/archive/{TRACE_ID.hex()}")).status_code == 200
        [told] = envelope_of(await api.client.post(f"/api/archive/{of(2 << 100).hex()}"), 409)["errors"]
        assert "retention.pinned.max_traces" in told["msg"]


async def test_a_trace_that_breaks_off_is_no_whole_answer(api: JaegerHttp) -> None:
    await api.pool.execute(
        """
        INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms,
                                   duration_ns)
        SELECT $1, int8send(n), 'orders', 'op', 'internal', now() - n * interval '1 millisecond', 1, 1000000
        FROM generate_series(1, 9000) AS n
        """,
        UUID(bytes=TRACE_ID),
    )
    bodies: list[bytes] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            assert message["more_body"], "as if all of it had come"
            bodies.append(message["body"])
            await api.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
            )

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    path = f"/api/traces/{TRACE_ID.hex()}"
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"raw=true"}
    app = jaeger_app(api.pool)
    with pytest.raises((DatabaseUnavailable, RuntimeError)):
        await app({**scope, "headers": [], "http_version": "1.1", "scheme": "http"}, receive, send)
    assert bodies


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


async def test_only_so_many_bodies_are_transformed_at_once(api: JaegerHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1_transform, "MAX_OPEN", 2)
    go_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        begun.release()
        await go_on.wait()
        yield b"}"

    first = [asyncio.create_task(api.client.post("/api/transform", content=slow())) for _ in range(2)]
    for _ in first:
        await begun.acquire()
    refused = await api.client.post("/api/transform", content=b"{}")
    assert "send this one again" in envelope_of(refused, 503)["errors"][0]["msg"]
    assert refused.headers["retry-after"] == "1"
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*first)] == [200, 200]
    assert (await api.client.post("/api/transform", content=b"{}")).status_code == 200
