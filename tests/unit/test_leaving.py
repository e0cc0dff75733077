"""Pages whose queries take long: nobody reads for a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from ares_otel.api.leaving import CLIENT_GONE, ClientGone, unless_gone
from ares_otel.api.routers import federate, prometheus
from ares_otel.model.clock import SYSTEM_CLOCK


class Client:
    """Asks, and leaves when it is told to."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.status: int | None = None
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)


PAGES = [
    pytest.param(lambda: prometheus.prometheus_router(None), prometheus, "expose", "/metrics/ingested"),
    pytest.param(lambda: federate.federate_router(None, SYSTEM_CLOCK), federate, "federate", "/prometheus/federate"),
]


@pytest.mark.parametrize(("router", "module", "reads", "path"), PAGES)
async def test_nothing_is_read_any_longer_for_a_client_that_has_gone(
    router: Callable[[], APIRouter], module: Any, reads: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), 0

    async def read(*_: Any, **__: Any) -> None:
        nonlocal ended
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    monkeypatch.setattr(module, reads, read)
    app = FastAPI()
    app.include_router(router())
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": [], "http_version": "1.1"}
    scope["query_string"] = b"match[]=up"
    for turn in range(1, 4):  # each gives its turn back
        client = Client()
        begun.clear()
        answering = asyncio.ensure_future(app(scope, client.receive, client.send))
        await begun.wait()
        client.leave.set()
        await answering
        assert (client.status, ended) == (CLIENT_GONE, turn)


async def test_work_that_ends_is_told_to_a_client_that_waits() -> None:
    async def five() -> int:
        return 5

    async def wrong() -> int:
        raise KeyError

    assert await unless_gone(Client().receive, five()) == 5
    with pytest.raises(KeyError):
        await unless_gone(Client().receive, wrong())


async def test_work_ends_when_who_waits_for_it_is_cancelled() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(unless_gone(Client().receive, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_a_client_that_has_gone_before_gets_nothing() -> None:
    client = Client()
    client.leave.set()
    with pytest.raises(ClientGone):
        await unless_gone(client.receive, asyncio.Event().wait())
