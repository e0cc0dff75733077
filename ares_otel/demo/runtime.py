"""What every service of the shop is built with."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from fastapi import FastAPI

from ares_otel.demo.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Runtime:
    """The surroundings of one service.

    peers: URL of every other service by name; own_url: where this one listens; rate: visits a second that the traffic
    generator makes; seed: of everything random here.
    """

    telemetry: Telemetry
    peers: Mapping[str, str]
    own_url: str
    rate: float
    seed: int

    def rng(self) -> random.Random:
        """A new generator; the same seed gives the same numbers."""
        return random.Random(self.seed)

    def client(self, peer: str) -> httpx.AsyncClient:
        """An instrumented HTTP client of another service, with a deadline for every call."""
        client = httpx.AsyncClient(base_url=self.peers[peer], timeout=5, trust_env=False)
        self.telemetry.instrument_client(client)
        return client

    def app(
        self,
        title: str,
        *,
        background: Sequence[Callable[[], Awaitable[None]]] = (),
        clients: Sequence[httpx.AsyncClient] = (),
    ) -> FastAPI:
        """An instrumented application that runs `background` while it serves and closes `clients` at the end."""

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            tasks = [asyncio.create_task(_guard(work)) for work in background]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for client in clients:
                await client.aclose()

        app = FastAPI(title=title, lifespan=lifespan)

        @app.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}

        self.telemetry.instrument_app(app)
        return app


async def _guard(work: Callable[[], Awaitable[None]]) -> None:
    """Background work that fails says so in the logs instead of ending silently."""
    try:
        await work()
    except Exception:
        logging.getLogger("shop.background").exception("Background work of the service ended with an error")
        raise
