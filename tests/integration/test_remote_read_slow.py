"""Readers of remote read that do not take their answer: nothing more is made for them, and their turn comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from ares_otel.api.remote_read import chunks, samples
from ares_otel.api.routers import remote_read
from ares_otel.api.routers.remote_read import ReadLimits, remote_read_router
from ares_otel.pipeline.http_protocol import Limits
from ares_otel.query.prometheus.select import Selected
from tests.support.door import opened
from tests.support.eventually import eventually
from tests.support.remote_read import CHUNKS, PATH, SAMPLES, body_of, post, query

SERIES, POINTS = 2000, 1000
LABELS = [(("__name__", "noise"), ("number", f"{number:06}")) for number in range(SERIES)]


@pytest.fixture(scope="module")
def noise() -> Selected:
    """Two million samples that no encoding makes small: tens of megabytes of answer."""
    times = np.tile(1_700_000_000_000 + np.arange(POINTS) * 15_000, SERIES)
    values = np.random.default_rng(7).random(SERIES * POINTS)
    return Selected(LABELS, ["gauge"] * SERIES, np.arange(SERIES + 1) * POINTS, times, values, {})


class Counting:
    """An answer of which is counted what was made."""

    made = 0

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def chunks(self) -> Iterator[bytes]:
        for piece in self._pieces:
            Counting.made += len(piece)
            yield piece


async def asked(port: int, type_: int) -> socket.socket:
    """A client that takes next to nothing of its answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    body = body_of(query(), accepted=[type_])
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: snappy\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, head.encode() + body)
    return client


@pytest.mark.parametrize("type_", [SAMPLES, CHUNKS], ids=["samples", "chunks"])
async def test_who_takes_nothing_is_cut_and_little_was_made_for_it(
    noise: Selected, type_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0

    async def select(*_: Any, **__: Any) -> Selected:
        nonlocal begun
        begun += 1
        return noise

    as_samples, as_chunks = samples.SamplesAnswer, chunks.ChunksAnswer
    monkeypatch.setattr(remote_read, "select", select)
    monkeypatch.setattr(samples, "SamplesAnswer", lambda answers: Counting(as_samples(answers).chunks()))
    monkeypatch.setattr(chunks, "ChunksAnswer", lambda answers: Counting(as_chunks(answers).chunks()))
    monkeypatch.setattr(Counting, "made", 0)
    app = FastAPI()
    app.include_router(remote_read_router(None, ReadLimits()))
    async with opened(app, limits=Limits(unread_seconds=0.5)) as door:
        slow = [await asked(door.port, type_) for _ in range(2)]
        await eventually(lambda: asyncio.sleep(0, begun == 2), every=0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{door.port}", trust_env=False, timeout=60) as client:
            answer = await post(client, body_of(query(), accepted=[type_]))  # waits for a turn of theirs
        assert answer.status_code == 200
        whole = len(answer.content)
        for client_ in slow:
            client_.close()
    assert Counting.made < 2 * whole
    assert whole > 10_000_000
