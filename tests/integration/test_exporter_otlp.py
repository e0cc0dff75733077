"""The `otlp` exporter against a real gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import ValidationError

from ares_otel.exporters.otlp import FACTORY
from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Rejected, Retryable, StartError
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.pipeline.component import BuildContext, Stage
from ares_otel.pipeline.sending import Sending
from tests.support.eventually import eventually
from tests.support.otlp_peers import GrpcPeer, grpc_peer
from tests.support.parts import logs, make_batch, make_context, metrics, sample, traces
from tests.support.ports import free_port

TLS = Path(__file__).parent.parent / "support" / "tls"


@asynccontextmanager
async def started(exporter: Any) -> AsyncIterator[Any]:
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop()


def build(options: dict[str, Any], context: BuildContext | None = None) -> Stage:
    return FACTORY.build(
        context or make_context("otlp/test"),
        FACTORY.config.model_validate(options),
    )


def plain_text(peer: GrpcPeer, **more: Any) -> dict[str, Any]:
    return {"endpoint": f"127.0.0.1:{peer.port}", "tls": {"insecure": True}, **more}


async def test_every_signal_goes_to_its_service_with_the_payload_as_it_came() -> None:
    batches = [make_batch(traces({"name": "a"})), make_batch(logs({"body": "b"})), make_batch(metrics({"as_int": 1}))]
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        for batch in batches:
            assert await exporter.consume(batch) == Accepted(1)
        assert [(service, body) for service, body, _ in peer.requests] == [
            (signal.service, batch.payload) for signal, batch in zip((TRACES, LOGS, METRICS), batches, strict=True)
        ]


@pytest.mark.parametrize(("compression", "expected"), [(None, True), ("gzip", True), ("none", False)])
async def test_requests_are_compressed_as_configured(compression: str | None, expected: bool) -> None:
    option = {} if compression is None else {"compression": compression}
    async with grpc_peer() as peer, started(build(plain_text(peer, **option))) as exporter:
        batch = make_batch(traces({"name": "a" * 10_000}))
        await exporter.consume(batch)
        assert peer.compressed == [expected]
        assert peer.requests[0][1] == batch.payload


async def test_headers_and_user_agent_are_sent() -> None:
    options = {"headers": {"Authorization": "Bearer secret-token"}}
    async with grpc_peer() as peer, started(build(plain_text(peer, **options))) as exporter:
        await exporter.consume(make_batch(traces({"name": "a"})))
        metadata = peer.requests[0][2]
        assert metadata["authorization"] == "Bearer secret-token"
        assert str(metadata["user-agent"]).startswith("ares-otel/")


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
async def test_a_code_that_the_specification_calls_retryable_is_retryable(code: str) -> None:
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [(grpc.StatusCode[code], "later", None)]
        with pytest.raises(Retryable, match=f"otlp/test: the destination answered {code}: later") as error:
            await exporter.consume(make_batch(traces({"name": "a"})))
        assert error.value.retry_after == 0


@pytest.mark.parametrize(
    "code",
    [
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "RESOURCE_EXHAUSTED",
    ],
)
async def test_any_other_code_is_final(code: str) -> None:
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [(grpc.StatusCode[code], "no", None)]
        with pytest.raises(Rejected, match=code):
            await exporter.consume(make_batch(traces({"name": "a"})))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
async def test_the_delay_of_a_retry_info_is_passed_on(code: str) -> None:
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [(grpc.StatusCode[code], "busy", 2.5)]
        with pytest.raises(Retryable) as error:
            await exporter.consume(make_batch(traces({"name": "a"})))
        assert error.value.retry_after == 2.5


async def test_partial_success_is_told_as_rejected_items() -> None:
    response = TRACES.response()
    response.partial_success.rejected_spans = 1  # type: ignore[attr-defined]
    response.partial_success.error_message = "bad\nid"  # type: ignore[attr-defined]
    too_many = TRACES.response()
    too_many.partial_success.rejected_spans = 99  # type: ignore[attr-defined]
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [response.SerializeToString(), too_many.SerializeToString()]
        batch = make_batch(traces({"name": "a"}, {"name": "b"}))
        answer = await exporter.consume(batch)
        assert answer == Accepted(1, rejected=1, reason="The destination rejected a part: bad\\nid")
        assert (await exporter.consume(batch)).rejected == 2


async def test_a_warning_of_the_destination_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    response = TRACES.response()
    response.partial_success.error_message = "deprecated \x1b[31mfield"  # type: ignore[attr-defined]
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [response.SerializeToString()] * 5
        for _ in range(5):
            assert await exporter.consume(make_batch(traces({"name": "a"}))) == Accepted(1)
    assert caplog.messages == ["otlp/test: the destination warns: deprecated \\x1b[31mfield"]


async def test_an_answer_that_is_not_otlp_is_final() -> None:
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [b"\xff\xff\xff"]
        with pytest.raises(Rejected, match="not OTLP"):
            await exporter.consume(make_batch(traces({"name": "a"})))


async def test_a_destination_that_is_not_there_is_retryable_and_found_when_it_comes() -> None:
    port = free_port()
    context = make_context("otlp/late")
    options = {
        "endpoint": f"http://127.0.0.1:{port}",
        "retry_on_failure": {"initial_interval": "100ms", "max_interval": "500ms", "randomization_factor": 0},
        "sending_queue": {"num_consumers": 1},
    }
    config = FACTORY.config.model_validate(options)
    bare = FACTORY.build(context, config)
    async with started(bare):
        with pytest.raises(Retryable, match="UNAVAILABLE"):
            await bare.consume(make_batch(traces({"name": "a"})))
    sending = Sending(context, config, FACTORY.build(context, config))
    async with started(sending):
        sending.open_queue()
        await sending.feed(make_batch(traces({"name": "waits"})))
        async with grpc_peer(port=port) as peer:

            async def sent() -> bool:
                return sample(context, "otelcol_exporter_sent_spans_total", exporter="otlp/late") == 1

            assert await eventually(sent)
            assert len(peer.requests) == 1


async def test_a_destination_that_hangs_is_given_up_after_the_timeout_and_told_so() -> None:
    async with grpc_peer() as peer:
        peer.hang = asyncio.Event()
        context = make_context("otlp/test")
        options = plain_text(peer, timeout="200ms", retry_on_failure={"enabled": False})
        config = FACTORY.config.model_validate(options)
        async with started(Sending(context, config, FACTORY.build(context, config))) as sending:
            with pytest.raises(Retryable):
                await sending.consume(make_batch(traces({"name": "a"})))
            await asyncio.wait_for(peer.cancelled.wait(), 10)


async def test_secrets_stand_in_no_text_not_even_when_the_destination_sends_them_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "tops3cret"
    options = {"endpoint": "127.0.0.1:1", "headers": {"x-api-key": secret}}
    assert secret not in repr(FACTORY.config.model_validate(options))
    with pytest.raises(ValidationError) as invalid:
        FACTORY.config.model_validate({**options, "headers": {"x-api-key": secret + "\n"}, "unknown": secret})
    assert secret not in str(invalid.value)
    async with grpc_peer() as peer, started(build(plain_text(peer, headers={"x-api-key": secret}))) as exporter:
        peer.answers = [(grpc.StatusCode.UNAUTHENTICATED, f"key {secret} is unknown", None)]
        with pytest.raises(Rejected, match=r"key \*\*\*\* is unknown"):
            await exporter.consume(make_batch(traces({"name": "a"})))
    assert secret not in caplog.text


async def test_text_of_the_destination_can_neither_forge_lines_nor_fill_the_log() -> None:
    async with grpc_peer() as peer, started(build(plain_text(peer))) as exporter:
        peer.answers = [(grpc.StatusCode.INTERNAL, "a\nERROR forged \x1b[2J\u202e" + "x" * 2000, None)]
        with pytest.raises(Rejected) as error:
            await exporter.consume(make_batch(traces({"name": "a"})))
    assert error.value.message.isprintable()
    assert len(error.value.message) < 700


async def test_tls_with_an_own_authority_and_a_client_certificate() -> None:
    credentials = grpc.ssl_server_credentials(
        [((TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes())],
        root_certificates=(TLS / "ca.pem").read_bytes(),
        require_client_auth=True,
    )
    authority = {"ca_file": str(TLS / "ca.pem")}
    own = {"cert_file": str(TLS / "client.pem"), "key_file": str(TLS / "client.key")}
    batch = make_batch(traces({"name": "a"}))
    async with grpc_peer(credentials=credentials) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        async with started(build({"endpoint": endpoint, "tls": {**authority, **own}})) as exporter:
            assert await exporter.consume(batch) == Accepted(1)
        named = {**authority, **own, "server_name_override": "otlp.example.test"}
        async with started(build({"endpoint": f"127.0.0.1:{peer.port}", "tls": named})) as exporter:
            assert await exporter.consume(batch) == Accepted(1)
        for wrong in ({}, authority, {**authority, **own, "server_name_override": "other.test"}):
            async with started(build({"endpoint": endpoint, "tls": wrong})) as exporter:
                with pytest.raises(Retryable):
                    await exporter.consume(batch)
        assert len(peer.requests) == 2


async def test_a_tls_file_that_is_not_there_is_one_clear_line() -> None:
    exporter = build({"endpoint": "a:1", "tls": {"ca_file": "/nowhere/ca.pem"}})
    with pytest.raises(StartError, match=r"exporters\.otlp/test\.tls\.ca_file: /nowhere/ca\.pem cannot be read"):
        await exporter.start()
    await exporter.stop()
    await exporter.stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "endpoint"),
        ({"endpoint": "example.com"}, "host:port"),
        ({"endpoint": "http://user:pw@host:1"}, "host:port"),
        ({"endpoint": "127.0.0.1:99999"}, "1 to 65535"),
        ({"endpoint": "http://[::1]:0/"}, "1 to 65535"),
        ({"endpoint": "http://host:1/v1/traces"}, "host:port"),
        ({"endpoint": "a:1", "compression": "zstd"}, "gzip"),
        ({"endpoint": "a:1", "headers": {"grpc-timeout": "1"}}, "set by the exporter itself"),
        ({"endpoint": "a:1", "headers": {"a b": "1"}}, "not a header name"),
        ({"endpoint": "a:1", "tls": {"cert_file": "x"}}, "belong together"),
        ({"endpoint": "a:1", "tls": {"insecure": True, "ca_file": "x"}}, "no meaning"),
        ({"endpoint": "https://a:1", "tls": {"insecure": True}}, "contradict"),
        ({"endpoint": "a:1", "tls": {"insecure_skip_verify": True}}, "insecure_skip_verify"),
    ],
)
def test_a_wrong_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FACTORY.config.model_validate(options)
