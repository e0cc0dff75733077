"""The `zipkin` exporter against a real HTTP server, and against Ares's own receiver."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from ares_otel.exporters.zipkin import FACTORY
from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import TRACES
from ares_otel.model.zipkin.proto_spans import ListOfSpans
from ares_otel.pipeline.component import Stage
from ares_otel.pipeline.sending import Sending
from tests.support.eventually import eventually
from tests.support.otlp_compare import items_of
from tests.support.otlp_peers import HttpAnswer, http_peer
from tests.support.parts import attributes, make_batch, make_context, sample, traces
from tests.support.zipkin_receiver import PATH, running

IDS = {"trace_id": b"\x4d" * 16, "span_id": b"\x2a" * 8}
TLS = Path(__file__).parent.parent / "support" / "tls"
BATCH = make_batch(traces({**IDS, "name": "a"}))
TAKEN = HttpAnswer(202, headers={})


@asynccontextmanager
async def started(endpoint: str, **options: Any) -> AsyncIterator[Stage]:
    exporter = FACTORY.build(
        make_context("zipkin/test"), FACTORY.config.model_validate({"endpoint": endpoint, **options})
    )
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop()


async def test_spans_go_to_the_endpoint_as_a_list_in_json() -> None:
    batch = make_batch(traces({**IDS, "name": "a", "attributes": {"n": 1}}))
    async with http_peer() as peer, started(f"{peer.url}{PATH}?a=b", headers={"X-Key": "k"}) as exporter:
        peer.answers = [TAKEN]
        assert await exporter.consume(batch) == Accepted(1)
    [request] = peer.requests
    assert (request.path, request.headers["content-type"], request.headers["x-key"]) == (
        f"{PATH}?a=b",
        "application/json",
        "k",
    )
    assert json.loads(request.body) == [
        {
            "traceId": "4d" * 16,
            "id": "2a" * 8,
            "name": "a",
            "localEndpoint": {"serviceName": "shop"},
            "tags": {"otel.scope.name": "tests", "n": "1"},
        }
    ]


async def test_or_in_protobuf() -> None:
    async with http_peer() as peer, started(peer.url, format="proto") as exporter:
        await exporter.consume(BATCH)
    [request] = peer.requests
    assert request.headers["content-type"] == "application/x-protobuf"
    [span] = ListOfSpans.FromString(request.body).spans
    assert (span.trace_id, span.id, span.name) == (IDS["trace_id"], IDS["span_id"], "a")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "deflate", "none", None])
async def test_requests_are_compressed_as_configured(compression: str | None) -> None:
    options = {} if compression is None else {"compression": compression}
    async with http_peer() as peer, started(peer.url, **options) as exporter:
        await exporter.consume(make_batch(traces({**IDS, "name": "a" * 100_000})))
    [request] = peer.requests
    assert request.headers.get("content-encoding", "none") == (compression or "none")
    assert json.loads(request.body)[0]["name"] == "a" * 100_000


@pytest.mark.parametrize(
    ("options", "name"), [({}, "<missing service name>"), ({"default_service_name": "nobody"}, "nobody")]
)
async def test_a_service_without_a_name_has_the_default(options: dict[str, str], name: str) -> None:
    async with http_peer() as peer, started(peer.url, **options) as exporter:
        await exporter.consume(make_batch(traces(IDS, resource={"a": "b"})))
    assert json.loads(peer.requests[0].body)[0]["localEndpoint"] == {"serviceName": name}


async def test_spans_that_zipkin_cannot_have_are_counted_as_rejected() -> None:
    async with http_peer() as peer, started(peer.url) as exporter:
        answer = await exporter.consume(make_batch(traces(IDS, {"name": "no ids"})))
        assert (answer.stored, answer.rejected) == (1, 1)
        assert "ids" in answer.reason
        answer = await exporter.consume(make_batch(traces({"name": "no ids"})))
        assert (answer.stored, answer.rejected) == (0, 1)
    assert [len(json.loads(request.body)) for request in peer.requests] == [1], "an empty list is not sent"


async def test_a_status_that_may_pass_is_retryable_after_the_delay_that_it_names() -> None:
    async with http_peer() as peer, started(peer.url) as exporter:
        for status in (408, 429, 500, 502, 503, 504):
            peer.answers = [HttpAnswer(status, b"away", {"content-type": "text/plain", "retry-after": "9"})]
            with pytest.raises(Retryable, match=f"answered {status}: away") as error:
                await exporter.consume(BATCH)
            assert error.value.retry_after == 9


async def test_any_other_status_is_final() -> None:
    statuses = (301, 400, 401, 404, 413, 415, 501)
    async with http_peer() as peer, started(peer.url) as exporter:
        for status in statuses:
            peer.answers = [HttpAnswer(status, b"no\x1b[31m", {"content-type": "text/plain", "location": "/x"})]
            with pytest.raises(Rejected, match=f"answered {status}") as error:
                await exporter.consume(BATCH)
            assert error.value.message.isprintable()
    assert len(peer.requests) == len(statuses), "redirects are not followed"


async def test_a_destination_that_is_not_there_is_retryable() -> None:
    async with started("http://127.0.0.1:1/api/v2/spans") as exporter:
        with pytest.raises(Retryable, match="cannot be reached"):
            await exporter.consume(BATCH)


async def test_the_destination_is_checked_with_the_given_certificates() -> None:
    async with http_peer(tls=(str(TLS / "server.pem"), str(TLS / "server.key"))) as peer:
        async with started(peer.url, tls={"ca_file": str(TLS / "ca.pem")}) as exporter:
            assert await exporter.consume(BATCH) == Accepted(1)
        async with started(peer.url) as exporter:
            with pytest.raises(Retryable, match="certificate verify failed"):
                await exporter.consume(BATCH)


async def test_what_a_tee_sends_is_repeated_until_the_destination_takes_it() -> None:
    context = make_context("zipkin/test")
    async with http_peer() as peer:
        peer.answers = [HttpAnswer(503, headers={}), HttpAnswer(500, headers={}), TAKEN]
        options = {"endpoint": peer.url, "retry_on_failure": {"initial_interval": "1ms", "max_interval": "1ms"}}
        config = FACTORY.config.model_validate(options)
        sending = Sending(context, config, FACTORY.build(context, config))
        await sending.start()
        sending.open_queue()
        await sending.feed(BATCH)

        async def sent() -> bool:
            return sample(context, "otelcol_exporter_sent_spans_total", exporter="zipkin/test") == 1

        await eventually(sent)
        await sending.stop()
    assert len(peer.requests) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "endpoint"),
        ({"endpoint": "localhost:9411"}, "The address is a URL"),
        ({"endpoint": "http://u:p@h/"}, "Credentials do not belong"),
        ({"endpoint": "http://h/", "format": "thrift"}, "format"),
        ({"endpoint": "http://h/", "default_service_name": ""}, "default_service_name"),
    ],
)
def test_a_wrong_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FACTORY.config.model_validate(options)


def test_it_takes_traces_only() -> None:
    assert FACTORY.signals == {TRACES}


@pytest.mark.parametrize("format", ["json", "proto"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_what_ares_sends_as_zipkin_comes_back_from_its_receiver(format: str, compression: str) -> None:
    request = traces(
        {
            **IDS,
            "name": "GET /",
            "kind": Span.SPAN_KIND_SERVER,
            "start_time_unix_nano": 1_700_000_000_000_000_000,
            "end_time_unix_nano": 1_700_000_000_500_000_000,
            "attributes": {"http__route": "/", "n": 3, "f": 0.5, "b": True},
            "events": [Span.Event(time_unix_nano=1000, name="e", attributes=attributes(n=1, list=[1, "a"]))],
            "status": {"code": 2, "message": "boom"},
        },
        resource={"service__name": "shop", "service__version": "1"},
    )
    async with running(parse_string_tags=True) as zipkin:
        endpoint = f"http://127.0.0.1:{zipkin.port}{PATH}"
        async with started(endpoint, format=format, compression=compression) as exporter:
            assert await exporter.consume(make_batch(request)) == Accepted(1)
        assert items_of(zipkin.recording.batches[0].message()) == items_of(request)
