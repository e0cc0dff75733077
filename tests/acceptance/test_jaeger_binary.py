"""The official Jaeger, unchanged, with Ares as its storage: what is written through either is read through both."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support import jaeger
from tests.support.ares_process import AresProcess
from tests.support.otlp_samples import any_value, pairs, resource, scope

pytestmark = pytest.mark.timeout(jaeger.BUILD_SECONDS + 120)

MS = 1_000_000
OK = Status(code=Status.STATUS_CODE_OK)
ATTRIBUTES = {
    "http.request.method": "POST",
    "http.response.status_code": 500,
    "sampled.share": 0.25,
    "cache.hit": False,
    "payload": b"\x00\xff",
    "hosts": ["a", "b"],
    "quoted": '"} 100% ü \\',
    "largest": 2**63 - 1,
}


@pytest.fixture(scope="module")
def stock(ares: AresProcess) -> Iterator[jaeger.Jaeger]:
    """Jaeger with the configuration of `deploy/jaeger`, in front of Ares."""
    try:
        binary = jaeger.install()
    except jaeger.UnavailableError as error:
        pytest.skip(str(error))
    with jaeger.running_jaeger(binary, ares.doors["jaeger-grpc"].rpartition("/")[2]) as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def checkout(trace_id: bytes, begin: int) -> ExportTraceServiceRequest:
    """A request that fails, in three services: children, a consumer with a link, events, attributes of every type."""

    def span(number: int, parent: int, name: str, start: int, end: int, **more: Any) -> Span:
        return Span(
            trace_id=trace_id,
            span_id=bytes([*trace_id[:7], number]),
            parent_span_id=bytes([*trace_id[:7], parent]) if parent else b"",
            name=name,
            start_time_unix_nano=begin + start * MS,
            end_time_unix_nano=begin + end * MS,
            **more,
        )

    events = [
        Span.Event(name="retry", time_unix_nano=begin + 30 * MS, attributes=pairs({"attempt": 2})),
        Span.Event(
            name="exception",
            time_unix_nano=begin + 60 * MS,
            attributes=pairs({"exception.type": "Timeout", "exception.message": "too slow"}),
        ),
    ]
    link = Span.Link(trace_id=bytes(reversed(trace_id)), span_id=b"\1linked\1", attributes=pairs({"why": "batch"}))
    request = ExportTraceServiceRequest()
    for service, spans in (
        (
            "web",
            [
                span(
                    1, 0, "POST /checkout", 0, 120, kind=Span.SPAN_KIND_SERVER, trace_state="vendor=1",
                    attributes=pairs(ATTRIBUTES), status=Status(code=Status.STATUS_CODE_ERROR, message="no money"),
                ),
                span(2, 1, "charge", 10, 100, kind=Span.SPAN_KIND_CLIENT, events=events),
            ],
        ),
        (
            "payments",
            [span(3, 2, "POST /charges", 20, 90, kind=Span.SPAN_KIND_SERVER, status=OK)],
        ),
        ("mail", [span(4, 1, "send receipt", 130, 200, kind=Span.SPAN_KIND_CONSUMER, links=[link])]),
    ):  # fmt: skip
        group = request.resource_spans.add(resource=resource(service))
        group.scope_spans.add(scope=scope(), spans=spans)
    return request


def send(client: httpx.Client, otlp_http: str, request: ExportTraceServiceRequest) -> None:
    content = request.SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    assert client.post(f"{otlp_http}/v1/traces", content=content, headers=headers).status_code == 200


def read(client: httpx.Client, base: str, trace_id: bytes, spans: int, **query: str) -> dict[str, Any]:
    """A trace of so many spans, when it is there: Jaeger answers its sender before it hands spans on."""
    deadline = time.monotonic() + 30
    while True:
        answer = client.get(f"{base}/api/traces/{trace_id.hex()}", params=query)
        if answer.status_code == 200 and len(answer.json()["data"][0]["spans"]) == spans:
            trace: dict[str, Any] = answer.json()["data"][0]
            return trace
        assert time.monotonic() < deadline, answer.text[:1000]
        time.sleep(0.05)


def comparable(trace: dict[str, Any], trace_id: bytes) -> list[dict[str, Any]]:
    """The spans by id, in an order of their own, with their process instead of its name; ids of the trace are left out,
    so that two of the same shape are the same."""

    def fields(given: list[dict[str, Any]]) -> list[Any]:
        return sorted(([one["key"], one["type"], one["value"]] for one in given), key=repr)

    spans = []
    for span in trace["spans"]:
        process = trace["processes"][span["processID"]]
        spans.append(
            {
                "id": span["spanID"],
                "operation": span["operationName"],
                "references": sorted(json.dumps(one, sort_keys=True) for one in span["references"] or ()),
                "start": span["startTime"],
                "duration": span["duration"],
                "tags": fields(span["tags"]),
                "logs": [[log["timestamp"], fields(log["fields"])] for log in span["logs"] or ()],
                "service": process["serviceName"],
                "process": fields(process["tags"] or []),
                "warnings": span.get("warnings") or [],
            }
        )
    spans.sort(key=lambda span: str(span["id"]))
    text = json.dumps(spans).replace(trace_id.hex(), "TRACE").replace(bytes(reversed(trace_id)).hex(), "LINKED")
    named: list[dict[str, Any]] = json.loads(text.replace(trace_id[:7].hex(), "ID"))
    return named


@pytest.fixture(scope="module")
def written(ares: AresProcess, stock: jaeger.Jaeger) -> dict[str, bytes]:
    """The same trace written through Jaeger and by OTLP directly: its id by who took it."""
    begin = time.time_ns() // MS * MS - 60_000 * MS
    ids = {"jaeger": secrets.token_bytes(16), "ares": secrets.token_bytes(16)}
    with httpx.Client(trust_env=False, timeout=30) as client:
        for name, door in (("jaeger", stock.otlp_http), ("ares", ares.otlp_http)):
            send(client, door, checkout(ids[name], begin))
            read(client, stock.http, ids[name], 4)
    return ids


def test_jaeger_takes_the_configuration() -> None:
    try:
        binary = jaeger.install()
    except jaeger.UnavailableError as error:
        pytest.skip(str(error))
    assert jaeger.check(binary) == ""


@pytest.mark.parametrize("raw", ["true", "false"])
@pytest.mark.parametrize("writer", ["jaeger", "ares"])
def test_a_trace_is_the_same_through_jaeger_and_through_ares(
    ares: AresProcess, stock: jaeger.Jaeger, client: httpx.Client, written: dict[str, bytes], writer: str, raw: str
) -> None:
    trace_id = written[writer]
    through_jaeger = comparable(read(client, stock.http, trace_id, 4, raw=raw), trace_id)
    through_ares = comparable(read(client, f"{ares.http}/jaeger", trace_id, 4, raw=raw), trace_id)
    if raw == "false":  # each says in its own words what it found odd, and Jaeger that it was not told to correct it
        assert [one.pop("warnings") for one in through_jaeger][:3] == [one.pop("warnings") for one in through_ares][:3]
    assert through_ares == through_jaeger


def test_a_trace_is_the_same_written_through_jaeger_and_by_otlp(
    stock: jaeger.Jaeger, client: httpx.Client, written: dict[str, bytes]
) -> None:
    one, other = (comparable(read(client, stock.http, id, 4, raw="true"), id) for id in written.values())
    assert one == other
    root, charge, _, mail = one
    assert ["http.response.status_code", "int64", 500] in root["tags"]
    assert ["error", "bool", True] in root["tags"]
    assert ["payload", "binary", "AP8="] in root["tags"]
    assert [len(span["logs"]) for span in one] == [0, 2, 0, 0]
    assert [json.loads(reference)["refType"] for reference in mail["references"]] == ["CHILD_OF", "FOLLOWS_FROM"]
    assert charge["duration"] == 90_000


def test_services_and_operations_are_the_same(
    ares: AresProcess, stock: jaeger.Jaeger, client: httpx.Client, written: dict[str, bytes]
) -> None:
    assert written
    for path in (
        "services",
        "services/web/operations",
        "operations?service=mail",
        "operations?service=web&spanKind=server",
    ):
        one, other = (
            sorted((one for one in client.get(f"{base}/api/{path}").json()["data"] if one != "ares-api"), key=str)
            for base in (stock.http, f"{ares.http}/jaeger")
        )
        assert one == other
        assert one


SEARCHES: list[tuple[dict[str, str], bool]] = [
    ({"service": "web"}, True),
    ({"service": "web", "operation": "charge"}, True),
    ({"service": "mail", "operation": "charge"}, False),
    ({"service": "web", "tags": '{"http.response.status_code":"500"}'}, True),
    ({"service": "web", "tags": '{"http.response.status_code":"404"}'}, False),
    ({"service": "web", "tags": '{"error":"true"}'}, True),
    ({"service": "payments", "tags": '{"error":"true"}'}, False),
    ({"service": "web", "tags": '{"cache.hit":"false","http.request.method":"POST"}'}, True),
    ({"service": "web", "tags": '{"span.kind":"server","otel.status_description":"no money"}'}, True),
    ({"service": "web", "tags": '{"exception.type":"Timeout"}'}, True),
    ({"service": "web", "minDuration": "110ms"}, True),
    ({"service": "web", "minDuration": "121ms"}, False),
    ({"service": "web", "maxDuration": "95ms"}, True),
    ({"service": "web", "maxDuration": "50ms"}, False),
]


@pytest.mark.parametrize(
    ("query", "found"), SEARCHES, ids=lambda value: "&".join(value.values()) if isinstance(value, dict) else ""
)
def test_a_search_through_jaeger_finds_what_ares_finds(
    ares: AresProcess,
    stock: jaeger.Jaeger,
    client: httpx.Client,
    written: dict[str, bytes],
    query: dict[str, str],
    found: bool,
) -> None:
    now = time.time_ns() // 1000
    bounds = {"start": str(now - 3_600_000_000), "end": str(now), "limit": "20"}
    for base in (stock.http, f"{ares.http}/jaeger"):
        answer = client.get(f"{base}/api/traces", params={**bounds, **query})
        assert answer.status_code == 200, answer.text
        ids = {trace["traceID"] for trace in answer.json()["data"] or ()}
        assert ids & {id.hex() for id in written.values()} == (
            {id.hex() for id in written.values()} if found else set()
        )


def test_a_large_trace_comes_whole_in_chunks(ares: AresProcess, stock: jaeger.Jaeger, client: httpx.Client) -> None:
    trace_id, begin = secrets.token_bytes(16), time.time_ns() - 60_000 * MS
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(resource=resource("batch")).scope_spans.add(scope=scope())
    filler = any_value("x" * 2_000)
    for number in range(4_000):
        span = group.spans.add(
            trace_id=trace_id,
            span_id=(number + 1).to_bytes(8, "big"),
            name=f"item {number}",
            start_time_unix_nano=begin + number,
            end_time_unix_nano=begin + number + MS,
        )
        span.attributes.add(key="filler", value=filler)
    send(client, ares.otlp_http, request)
    spans = read(client, stock.http, trace_id, 4_000)["spans"]
    assert {span["operationName"] for span in spans} == {f"item {number}" for number in range(4_000)}


def test_a_trace_that_is_not_there_is_not_found(ares: AresProcess, stock: jaeger.Jaeger, client: httpx.Client) -> None:
    for base in (stock.http, f"{ares.http}/jaeger"):
        answer = client.get(f"{base}/api/traces/{secrets.token_hex(16)}")
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["code"] == 404


def test_dependencies_are_the_same(
    ares: AresProcess, stock: jaeger.Jaeger, client: httpx.Client, written: dict[str, bytes]
) -> None:
    assert written
    deadline = time.monotonic() + 60
    while True:  # roll-ups are merged every few seconds
        query = {"endTs": str(time.time_ns() // MS), "lookback": "3600000"}
        one, other = (
            sorted(client.get(f"{base}/api/dependencies", params=query).json()["data"] or (), key=str)
            for base in (stock.http, f"{ares.http}/jaeger")
        )
        edges = {(edge["parent"], edge["child"]): edge["callCount"] for edge in one}
        if edges.get(("web", "payments")) == 2 and one == other:
            return
        assert time.monotonic() < deadline, (one, other)
        time.sleep(0.5)
