"""OTLP receiver: success, partial success, and errors over both transports (statements 14 to 31 of the conformance
page)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import FieldViolation, Overloaded, Rejected, Retryable, TooLarge
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from tests.support.otlp_receiver import (
    JSON,
    PROTOBUF,
    detail,
    export,
    export_error,
    grpc_status,
    http_status,
    running,
    to_json,
    until,
)
from tests.support.otlp_samples import logs_request, metrics_request, trace_request

REQUESTS: dict[Signal, Callable[[], Any]] = {TRACES: trace_request, LOGS: logs_request, METRICS: metrics_request}
EVERY_SIGNAL = pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
BOTH_TYPES = pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
TRANSIENT: list[Exception] = [
    Retryable(),
    Overloaded(),
    ConnectionError("the database is away"),
    TimeoutError(),
    OSError(28, "No space left on device"),
    MemoryError(),
    KeyError("a bug"),
]


@EVERY_SIGNAL
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", PROTOBUF),
        (b"\x0a\x00", PROTOBUF),
        (b"{}", JSON),
        (b'{"resourceSpans":[],"resourceLogs":[],"resourceMetrics":[]}', JSON),
        (b'{"resourceSpans":[{}],"resourceLogs":[{}],"resourceMetrics":[{}]}', JSON),
    ],
)
async def test_an_empty_request_succeeds(signal: Signal, body: bytes, content_type: str) -> None:
    """Statement 14."""
    async with running() as ares:
        response = await ares.post(body, signal, content_type)
        assert (response.status_code, response.content) == (200, b"{}" if content_type == JSON else b"")
        if content_type == PROTOBUF:
            assert await export(ares.grpc_target, body, signal) == signal.response()


def _same(answer: Accepted, batch: Batch) -> Accepted:
    return answer


@EVERY_SIGNAL
async def test_full_success_leaves_partial_success_unset(signal: Signal) -> None:
    """Statement 15. Items that were stored before, or that the configuration does not want, are accepted."""
    request = REQUESTS[signal]()
    async with running() as ares:
        for accepted in (Accepted(1), Accepted(0, deduplicated=1), Accepted(0, dropped=1)):
            ares.recording.answer = partial(_same, accepted)
            assert (await ares.post(request.SerializeToString(), signal)).content == b""
            assert (await ares.post(to_json(request), signal, JSON)).content == b"{}"
            response = await export(ares.grpc_target, request, signal)
            assert not response.HasField("partial_success")


@EVERY_SIGNAL
async def test_partial_success_says_how_many_were_rejected_and_why(signal: Signal) -> None:
    """Statement 16."""
    request = REQUESTS[signal]()
    async with running() as ares:
        ares.recording.answer = lambda batch: Accepted(5, rejected=3, reason="3 × trace_id is all zeros")
        response = await ares.post(request.SerializeToString(), signal)
        assert response.status_code == 200
        over_http = signal.response.FromString(response.content)
        over_grpc = await export(ares.grpc_target, request, signal)
        for partial in (over_http.partial_success, over_grpc.partial_success):  # type: ignore[attr-defined]
            assert getattr(partial, signal.rejected_field) == 3
            assert partial.error_message == "3 × trace_id is all zeros"
        for transport in ("http", "grpc"):
            labels = {"receiver": "otlp", "transport": transport}
            assert ares.count(f"ares_otel_receiver_rejected_{signal.items}", **labels) == 3


async def test_a_rejection_without_a_reason_still_says_something() -> None:
    """Statement 16."""
    async with running() as ares:
        ares.recording.answer = lambda batch: Accepted(rejected=1)
        response = await export(ares.grpc_target, trace_request())
        assert response.partial_success.error_message


async def test_a_warning_has_a_message_and_rejects_nothing() -> None:
    """Statement 17."""
    async with running() as ares:
        ares.recording.answer = lambda batch: Accepted(1, reason="Attribute x was cut.")
        response = await export(ares.grpc_target, trace_request())
        assert response.HasField("partial_success")
        assert response.partial_success.rejected_spans == 0
        assert response.partial_success.error_message == "Attribute x was cut."


@EVERY_SIGNAL
async def test_json_answers_are_camel_case_with_counts_as_strings(signal: Signal) -> None:
    """Statement 18."""
    names = {TRACES: "rejectedSpans", LOGS: "rejectedLogRecords", METRICS: "rejectedDataPoints"}
    async with running() as ares:
        ares.recording.answer = lambda batch: Accepted(5, rejected=3, reason="bad")
        response = await ares.post(to_json(REQUESTS[signal]()), signal, JSON)
        assert response.json() == {"partialSuccess": {names[signal]: "3", "errorMessage": "bad"}}


async def test_the_answer_waits_for_the_consumer() -> None:
    """Statement 19."""
    async with running() as ares:
        ares.recording.gate = asyncio.Event()
        over_http = asyncio.create_task(ares.post(trace_request().SerializeToString()))
        over_grpc = asyncio.create_task(export(ares.grpc_target, trace_request()))
        await until(lambda: len(ares.recording.batches) == 2)
        assert (await ares.post(b"")).status_code == 200
        assert not over_http.done()
        assert not over_grpc.done()
        ares.recording.gate.set()
        assert (await over_http).status_code == 200
        await over_grpc


async def _failing_requests(ares: Any, content_type: str) -> list[Any]:
    client, kind = ares.client, {"content-type": content_type}
    valid = to_json(trace_request()) if content_type == JSON else trace_request().SerializeToString()
    answers = [
        (400, await ares.post(b"\xff", content_type=content_type)),
        (403, await ares.post(b"", content_type=content_type, origin="https://evil.example")),
        (404, await client.post("/v1/nothing", content=b"", headers=kind)),
        (405, await client.put("/v1/traces", content=b"", headers=kind)),
        (413, await ares.post(bytes(10_001), content_type=content_type)),
        (415, await ares.post(b"", content_type=content_type, content_encoding="br")),
        (421, await ares.post(b"", content_type=content_type, host="evil.example")),
    ]
    ares.recording.fail_with(Retryable("The database is away."))
    answers.append((503, await ares.post(valid, content_type=content_type)))
    return answers


@BOTH_TYPES
async def test_every_error_carries_a_status_in_the_encoding_of_the_request(content_type: str) -> None:
    """Statement 20."""
    async with running({"http": {"max_request_body_size": 10_000}}) as ares:
        for expected, response in await _failing_requests(ares, content_type):
            assert response.status_code == expected
            assert response.headers["content-type"] == content_type
            assert http_status(response).code != 0


async def test_without_a_known_content_type_the_status_is_protobuf() -> None:
    """Statement 20."""
    async with running() as ares:
        for headers in ({}, {"content-type": "text/plain"}):
            response = await ares.client.post("/v1/traces", content=b"", headers=headers)
            assert response.status_code == 415
            assert response.headers["content-type"] == PROTOBUF
            http_status(response)


@BOTH_TYPES
async def test_undecodable_data_is_answered_400_with_field_violations(content_type: str) -> None:
    """Statement 21."""
    async with running() as ares:
        response = await ares.post(b"\xff\xff garbage", content_type=content_type)
        assert response.status_code == 400
        assert detail(http_status(response), BadRequest).field_violations[0].description
        assert not ares.recording.batches
        ares.recording.fail_with(Rejected("No.", violations=[FieldViolation("resourceSpans[0]", "is wrong")]))
        body = to_json(trace_request()) if content_type == JSON else trace_request().SerializeToString()
        rejected = await ares.post(body, content_type=content_type)
        assert rejected.status_code == 400
        (violation,) = detail(http_status(rejected), BadRequest).field_violations
        assert (violation.field, violation.description) == ("resourceSpans[0]", "is wrong")
        assert ares.count("ares_otel_receiver_rejected_spans", receiver="otlp", transport="http") == 3


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
async def test_every_transient_fault_is_retryable_on_both_transports(error: Exception) -> None:
    """Statements 22 and 28. An error that nobody foresaw counts as transient too: 500 and UNKNOWN lose data."""
    async with running() as ares:
        ares.recording.fail_with(error)
        response = await ares.post(trace_request().SerializeToString())
        assert response.status_code == 503
        http_status(response)
        over_grpc = await export_error(ares.grpc_target, trace_request())
        assert over_grpc.code() == grpc.StatusCode.UNAVAILABLE
        for transport in ("http", "grpc"):
            assert ares.count("otelcol_receiver_refused_spans", receiver="otlp", transport=transport) == 3


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")])
async def test_retry_after_is_a_whole_number_of_seconds_and_at_least_one(seconds: float, header: str) -> None:
    """Statement 23."""
    async with running() as ares:
        ares.recording.fail_with(Retryable(retry_after=seconds))
        response = await ares.post(trace_request().SerializeToString())
        assert response.headers["retry-after"] == header


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_other_methods_than_post_are_answered_405_with_allow(method: str) -> None:
    """Statement 24."""
    async with running() as ares:
        response = await ares.client.request(method, "/v1/traces", headers={"content-type": JSON})
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        if method != "HEAD":
            http_status(response)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/traces/", "//v1/traces", "/v1/%74races", "/V1/traces", "/v1/../v1/traces", "/v1/spans"]
)
async def test_other_paths_are_answered_404(path: str) -> None:
    """Statement 24."""
    async with running() as ares:
        answer = await ares.raw(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
            b"Connection: close\r\n\r\n{}" % path.encode()
        )
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b'"message":' in answer


async def test_the_same_request_sent_again_is_handed_on_with_the_same_key() -> None:
    """Statement 25. Storing it once is the exporter's work; it knows a retry by its key."""
    request = trace_request()
    async with running() as ares:
        for _ in range(2):
            await ares.post(request.SerializeToString())
            await ares.post(to_json(request), content_type=JSON)
            await export(ares.grpc_target, request, compression=grpc.Compression.Gzip)
        keys = [batch.key for batch in ares.recording.batches]
        assert keys[:3] == keys[3:]
        assert keys[0] == keys[2]
        assert keys[0] != keys[1], "the key of JSON is that of the JSON"


async def test_a_sender_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Statement 26."""
    async with running() as ares:
        reader, writer = await asyncio.open_connection("127.0.0.1", ares.http_port)
        head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
        writer.write(head + b"Content-Length: 100000\r\n\r\n" + bytes(500))
        await writer.drain()
        await until(lambda: ares.admission.used_bytes)
        writer.close()
        del reader
        labels = {"receiver": "otlp", "transport": "http", "signal": "traces", "reason": "cancelled"}
        await until(lambda: ares.count("ares_otel_receiver_refused_requests", **labels))
        assert ares.admission.used_bytes == 0
        assert not ares.recording.batches
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_grpc_call_that_is_cancelled_is_cancelled_at_the_consumer_too() -> None:
    """Statement 26."""
    async with running() as ares:
        ares.recording.gate = asyncio.Event()
        call = asyncio.create_task(export(ares.grpc_target, trace_request()))
        await ares.recording.arrived.wait()
        call.cancel()
        await until(lambda: not ares.admission.used_bytes)
        assert ares.count("otelcol_receiver_refused_spans", receiver="otlp", transport="grpc") == 3


@pytest.mark.parametrize(
    ("error", "http_code", "grpc_code", "retry"),
    [
        (Retryable(), 503, grpc.StatusCode.UNAVAILABLE, True),
        (Overloaded(), 503, grpc.StatusCode.UNAVAILABLE, True),
        (Rejected(), 400, grpc.StatusCode.INVALID_ARGUMENT, False),
        (TooLarge(), 413, grpc.StatusCode.RESOURCE_EXHAUSTED, False),
        (RuntimeError(), 503, grpc.StatusCode.UNAVAILABLE, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_an_error_has_one_code_on_each_transport(
    error: Exception, http_code: int, grpc_code: grpc.StatusCode, retry: bool
) -> None:
    """Statements 27 and 28."""
    async with running() as ares:
        ares.recording.fail_with(error)
        response = await ares.post(trace_request().SerializeToString())
        assert (response.status_code, "retry-after" in response.headers) == (http_code, retry)
        over_grpc = await export_error(ares.grpc_target, trace_request())
        status = grpc_status(over_grpc)
        assert over_grpc.code() == grpc_code
        assert (status.code, status.message) == (grpc_code.value[0], over_grpc.details())
        assert http_status(response).code == status.code
        assert (detail(status, RetryInfo) is not None) == retry


async def test_throttling_over_grpc_says_when_to_come_back() -> None:
    """Statement 29."""
    async with running() as ares:
        ares.recording.fail_with(Retryable("The spool is full.", retry_after=2.5))
        error = await export_error(ares.grpc_target, trace_request())
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "The spool is full.")
        assert detail(grpc_status(error), RetryInfo).retry_delay.ToMilliseconds() == 2500


async def test_bad_data_over_grpc_is_an_invalid_argument_with_details() -> None:
    """Statement 30."""
    async with running() as ares:
        for garbage in (b"\xff", b"\x1f\x8bgarbage", b"\x78\x9cgarbage", b"\x0a\x05abc"):
            error = await export_error(ares.grpc_target, garbage)
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert detail(grpc_status(error), BadRequest).field_violations
        labels = {"receiver": "otlp", "transport": "grpc", "signal": "traces", "reason": "invalid"}
        assert ares.count("ares_otel_receiver_refused_requests", **labels) == 4
        assert await export(ares.grpc_target, trace_request()) == TRACES.response()


@pytest.mark.parametrize("letter", ["x", "€", "\U0001f600", "\n", "%"])
async def test_long_messages_are_cut_so_that_trailers_stay_small(letter: str) -> None:
    """Statement 31."""
    long = letter * 20_000
    async with running() as ares:
        ares.recording.fail_with(Rejected(long, violations=[FieldViolation(long, long)] * 1000))
        error = await export_error(ares.grpc_target, trace_request())
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert len(error.details() or "") <= 1000
        assert len(grpc_status(error).SerializeToString()) * 4 / 3 + 3 * len((error.details() or "").encode()) < 8000
        ares.recording.answer = lambda batch: Accepted(rejected=1, reason=long)
        response = await export(ares.grpc_target, trace_request())
        assert 900 <= len(response.partial_success.error_message.encode()) <= 1000


async def test_the_deadline_of_the_sender_travels_with_the_batch() -> None:
    """Statement 28. Nobody works for a sender who has gone."""
    async with running() as ares:
        await export(ares.grpc_target, trace_request(), timeout=50)
        await export(ares.grpc_target, trace_request(), timeout=None)
        await ares.post(trace_request().SerializeToString())
        with_deadline, without, over_http = ares.recording.batches
        assert with_deadline.deadline is not None
        assert (without.deadline, over_http.deadline) == (None, None)


async def test_an_unexpected_error_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Statement 22."""
    async with running() as ares:
        ares.recording.fail_with(ZeroDivisionError("a bug"))
        for _ in range(5):
            await ares.post(trace_request().SerializeToString())
            await export_error(ares.grpc_target, trace_request())
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(logged) == 1
        assert logged[0].exc_info is not None
        assert "ZeroDivisionError" in caplog.text


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_stopping_finishes_what_was_accepted_and_takes_nothing_new() -> None:
    """Statement 19. Stopping twice does no harm."""
    async with running() as ares:
        ares.recording.gate = asyncio.Event()
        port = ares.http_port
        over_http = asyncio.create_task(ares.post(trace_request().SerializeToString()))
        over_grpc = asyncio.create_task(export(ares.grpc_target, trace_request()))
        await until(lambda: len(ares.recording.batches) == 2)
        stopping = asyncio.create_task(ares.receiver.stop())
        await until(lambda: not listens(port))
        ares.recording.gate.set()
        assert (await over_http).status_code == 200
        assert await over_grpc == TRACES.response()
        await stopping
        await ares.receiver.stop()
