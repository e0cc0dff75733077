"""Sampling in tests: strategies over a database, clients that obey them, and a clock that goes when a test says so."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.api.sampling.app import SamplingEndpoint, sampling_app
from ares_otel.control.sampling.adaptive import AdaptiveSampling
from ares_otel.control.sampling.settings import SamplingSettings
from ares_otel.control.sampling.strategies import Strategies
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.otlp_samples import batch_of, pairs, trace_request

SECOND = 1_000_000_000


class MovedClock:
    """Begins now, and moves by `advance` only."""

    def __init__(self) -> None:
        self._now = time.time_ns()

    def advance(self, seconds: float) -> None:
        self._now += int(seconds * SECOND)

    def monotonic(self) -> float:
        return self._now / SECOND

    def time_ns(self) -> int:
        return self._now


class Place:
    """Strategies over the database of a test, and the HTTP that clients ask."""

    def __init__(self, url: str, pool: asyncpg.Pool, clock: MovedClock) -> None:
        self.pool = pool
        self.clock = clock
        self.connect = partial(asyncpg.connect, url)
        self.default_ratio = 1.0
        self.settings = SamplingSettings(self.connect, poll_seconds=3600)
        self.strategies = Strategies(pool, self.settings, default_ratio=lambda: self.default_ratio, clock=clock)
        self.app = sampling_app(SamplingEndpoint(self.strategies))
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://127.0.0.1:5778", trust_env=False
        )

    def job(self, **options: Any) -> AdaptiveSampling:
        """The job that adapts, on the clock of this place."""
        wanted = {"clock": self.clock, "on_written": self.strategies.reload, **options}
        return AdaptiveSampling(self.connect, self.settings, **wanted)

    async def ask(self, service: str) -> dict[str, Any]:
        """What a client is told."""
        answer = await self.http.get("/sampling", params={"service": service})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def set(self, service: str, **values: Any) -> None:
        """Sets `sampling.NAME` of a service, and waits until it is in force; None deletes."""
        async with self.pool.acquire() as sql:
            for name, value in values.items():
                await put(sql, service, f"sampling.{name}", value)
        wanted = {f"sampling.{name}": value for name, value in values.items()}

        async def arrived() -> bool:
            found = self.settings.values(service)
            return all(found.get(key) == value for key, value in wanted.items())

        await eventually(arrived, every=0.005)


async def put(sql: Any, service: str, key: str, value: Any, *, encrypted: bool = False) -> None:
    """Sets a setting with plain SQL; None deletes it."""
    if value is None:
        await sql.execute("DELETE FROM service_config WHERE service_name = $1 AND config_key = $2", service, key)
        return
    await sql.execute(
        """INSERT INTO service_config (service_name, config_key, config_value, is_encrypted, updated_by)
        VALUES ($1, $2, $3, $4, 'alice')
        ON CONFLICT (service_name, config_key) DO UPDATE
        SET config_value = excluded.config_value, is_encrypted = excluded.is_encrypted, updated_by = 'alice'""",
        service,
        key,
        json.dumps(value),
        encrypted,
    )


@asynccontextmanager
async def sampling_place(url: str) -> AsyncIterator[Place]:
    """A place that is started and stopped."""
    async with asyncpg.create_pool(url, min_size=0, max_size=4) as pool:
        place = Place(url, pool, MovedClock())
        await place.settings.start()
        await place.strategies.start()
        try:
            yield place
        finally:
            await place.strategies.stop()
            await place.settings.stop()
            await place.http.aclose()


@dataclass
class Client:
    """An SDK with Jaeger's remote sampler: asks every so often, and decides by operation until the next answer."""

    service: str
    place: Place
    source: random.Random
    poll_seconds: float = 60.0
    tells: bool = False
    """Whether it writes the chance on root spans, as Jaeger's own clients do."""
    offset: float = 0.0
    _default: float = 0.001
    _ratios: dict[str, float] = field(default_factory=dict)
    _asks_at: float | None = None

    async def spans(self, seconds: float, rates: Mapping[str, float]) -> list[Span]:
        """The root spans that it begins and keeps in the time from now on."""
        now = self.place.clock.monotonic()
        if self._asks_at is None or now >= self._asks_at:
            self._asks_at = now + (self.poll_seconds if self._asks_at is not None else self.offset or self.poll_seconds)
            await self._ask()
        kept = []
        for operation, rate in rates.items():
            ratio = self._ratios.get(operation, self._default)
            told = pairs({"jaeger.sampler.type": "probabilistic", "jaeger.sampler.param": ratio} if self.tells else {})
            for _ in range(_poisson(self.source, rate * seconds * ratio)):
                start = self.place.clock.time_ns() + int(self.source.random() * seconds * SECOND)
                kept.append(
                    Span(
                        name=operation,
                        trace_id=os.urandom(16),
                        span_id=os.urandom(8),
                        kind=Span.SPAN_KIND_SERVER,
                        start_time_unix_nano=start,
                        end_time_unix_nano=start + 20_000_000,
                        attributes=told,
                    )
                )
        return kept

    async def _ask(self) -> None:
        """What was written seconds ago is told: here hours pass while a process of Ares reads that once."""
        await self.place.strategies.reload([self.service])
        document = await self.place.ask(self.service)
        listed = document.get("operationSampling", {})
        self._default = listed.get("defaultSamplingProbability", document["probabilisticSampling"]["samplingRate"])
        self._ratios = {
            one["operation"]: one["probabilisticSampling"]["samplingRate"]
            for one in listed.get("perOperationStrategies", ())
        }


class Load:
    """Clients under a load that changes, whose spans go into a store."""

    def __init__(
        self, store: Store, clients: list[Client], job: AdaptiveSampling, interval: float, *, rounds: bool = True
    ) -> None:
        """`rounds`: whether the job has its rounds here."""
        self._store = store
        self._rounds = rounds
        self._clients = clients
        self.job = job
        self._interval = interval
        self._place = clients[0].place
        self._since_round = 0

    async def pass_time(
        self, rates: Mapping[str, float], *, intervals: float = 1, step: float = 10.0
    ) -> dict[str, float]:
        """Time passes under a load of so many traces a second of each operation, all clients together; after each
        interval the job has its round. Gives the traces a second that were kept in the last interval."""
        kept: dict[str, int] = dict.fromkeys(rates, 0)
        steps = round(self._interval / step)
        each = {operation: rate / len(self._clients) for operation, rate in rates.items()}
        total = round(intervals * steps)
        for number in range(total):
            spans = [one for client in self._clients for one in await client.spans(step, each)]
            self._place.clock.advance(step)
            if number >= total - steps:
                for one in spans:
                    kept[one.name] += 1
            if spans:
                request = trace_request(self._clients[0].service, spans)
                await self._store.consume(batch_of(request, received_ns=self._place.clock.time_ns()))
            self._since_round += 1
            if self._since_round == steps:
                self._since_round = 0
                assert not self._rounds or await self.job.run()
        return {operation: count / min(self._interval, total * step) for operation, count in kept.items()}


def _poisson(source: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(source.gauss(mean, mean**0.5)))
    count, left = 0, source.expovariate(1)
    while left < mean:
        count += 1
        left += source.expovariate(1)
    return count
