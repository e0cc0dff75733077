"""A running `zipkin` receiver in front of a recording consumer, and spans to send to it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from ares_otel.model.signal import TRACES
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.receivers.zipkin.receiver import FACTORY, ZipkinReceiver
from tests.support.recording import Recording

PATH = "/api/v2/spans"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"


def zipkin_span(number: int = 1, service: str = "shop", **fields: Any) -> dict[str, Any]:
    """A span as Zipkin's own libraries write it; every number is another span of the same trace."""
    return {
        "traceId": "463ac35c9f6413ad48485a3953bb6124",
        "id": f"{number:016x}",
        "name": f"span {number}",
        "timestamp": 1_700_000_000_000_000 + number,
        "duration": 1000,
        "localEndpoint": {"serviceName": service},
        **fields,
    }


def body_of(*spans: Any) -> bytes:
    return json.dumps(spans).encode()


@dataclass
class Running:
    """A started receiver."""

    receiver: ZipkinReceiver
    recording: Recording
    telemetry: Telemetry
    admission: Admission
    client: httpx.AsyncClient

    @property
    def port(self) -> int:
        return int(self.receiver.doors["zipkin"].rpartition(":")[2])

    async def post(self, body: bytes, content_type: str | None = JSON, path: str = PATH, **more: str) -> httpx.Response:
        """Posts a body; keywords are headers (`_` stands for `-`)."""
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if content_type is not None:
            headers["content-type"] = content_type
        return await self.client.post(path, content=body, headers=headers)

    def count(self, name: str, **labels: str) -> float:
        """A counter's value, 0 when it was never touched."""
        given = {"receiver": "zipkin", "transport": "http", **labels}
        return self.telemetry.registry.get_sample_value(f"{name}_total", given) or 0.0


@asynccontextmanager
async def running(*, admission_bytes: int = 256 * 1024 * 1024, **options: Any) -> AsyncIterator[Running]:
    """A receiver on a free port of 127.0.0.1; keywords are its options."""
    recording, telemetry, admission = Recording(), Telemetry(), Admission(admission_bytes)
    context = BuildContext(
        id="zipkin", telemetry=telemetry, admission=admission, log=logging.getLogger("ares_otel.test")
    )
    given = options if "protocols" in options else {"endpoint": "127.0.0.1:0", **options}
    receiver = FACTORY.build(context, FACTORY.config.model_validate(given), {TRACES: recording})
    assert isinstance(receiver, ZipkinReceiver)
    await receiver.start()
    try:
        url = receiver.doors["zipkin"]
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=30) as client:
            yield Running(receiver, recording, telemetry, admission, client)
    finally:
        if recording.gate is not None:
            recording.gate.set()
        await receiver.stop()
    assert admission.used_bytes == 0, "every reservation is given back"
