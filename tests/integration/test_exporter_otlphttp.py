"""The `otlphttp` exporter against a real HTTP server."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from pydantic import ValidationError

from ares_otel.exporters.client import MAX_ANSWER_BYTES
from ares_otel.exporters.otlphttp import FACTORY
from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Rejected, Retryable, StartError
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.pipeline.component import Stage
from ares_otel.pipeline.sending import Sending
from tests.support.eventually import eventually
from tests.support.otlp_peers import HttpAnswer, HttpPeer, http_peer
from tests.support.parts import logs, make_batch, make_context, metrics, sample, traces

TLS = Path(__file__).parent.parent / "support" / "tls"


@asynccontextmanager
async def started(options: dict[str, Any]) -> AsyncIterator[Stage]:
    exporter = FACTORY.build(make_context("otlphttp/test"), FACTORY.config.model_validate(options))
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop()


def at(peer: HttpPeer, **more: Any) -> dict[str, Any]:
    return {"endpoint": peer.url, **more}


async def test_every_signal_goes_to_its_path_with_the_payload_as_it_came() -> None:
    batches = [make_batch(traces({"name": "a"})), make_batch(logs({"body": "b"})), make_batch(metrics({"as_int": 1}))]
    async with http_peer() as peer, started({"endpoint": f"{peer.url}/otlp/"}) as exporter:
        for batch in batches:
            assert await exporter.consume(batch) == Accepted(1)
    assert [request.path for request in peer.requests] == ["/otlp/v1/traces", "/otlp/v1/logs", "/otlp/v1/metrics"]
    assert [request.body for request in peer.requests] == [batch.payload for batch in batches]
    assert {request.headers["content-type"] for request in peer.requests} == {"application/x-protobuf"}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "deflate", "none"])
@pytest.mark.parametrize("size", [10, 200_000])
async def test_requests_are_compressed_as_configured(compression: str, size: int) -> None:
    batch = make_batch(traces({"name": "a" * size}))
    async with http_peer() as peer, started(at(peer, compression=compression)) as exporter:
        await exporter.consume(batch)
    (request,) = peer.requests
    assert request.headers.get("content-encoding", "none") == compression
    assert request.body == batch.payload


async def test_a_full_address_of_a_signal_is_used_as_it_is() -> None:
    async with http_peer() as peer, started({"traces_endpoint": f"{peer.url}/in?tenant=1"}) as exporter:
        await exporter.consume(make_batch(traces({"name": "a"})))
        with pytest.raises(Rejected, match="set logs_endpoint"):
            await exporter.consume(make_batch(logs({"body": "b"})))
    assert [request.path for request in peer.requests] == ["/in?tenant=1"]


async def test_json_has_hex_ids_numbers_for_enums_and_texts_for_long_integers() -> None:
    request = traces(
        {
            "name": "a",
            "trace_id": bytes(range(16)),
            "span_id": bytes(range(8)),
            "parent_span_id": b"\xff" * 8,
            "kind": 2,
            "start_time_unix_nano": 1_544_712_660_000_000_001,
            "attributes": {"traceId": "AAAA", "big": 2**60, "nan": float("nan"), "raw": b"\x00\xff"},
        }
    )
    request.resource_spans[0].scope_spans[0].spans[0].links.add(trace_id=bytes(16), span_id=b"\1" * 8)
    async with http_peer() as peer, started(at(peer, encoding="json")) as exporter:
        peer.answers = [HttpAnswer(200, b"{}", {"content-type": "application/json"})]
        assert await exporter.consume(make_batch(request)) == Accepted(1)
    (sent,) = peer.requests
    assert sent.headers["content-type"] == "application/json"
    span = json.loads(sent.body)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["traceId"] == "000102030405060708090a0b0c0d0e0f"
    assert span["spanId"] == "0001020304050607"
    assert span["parentSpanId"] == "f" * 16
    assert span["kind"] == 2
    assert span["startTimeUnixNano"] == "1544712660000000001"
    assert span["links"] == [{"traceId": "0" * 32, "spanId": "01" * 8}]
    assert span["attributes"] == [
        {"key": "traceId", "value": {"stringValue": "AAAA"}},
        {"key": "big", "value": {"intValue": str(2**60)}},
        {"key": "nan", "value": {"doubleValue": "NaN"}},
        {"key": "raw", "value": {"bytesValue": "AP8="}},
    ]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(("header", "delay"), [(None, 0), ("7", 7), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("soon", 0)])
async def test_a_retryable_status_is_retryable_after_the_delay_that_it_names(
    status: int, header: str | None, delay: float
) -> None:
    headers = {"content-type": "application/x-protobuf", **({} if header is None else {"retry-after": header})}
    async with http_peer() as peer, started(at(peer)) as exporter:
        peer.answers = [HttpAnswer(status, Status(message="busy").SerializeToString(), headers)]
        with pytest.raises(Retryable, match=f"answered {status}: busy") as error:
            await exporter.consume(make_batch(traces({"name": "a"})))
    assert error.value.retry_after == delay


async def test_a_date_in_retry_after_is_a_delay_from_now() -> None:
    async with http_peer() as peer, started(at(peer)) as exporter:
        peer.answers = [HttpAnswer(503, b"", {"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"})]
        with pytest.raises(Retryable) as error:
            await exporter.consume(make_batch(traces({"name": "a"})))
    assert error.value.retry_after == 24 * 3600


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 500, 501])
async def test_any_other_error_is_final(status: int) -> None:
    async with http_peer() as peer, started(at(peer)) as exporter:
        peer.answers = [HttpAnswer(status, b'{"message": "no"}', {"content-type": "application/json"})]
        with pytest.raises(Rejected, match=f"answered {status}: no"):
            await exporter.consume(make_batch(traces({"name": "a"})))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed_so_that_headers_stay_with_the_destination(status: int) -> None:
    options = {"headers": {"authorization": "secret"}}
    async with http_peer() as other, http_peer() as peer, started(at(peer, **options)) as exporter:
        peer.answers = [HttpAnswer(status, b"", {"location": f"{other.url}/v1/traces"})]
        with pytest.raises(Rejected, match="redirects are not followed"):
            await exporter.consume(make_batch(traces({"name": "a"})))
    assert peer.requests[0].headers["authorization"] == "secret"
    assert other.requests == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with http_peer() as peer, started(at(peer)) as exporter:
        assert await exporter.consume(make_batch(traces({"name": "a"}))) == Accepted(1)


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json; charset=utf-8"])
async def test_partial_success_is_told_as_rejected_items(kind: str) -> None:
    response = LOGS.response()
    response.partial_success.rejected_log_records = 1  # type: ignore[attr-defined]
    response.partial_success.error_message = "too old"  # type: ignore[attr-defined]
    text = b'{"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old", "new": 1}}'
    body = text if "json" in kind else response.SerializeToString()
    async with http_peer() as peer, started(at(peer)) as exporter:
        peer.answers = [HttpAnswer(200, body, {"content-type": kind})]
        answer = await exporter.consume(make_batch(logs({"body": "a"}, {"body": "b"})))
    assert answer == Accepted(1, rejected=1, reason="The destination rejected a part: too old")


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(200, b"<html>hello</html>", {"content-type": "text/html"}),
        HttpAnswer(200, b"\xff\xff", {"content-type": "application/x-protobuf"}),
        HttpAnswer(200, b"[" * 100_000, {"content-type": "application/json"}),
        HttpAnswer(200, b"x" * (MAX_ANSWER_BYTES + 1), {"content-type": "application/x-protobuf"}),
        HttpAnswer(
            200, gzip.compress(bytes(10_000_000)), {"content-type": "application/json", "content-encoding": "gzip"}
        ),
    ],
    ids=["html", "garbage", "deep json", "too long", "bomb"],
)
async def test_an_answer_that_is_not_otlp_is_final(answer: HttpAnswer) -> None:
    async with http_peer() as peer, started(at(peer)) as exporter:
        peer.answers = [answer]
        with pytest.raises(Rejected, match="not OTLP"):
            await exporter.consume(make_batch(traces({"name": "a"})))
        assert await exporter.consume(make_batch(traces({"name": "a"}))) == Accepted(1)


async def test_a_destination_that_is_not_there_is_retryable() -> None:
    async with started({"endpoint": "http://127.0.0.1:9"}) as exporter:
        with pytest.raises(Retryable, match="cannot be reached"):
            await exporter.consume(make_batch(traces({"name": "a"})))


async def test_what_a_tee_sends_is_repeated_until_the_destination_takes_it() -> None:
    context = make_context("otlphttp/tee")
    async with http_peer() as peer:
        config = FACTORY.config.model_validate(at(peer, retry_on_failure={"initial_interval": "10ms"}))
        sending = Sending(context, config, FACTORY.build(context, config))
        await sending.start()
        sending.open_queue()
        peer.answers = [HttpAnswer(503), HttpAnswer(429), HttpAnswer(200)]
        await sending.feed(make_batch(traces({"name": "a"}, {"name": "b"})))

        async def sent() -> bool:
            return sample(context, "otelcol_exporter_sent_spans_total", exporter="otlphttp/tee") == 2

        assert await eventually(sent)
        assert len(peer.requests) == 3
        await sending.stop()
    assert sample(context, "otelcol_exporter_send_failed_spans_total", exporter="otlphttp/tee") == 0


async def test_a_destination_that_hangs_is_given_up_after_the_timeout() -> None:
    async with http_peer() as peer:
        peer.hang = asyncio.Event()
        context = make_context("otlphttp/test")
        options = at(peer, timeout="200ms", retry_on_failure={"enabled": False})
        config = FACTORY.config.model_validate(options)
        sending = Sending(context, config, FACTORY.build(context, config))
        await sending.start()
        with pytest.raises(Retryable, match=r"no answer from its destination in 0\.2 s"):
            await sending.consume(make_batch(traces({"name": "a"})))
        await sending.stop()
        peer.hang.set()


async def test_secrets_stand_in_no_text_not_even_when_the_destination_sends_them_back() -> None:
    secret = "tops3cret"
    async with http_peer() as peer:
        options = at(peer, headers={"X-Api-Key": secret})
        assert secret not in repr(FACTORY.config.model_validate(options))
        async with started(options) as exporter:
            body = Status(message=f"{secret}\n is wrong").SerializeToString()
            peer.answers = [HttpAnswer(401, body)]
            with pytest.raises(Rejected, match=r"401: \*\*\*\*\\n is wrong"):
                await exporter.consume(make_batch(traces({"name": "a"})))
    assert peer.requests[0].headers["x-api-key"] == secret


async def test_tls_checks_the_destination_unless_told_otherwise() -> None:
    batch = make_batch(traces({"name": "a"}))
    async with http_peer(tls=(str(TLS / "server.pem"), str(TLS / "server.key"))) as peer:
        for tls in ({"ca_file": str(TLS / "ca.pem")}, {"insecure_skip_verify": True}):
            async with started(at(peer, tls=tls)) as exporter:
                assert await exporter.consume(batch) == Accepted(1)
        async with started(at(peer)) as exporter:
            with pytest.raises(Retryable, match="certificate verify failed"):
                await exporter.consume(batch)
        assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file: /nowhere/ca.pem cannot be read"),
        ({"ca_file": str(TLS / "server.key")}, "the certificates cannot be used"),
        ({"cert_file": str(TLS / "client.pem"), "key_file": str(TLS / "server.key")}, "cannot be used"),
    ],
)
async def test_a_tls_file_that_cannot_be_used_is_one_clear_line(tls: dict[str, Any], message: str) -> None:
    with pytest.raises(StartError, match=message):
        async with started({"endpoint": "https://localhost:1", "tls": tls}):
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set endpoint"),
        ({"endpoint": "localhost:4318"}, "is a URL"),
        ({"endpoint": "ftp://host"}, "is a URL"),
        ({"endpoint": "http://host:99999"}, "is a URL"),
        ({"endpoint": "http://user:pw@host"}, "put them into headers"),
        ({"endpoint": "http://host/?a=b"}, "cannot have a query"),
        ({"endpoint": "http://host/#a"}, "fragment"),
        ({"endpoint": "http://host", "encoding": "xml"}, "proto"),
        ({"endpoint": "http://host", "headers": {"Content-Type": "a"}}, "set by the exporter itself"),
        ({"endpoint": "http://host", "headers": {"a": "b\r\nc: d"}}, "not printable ASCII"),
        ({"endpoint": "http://host", "proxy_url": "http://proxy"}, "proxy_url"),
    ],
)
def test_a_wrong_option_is_an_error_without_the_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as error:
        FACTORY.config.model_validate(options)
    assert "user:pw" not in str(error.value)


async def test_stop_is_safe_without_start_and_twice() -> None:
    exporter = FACTORY.build(make_context(), FACTORY.config.model_validate({"endpoint": "http://localhost:1"}))
    await exporter.stop()
    with pytest.raises(Retryable, match="not started"):
        await exporter.consume(make_batch(traces({"name": "a"})))
    await exporter.start()
    await exporter.stop()
    await exporter.stop()


def test_the_signals_are_all_three() -> None:
    assert TRACES in FACTORY.signals
    assert len(FACTORY.signals) == 3
