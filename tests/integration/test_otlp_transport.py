"""OTLP receiver: listeners, paths, encodings, CORS (statements 1 to 10 of docs/conformance.md)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import zstandard

from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.receivers.otlp.config import GrpcConfig, HttpConfig
from tests.support.otlp_receiver import JSON, PROTOBUF, export, export_error, http_status, running, to_json
from tests.support.otlp_samples import logs_request, metrics_request, trace_request

REQUESTS: dict[Signal, Callable[[], Any]] = {TRACES: trace_request, LOGS: logs_request, METRICS: metrics_request}
EVERY_SIGNAL = pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


COMPRESSED: dict[str, Any] = {
    "none": (None, bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("gzip", lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:])),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip in capitals": ("GZIP", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstandard.compress),
}


@EVERY_SIGNAL
async def test_every_signal_is_taken_by_its_grpc_service(signal: Signal) -> None:
    """Statement 1."""
    assert GrpcConfig().endpoint == "127.0.0.1:4317"
    assert HttpConfig().endpoint == "127.0.0.1:4318"
    request = REQUESTS[signal]()
    async with running() as ares:
        response = await export(ares.grpc_target, request, signal)
        assert response == signal.response()
        (batch,) = ares.recording.batches
        assert (batch.signal, batch.payload, batch.transport) == (signal, request.SerializeToString(), "grpc")


async def test_a_signal_without_a_pipeline_is_unimplemented_over_grpc_and_not_found_over_http() -> None:
    """Statement 1. Profiles are in development and not served."""
    async with running(signals={"logs": LOGS}) as ares:
        error = await export_error(ares.grpc_target, trace_request())
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        response = await ares.post(b"")
        assert response.status_code == 404
        assert (await ares.post(b"", LOGS)).status_code == 200
        profiles = await ares.client.post("/v1development/profiles", content=b"", headers={"content-type": PROTOBUF})
        assert profiles.status_code == 404


@EVERY_SIGNAL
async def test_every_signal_is_taken_at_its_http_path(signal: Signal) -> None:
    """Statement 2."""
    request = REQUESTS[signal]()
    async with running() as ares:
        response = await ares.client.post(
            f"/v1/{signal.name}?source=test", content=request.SerializeToString(), headers={"content-type": PROTOBUF}
        )
        assert (response.status_code, response.content) == (200, b"")
        (batch,) = ares.recording.batches
        assert (batch.signal, batch.payload, batch.transport) == (signal, request.SerializeToString(), "http")


@EVERY_SIGNAL
async def test_http_paths_are_configurable(signal: Signal) -> None:
    """Statement 2."""
    async with running({"http": {f"{signal.name}_url_path": "/in/here"}}) as ares:
        headers = {"content-type": PROTOBUF}
        assert (await ares.client.post("/in/here", content=b"", headers=headers)).status_code == 200
        assert (await ares.client.post(signal.http_path, content=b"", headers=headers)).status_code == 404


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-protobuf",
        "Application/X-Protobuf",
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "APPLICATION/JSON",
    ],
)
async def test_protobuf_and_json_share_a_port_and_are_told_apart_by_content_type(content_type: str) -> None:
    """Statement 3."""
    request = trace_request()
    is_json = "json" in content_type.lower()
    async with running() as ares:
        body = to_json(request) if is_json else request.SerializeToString()
        response = await ares.post(body, content_type=content_type)
        assert response.status_code == 200
        (batch,) = ares.recording.batches
        assert batch.message() == request
        assert TRACES.request.FromString(batch.payload) == request


async def test_a_protocol_that_is_not_configured_is_not_served() -> None:
    """Statement 4. gRPC and HTTP have a port each, and each can be left out."""
    async with running({"http": None}) as ares:
        assert set(ares.receiver.doors) == {"otlp-http"}
        assert (await ares.post(b"")).status_code == 200
    async with running({"grpc": None}) as ares:
        assert set(ares.receiver.doors) == {"otlp-grpc"}
        assert await export(ares.grpc_target, b"") == TRACES.response()


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("name", COMPRESSED)
async def test_every_content_encoding_is_taken_over_http(name: str, content_type: str) -> None:
    """Statement 5."""
    header, compress = COMPRESSED[name]
    request = trace_request()
    body = to_json(request) if content_type == JSON else request.SerializeToString()
    async with running() as ares:
        headers = {} if header is None else {"content_encoding": header}
        response = await ares.post(compress(body), content_type=content_type, **headers)
        assert response.status_code == 200
        (batch,) = ares.recording.batches
        assert batch.message() == request


@pytest.mark.parametrize("compression", list(grpc.Compression), ids=str)
async def test_every_compression_of_grpc_is_taken(compression: grpc.Compression) -> None:
    """Statement 5."""
    request = trace_request()
    async with running() as ares:
        await export(ares.grpc_target, request, compression=compression)
        (batch,) = ares.recording.batches
        assert batch.payload == request.SerializeToString()


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
async def test_the_answer_has_the_content_type_of_the_request_and_is_not_compressed(content_type: str) -> None:
    """Statement 6."""
    async with running() as ares:
        for body in (b"", b"{}", b"\xff"):
            response = await ares.post(body, content_type=content_type, accept_encoding="gzip")
            assert response.headers["content-type"] == content_type
            assert "content-encoding" not in response.headers


@pytest.mark.parametrize("encoding", ["br", "snappy", "gzip, br", "lz4", "x" * 1000, "ｇｚｉｐ"])
async def test_an_unknown_content_encoding_is_answered_415(encoding: str) -> None:
    """Statement 7."""
    async with running() as ares:
        response = await ares.client.post(
            "/v1/traces",
            content=b"",
            headers=[(b"content-type", JSON.encode()), (b"content-encoding", encoding.encode())],
        )
        assert response.status_code == 415
        assert "Content-Encoding" in http_status(response).message
        assert not ares.recording.batches


async def test_many_requests_go_over_one_http_connection() -> None:
    """Statement 8."""
    request = (
        b"POST /v1/traces HTTP/1.1\r\nHost: x.localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    )
    async with running() as ares:
        answers = await ares.raw((request + b"\r\n{}") * 5 + request + b"Connection: close\r\n\r\n{}")
        assert answers.count(b"HTTP/1.1 200 OK") == 6


def preflight(origin: str, headers: str = "x-api-key") -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": headers,
    }


async def test_without_cors_no_page_gets_in() -> None:
    """Statement 9."""
    async with running() as ares:
        response = await ares.client.options("/v1/traces", headers=preflight("https://app.example.com"))
        assert response.status_code == 403
        assert not [name for name in response.headers if name.startswith("access-control")]
        post = await ares.post(b"", origin="https://app.example.com")
        assert post.status_code == 403
        assert http_status(post).message


async def test_listed_origins_get_a_preflight_answer_and_others_do_not() -> None:
    """Statement 9."""
    cors = {
        "allowed_origins": ["https://*.example.com", "http://localhost:*"],
        "allowed_headers": ["X-Api-Key"],
        "max_age": 7200,
    }
    async with running({"http": {"cors": cors}}) as ares:
        for origin in ("https://app.example.com", "https://a.b.example.com", "http://localhost:3000"):
            response = await ares.client.options("/v1/traces", headers=preflight(origin, "x-api-key,content-type,evil"))
            assert response.status_code == 204
            assert response.headers["access-control-allow-origin"] == origin
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers["access-control-allow-headers"] == "x-api-key, content-type"
            assert response.headers["access-control-max-age"] == "7200"
            assert "Origin" in response.headers["vary"]
            post = await ares.post(b"", origin=origin)
            assert (post.status_code, post.headers["access-control-allow-origin"]) == (200, origin)
            wrong = await ares.post(b"\xff", origin=origin)
            assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (400, origin)
        for origin in ("https://example.com.evil.org", "http://app.example.com", "null", "https://evilexample.com"):
            response = await ares.client.options("/v1/traces", headers=preflight(origin))
            assert "access-control-allow-origin" not in response.headers
            assert (await ares.post(b"", origin=origin)).status_code == 403


async def test_a_star_lets_every_page_in_but_never_with_credentials() -> None:
    """Statement 9."""
    async with running({"http": {"cors": {"allowed_origins": ["*"], "allowed_headers": ["*"]}}}) as ares:
        response = await ares.client.options("/v1/logs", headers=preflight("https://evil.example"))
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers
        assert response.headers["access-control-allow-headers"] == "x-api-key"
        assert (await ares.post(b"", origin="https://evil.example")).status_code == 200


async def test_allowed_headers_without_origins_are_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Statement 9."""
    async with running({"http": {"cors": {"allowed_headers": ["X-Api-Key"]}}}) as ares:
        assert "cors.allowed_headers is ignored" in caplog.text
        response = await ares.client.options("/v1/traces", headers=preflight("https://app.example.com"))
        assert response.status_code == 403
