"""Metrics that come to the HTTP API's port, on their way to receivers in other processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import cast

import httpx
import pytest
from google.rpc.status_pb2 import Status

from ares_otel.cli.ingest import Ingest
from ares_otel.cli.metric_writes import PATHS, MetricWrites, with_paths
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.http_protocol import plain_error
from ares_otel.receivers.otlp.http_app import PROMETHEUS_PATH
from tests.support.remote_write import NOW_MS, PATH, V1, V2, packed, request_v2, running, series, written

NOTHING = PipelineConfig({}, {}, {}, {})
BODY = packed(request_v2([series("a_total", (NOW_MS, 1.0))]))
SNAPPY = {"content-type": V2, "content-encoding": "snappy"}


class Elsewhere:
    """Pipelines in other processes."""

    def __init__(self, doors: Mapping[str, str]) -> None:
        self.doors = doors


NOBODY = dict.fromkeys(("prometheusremotewrite", "otlp-http"), "http://127.0.0.1:1")


def client_of(ingest: Elsewhere | None) -> tuple[MetricWrites, httpx.AsyncClient]:
    writes = MetricWrites(lambda: cast(Ingest | None, ingest), NOTHING)
    return writes, httpx.AsyncClient(transport=httpx.ASGITransport(app=writes), base_url="http://ares")


async def test_a_request_is_handed_on_and_the_answer_is_the_receivers() -> None:
    async with running() as writing:
        writes, client = client_of(Elsewhere(writing.receiver.doors))
        async with client:
            good = await client.post(PATH, content=BODY, headers=SNAPPY)
            wrong = await client.post(PATH, content=BODY[:-1], headers=SNAPPY)
            other = await client.post(PATH, content=BODY, headers={"content-type": "text/plain"})
            method = await client.get(PATH)
        assert (good.status_code, written(good), good.content) == (204, (1, 0, 0), b"")
        assert (wrong.status_code, written(wrong)) == (400, (0, 0, 0))
        assert "snappy" in wrong.text
        assert other.status_code == 415
        assert (method.status_code, method.headers["allow"]) == (405, "POST")
        assert len(writing.recording.batches) == 1
        await writes.stop()
        await writes.stop()


async def test_requests_at_once_are_handed_on_each_to_its_answer() -> None:
    async with running() as writing:
        writes, client = client_of(Elsewhere(writing.receiver.doors))
        bodies = [packed(request_v2([series("a", *((NOW_MS + at, 1.0) for at in range(n)))])) for n in range(1, 30)]
        async with client:
            answers = await asyncio.gather(*(client.post(PATH, content=body, headers=SNAPPY) for body in bodies))
        assert [written(answer)[0] for answer in answers] == list(range(1, 30))
        await writes.stop()


@pytest.mark.parametrize(
    ("ingest", "status"),
    [
        pytest.param(None, 503, id="starting"),
        pytest.param(Elsewhere({}), 404, id="no receiver"),
        pytest.param(Elsewhere(NOBODY), 503, id="no worker"),
    ],
)
async def test_what_cannot_be_handed_on_is_said_as_the_protocol_says_it(ingest: Elsewhere | None, status: int) -> None:
    writes, client = client_of(ingest)
    async with client:
        remote_write = await client.post(PATH, content=BODY, headers=SNAPPY)
        otlp = await client.post(PROMETHEUS_PATH, content=b"", headers={"content-type": V1})
    assert (remote_write.status_code, written(remote_write)) == (status, (0, 0, 0))
    assert otlp.status_code == status
    for text in (remote_write.text, Status.FromString(otlp.content).message):
        assert text.strip().endswith(".")
    assert ("retry-after" in remote_write.headers) == ("retry-after" in otlp.headers) == (status == 503)
    await writes.stop()


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    writes, client = client_of(Elsewhere({"prometheusremotewrite": "http://127.0.0.1:1"}))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**20

    async with client:
        announced = await client.post(PATH, content=b"", headers={**SNAPPY, "content-length": str(10**9)})
        streamed = await client.post(PATH, content=endless(), headers=SNAPPY)
    assert (announced.status_code, streamed.status_code) == (413, 413)
    await writes.stop()


def test_errors_of_the_door_have_the_shape_of_the_path() -> None:
    bodies = with_paths(plain_error)
    headers = [(b"content-type", V2.encode())]
    made = bodies({"type": "http", "path": PATH, "headers": headers}, 408, "Too slow.")
    assert made.body == b"Too slow.\n"
    assert (b"x-prometheus-remote-write-samples-written", b"0") in made.headers
    assert bodies(None, 400, "What?") == plain_error(None, 400, "What?")
    elsewhere = {"type": "http", "path": "/api/v1/registry", "headers": []}
    assert bodies(elsewhere, 408, "Too slow.") == plain_error(elsewhere, 408, "Too slow.")
    assert set(PATHS) == {PATH, PROMETHEUS_PATH}
