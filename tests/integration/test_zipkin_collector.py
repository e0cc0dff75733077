"""Zipkin between Ares and the official Collector, in both directions and both encodings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.exporters.zipkin import FACTORY
from ares_otel.model.batch import Accepted
from ares_otel.model.signal import TRACES
from tests.support import collector
from tests.support.otlp_receiver import running as running_otlp
from tests.support.parts import attributes, make_batch, make_context, plain, traces
from tests.support.zipkin_receiver import PATH
from tests.support.zipkin_receiver import running as running_zipkin

pytestmark = pytest.mark.timeout(collector.BUILD_SECONDS + 120)

PEER = """
receivers:
  otlp: {protocols: {http: {endpoint: "${env:PEER_HTTP}"}}}
  zipkin: {endpoint: "${env:PEER_GRPC}", parse_string_tags: true}
exporters:
  zipkin/json: &plain
    endpoint: ${env:ARES_ZIPKIN}
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
  zipkin/proto: {<<: *plain, format: proto}
  otlp_http: {endpoint: "${env:ARES_OTLP}", sending_queue: {enabled: false}, retry_on_failure: {enabled: false}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces/out: {receivers: [otlp], exporters: [zipkin/json, zipkin/proto]}
    traces/in: {receivers: [zipkin], exporters: [otlp_http]}
"""
LINK = Span.Link(trace_id=b"\1" * 16, span_id=b"\2" * 8, trace_state="a=b", attributes=attributes(n=1))
REQUEST = traces(
    {
        "trace_id": b"\x4d" * 16,
        "span_id": b"\x2a" * 8,
        "parent_span_id": b"\x2b" * 8,
        "name": "get /",
        "kind": Span.SPAN_KIND_CLIENT,
        "trace_state": "c=d",
        "start_time_unix_nano": 1_700_000_000_000_000_000,
        "end_time_unix_nano": 1_700_000_000_000_500_000,
        "attributes": {
            "http__route": "/",
            "n": 3,
            "f": 0.5,
            "peer__service": "db",
            "network__peer__address": "10.0.0.1",
        },
        "events": [
            Span.Event(time_unix_nano=1_700_000_000_000_001_000, name="plain"),
            Span.Event(time_unix_nano=1_700_000_000_000_002_000, name="e", attributes=attributes(n=1, s="x")),
        ],
        "links": [LINK],
        "status": {"code": 2, "message": "boom"},
    },
    {
        "trace_id": b"\x4d" * 16,
        "span_id": b"\x2c" * 8,
        "name": "local",
        "kind": Span.SPAN_KIND_INTERNAL,
        "start_time_unix_nano": 1_700_000_000_000_000_000,
        "end_time_unix_nano": 1_700_000_000_000_500_000,
        "status": {"code": 1},
    },
    resource={"service__name": "shop", "service__version": "1", "team": "red"},
)


@pytest.fixture(scope="module")
def binary() -> Path:
    try:
        return collector.install()
    except collector.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    file = tmp_path / "peer.yaml"
    file.write_text(PEER)
    return file


def seen(request: Any) -> dict[str, tuple[Any, dict[str, Any], str, str]]:
    """Spans by name, with resource and scope."""
    return {
        span.name: (span, plain(group.resource.attributes), part.scope.name, part.scope.version)
        for group in request.resource_spans
        for part in group.scope_spans
        for span in part.spans
    }


async def test_what_the_collectors_exporter_sends_arrives_as_it_was(binary: Path, peer: Path) -> None:
    async with running_zipkin(parse_string_tags=True) as zipkin:
        env = {"ARES_ZIPKIN": f"http://127.0.0.1:{zipkin.port}{PATH}", "ARES_OTLP": "http://127.0.0.1:1"}
        with collector.running_collector(binary, peer, env) as there:
            async with httpx.AsyncClient(trust_env=False, verify=False) as client:
                answer = await client.post(
                    f"{there.http}/v1/traces",
                    content=REQUEST.SerializeToString(),
                    headers={"content-type": "application/x-protobuf"},
                )
            assert answer.status_code == 200, answer.text
        expected = REQUEST.resource_spans[0].scope_spans[0].spans
        assert len(zipkin.recording.batches) == 2, "in JSON and in protobuf"
        for batch in zipkin.recording.batches:
            found = seen(batch.message())
            for wanted in expected:
                span, resource, scope, _ = found[wanted.name]
                assert (resource, scope) == ({"service.name": "shop", "service.version": "1"}, "tests")
                given = plain(wanted.attributes)
                assert plain(span.attributes) == {**given, "team": "red"}
                for field in ("trace_id", "span_id", "parent_span_id", "trace_state", "status"):
                    assert getattr(span, field) == getattr(wanted, field), field
                assert span.kind == wanted.kind
                assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
                    wanted.start_time_unix_nano,
                    wanted.end_time_unix_nano,
                )
                assert list(span.links) == list(wanted.links)
                assert [(e.time_unix_nano, e.name, plain(e.attributes)) for e in span.events] == [
                    (e.time_unix_nano, e.name, plain(e.attributes)) for e in wanted.events
                ]


@pytest.mark.parametrize("format", ["json", "proto"])
async def test_what_ares_exports_the_collectors_receiver_takes(format: str, binary: Path, peer: Path) -> None:
    async with running_otlp({"http": {}}, signals={"traces": TRACES}) as otlp:
        env = {"ARES_ZIPKIN": "http://127.0.0.1:1", "ARES_OTLP": f"http://127.0.0.1:{otlp.http_port}"}
        with collector.running_collector(binary, peer, env) as there:
            options = {"endpoint": there.grpc + PATH, "format": format, "compression": "gzip"}
            exporter = FACTORY.build(make_context("zipkin"), FACTORY.config.model_validate(options))
            await exporter.start()
            assert await exporter.consume(make_batch(REQUEST)) == Accepted(2)
            await exporter.stop()
        [batch] = otlp.recording.batches
        found = seen(batch.message())
        for wanted in REQUEST.resource_spans[0].scope_spans[0].spans:
            span, resource, scope, _ = found[wanted.name]
            assert resource == {"service.name": "shop", "service.version": "1"}
            assert scope == "tests"
            for field in ("trace_id", "span_id", "parent_span_id", "trace_state", "start_time_unix_nano"):
                assert getattr(span, field) == getattr(wanted, field), field
            assert span.end_time_unix_nano == wanted.end_time_unix_nano
            assert list(span.links) == list(wanted.links)
            assert plain(span.attributes).items() >= {**plain(wanted.attributes), "team": "red"}.items()
        client, local = found["get /"][0], found["local"][0]
        assert client.kind == Span.SPAN_KIND_CLIENT
        # It knows the specification's OK and ERROR only by the tag `error`.
        assert (client.status.code, local.status.code) == (2, 0)
        assert plain(client.attributes)["error"] == "boom", "the Collector leaves the message in the tag"
        assert [event.name for event in client.events] == ["plain", '"e": {"n":1,"s":"x"}']
