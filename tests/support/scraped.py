"""A page to scrape, and a running `prometheus` receiver in front of a recording consumer."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ares_otel.model.signal import METRICS
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.receivers.prometheus.config import PrometheusReceiverConfig
from ares_otel.receivers.prometheus.receiver import FACTORY, PrometheusReceiver, Scrapers
from tests.support.eventually import eventually
from tests.support.parts import plain
from tests.support.recording import Recording
from tests.support.stream_server import stream_server

TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Asked:
    """A request that came."""

    target: str
    headers: dict[str, str]


@dataclass
class Web:
    """An HTTP server that answers all with one page."""

    body: bytes = b"a 1\n"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": TEXT})
    asked: list[Asked] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """Waited for before an answer."""
    answer: Callable[[Asked], tuple[int, dict[str, str], bytes]] | None = None
    port: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            asked = Asked(head[0].split(" ")[1], headers)
            self.asked.append(asked)
            self.came.set()
            if self.gate is not None:
                await self.gate.wait()
            status, more, body = self.answer(asked) if self.answer else (self.status, self.headers, self.body)
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in more.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def web(tls: ssl.SSLContext | None = None, **fields: Any) -> AsyncIterator[Web]:
    """A server on a port of its own."""
    made = Web(**fields)
    async with stream_server(made._serve, tls=tls) as made.port:
        yield made


@dataclass(frozen=True)
class Told:
    """A data point that was handed on."""

    name: str
    labels: Mapping[str, str]
    value: float | None
    """None where the series ended."""
    time_ns: int
    transport: str


@dataclass
class House:
    """What receivers of one process share."""

    recording: Recording = field(default_factory=Recording)
    telemetry: Telemetry = field(default_factory=Telemetry)
    admission: Admission = field(default_factory=Admission)
    services: dict[type, Any] = field(default_factory=lambda: {Scrapers: Scrapers(), Grace: Grace()})

    def stops(self) -> None:
        """From now on it is the whole Ares that stops."""
        self.services[Grace].begin()

    def receiver(self, *jobs: Mapping[str, Any], recording: Recording | None = None, **more: Any) -> PrometheusReceiver:
        """A receiver, not started, that scrapes ten times a second unless told otherwise."""
        config = PrometheusReceiverConfig.model_validate(
            {
                "config": {
                    "global": {"scrape_interval": "100ms", "scrape_timeout": "100ms", **more.pop("global_", {})},
                    "scrape_configs": [{"job_name": "app", "scrape_timeout": "100ms", **job} for job in jobs],
                },
                **more,
            }
        )
        context = BuildContext(
            id="prometheus",
            telemetry=self.telemetry,
            admission=self.admission,
            log=logging.getLogger("ares_otel.test"),
            services=self.services,
        )
        made = FACTORY.build(context, config, {METRICS: recording or self.recording})
        assert isinstance(made, PrometheusReceiver)
        return made

    def told(self, name: str | None = None, recording: Recording | None = None) -> list[Told]:
        """All data points of numbers, in their order."""
        return [
            Told(
                metric.name,
                plain(point.attributes),
                None if point.flags else point.as_double,
                point.time_unix_nano,
                batch.transport,
            )
            for batch in (recording or self.recording).batches
            for resource in batch.message().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
            if hasattr(point, "as_double") and name in (None, metric.name)
        ]

    def scrapes(self, outcome: str) -> float:
        """How many scrapes ended so."""
        value: float = (
            self.telemetry.counter("ares_otel_scrapes").labels(receiver="prometheus", outcome=outcome)._value.get()
        )
        return value


@asynccontextmanager
async def scraping(house: House, *jobs: Mapping[str, Any], **more: Any) -> AsyncIterator[PrometheusReceiver]:
    """A running receiver."""
    receiver = house.receiver(*jobs, **more)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


def job(page: Web | str, **more: Any) -> dict[str, Any]:
    address = page if isinstance(page, str) else page.address
    return {"static_configs": [{"targets": [address]}], "scrape_timeout": "100ms", **more}


def slow(page: Web | str, **more: Any) -> dict[str, Any]:
    """For tests that scrape by themselves: nothing else does meanwhile, and nothing times out on a busy machine."""
    return job(page, **{"scrape_interval": "300d", "scrape_timeout": "20s", **more})


async def one_scrape(house: House, page: Web | str, **more: Any) -> None:
    """Scrapes once, at once: the interval is longer than any test."""
    receiver = house.receiver(slow(page, **more))
    await receiver.start()
    try:
        [one] = receiver._scrapings.values()
        clock = one.job.context.clock
        await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
    finally:
        house.stops()
        await receiver.stop()


async def until(look: Callable[[], bool]) -> None:
    async def looked() -> bool:
        return look()

    await eventually(looked, every=0.02)


def values(house: House, *names: str) -> dict[str, float | None]:
    """The last value of each."""
    return {one.name: one.value for one in house.told() if one.name in names or not names}
