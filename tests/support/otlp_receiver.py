"""A running `otlp` receiver in front of a recording consumer, and ways to talk to it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import httpx
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from ares_otel.model.scan import BodyScanner
from ares_otel.model.signal import SIGNALS, TRACES, Signal
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.listen import BindPolicy
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.receivers.otlp.factory import FACTORY
from ares_otel.receivers.otlp.receiver import OtlpReceiver
from tests.support.eventually import eventually
from tests.support.recording import Recording

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
LOG = logging.getLogger("ares_otel.test")


@dataclass
class Running:
    """A started receiver."""

    receiver: OtlpReceiver
    recording: Recording
    telemetry: Telemetry
    admission: Admission
    client: httpx.AsyncClient
    """Talks to the HTTP door; its base URL is set."""

    @property
    def http_port(self) -> int:
        return int(self.receiver.doors["otlp-http"].rpartition(":")[2])

    @property
    def grpc_target(self) -> str:
        return self.receiver.doors["otlp-grpc"]

    async def post(
        self, body: bytes, signal: Signal = TRACES, content_type: str = PROTOBUF, **headers: str
    ) -> httpx.Response:
        """Posts a body; keywords are headers (`_` stands for `-`)."""
        given = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.client.post(signal.http_path, content=body, headers=given)

    async def raw(self, data: bytes) -> bytes:
        """Everything that the HTTP door answers to these bytes until it closes."""
        return await talk(self.http_port, data)

    def count(self, name: str, **labels: str) -> float:
        """A counter's value, 0 when it was never touched."""
        return self.telemetry.registry.get_sample_value(f"{name}_total", labels) or 0.0


@asynccontextmanager
async def running(
    protocols: Mapping[str, Any] | None = None,
    *,
    signals: Mapping[str, Signal] = SIGNALS,
    policy: BindPolicy | None = None,
    scanner: BodyScanner | None = None,
    admission_bytes: int = 256 * 1024 * 1024,
) -> AsyncIterator[Running]:
    """A receiver on free ports of 127.0.0.1, both protocols unless told otherwise."""
    given: dict[str, Any] = {"grpc": {}, "http": {}} if protocols is None else dict(protocols)
    options = {name: {"endpoint": "127.0.0.1:0", **(value or {})} for name, value in given.items()}
    recording, telemetry, admission = Recording(), Telemetry(), Admission(admission_bytes)
    services: dict[type[Any], object] = {} if policy is None else {BindPolicy: policy}
    if scanner is not None:
        services[BodyScanner] = scanner
    context = BuildContext(
        id="otlp",
        telemetry=telemetry,
        admission=admission,
        log=LOG,
        services=services,
    )
    config = FACTORY.config.model_validate({"protocols": options})
    receiver = FACTORY.build(context, config, dict.fromkeys(signals.values(), recording))
    assert isinstance(receiver, OtlpReceiver)
    await receiver.start()
    base = receiver.doors.get("otlp-http", "http://127.0.0.1:1")
    try:
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            yield Running(receiver, recording, telemetry, admission, client)
    finally:
        if recording.gate is not None:
            recording.gate.set()
        await receiver.stop()
    assert admission.used_bytes == 0, "every reservation is given back"


async def until(condition: Callable[[], object]) -> None:
    """Waits until the condition holds."""

    async def look() -> bool:
        return bool(condition())

    await eventually(look, every=0.01)


async def talk(port: int, data: bytes) -> bytes:
    """Sends bytes to 127.0.0.1 and reads until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


async def export(
    target: str,
    request: Message | bytes,
    signal: Signal = TRACES,
    *,
    compression: grpc.Compression = grpc.Compression.NoCompression,
    timeout: float | None = 30,
) -> Any:
    """Calls `Export` and returns the response message."""
    body = request if isinstance(request, bytes) else request.SerializeToString()
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        call = channel.unary_unary(
            f"/{signal.service}/Export", request_serializer=None, response_deserializer=signal.response.FromString
        )
        return await call(body, timeout=timeout, compression=compression)


async def export_error(target: str, request: Message | bytes, signal: Signal = TRACES, **named: Any) -> Any:
    """The error that `Export` ends with."""
    try:
        await export(target, request, signal, **named)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


def grpc_status(error: grpc.aio.AioRpcError) -> Any:
    """The `google.rpc.Status` in the trailers of an error; None when there is none."""
    trailers: Any = error.trailing_metadata() or ()
    for name, value in trailers:
        if name == "grpc-status-details-bin":
            return Status.FromString(value)
    return None


def detail(status: Any, kind: type[Any]) -> Any:
    """The detail of that kind in a `google.rpc.Status`; None when there is none."""
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    return None


def http_status(response: httpx.Response) -> Any:
    """The `google.rpc.Status` of an error answer, in the answer's encoding, checked to say something."""
    if response.headers["content-type"] == JSON:
        status = json_format.ParseDict(response.json(), Status())
    else:
        assert response.headers["content-type"] == PROTOBUF, response.text
        status = Status.FromString(response.content)
    assert status.message
    if response.status_code == 400:
        assert detail(status, BadRequest).field_violations
    if response.status_code == 503:
        assert int(response.headers["retry-after"]) >= 1
        assert detail(status, RetryInfo) is not None
    else:
        assert "retry-after" not in response.headers
    return status


def to_json(message: Message) -> bytes:
    """OTLP JSON of a message, as the official exporters write it: ids in hex, enums as integers."""
    return json.dumps(_hex_ids(json_format.MessageToDict(message, use_integers_for_enums=True))).encode()


def _hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex_ids(element) for element in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(inner).hex() if key in ("traceId", "spanId", "parentSpanId") else _hex_ids(inner)
        for key, inner in value.items()
    }
