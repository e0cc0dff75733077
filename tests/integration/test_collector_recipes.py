"""The recipes for the official Collector, checked and run with the official Collector in front of Ares's receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.load import load_bytes
from ares_otel.receivers.otlp import factory as otlp_receiver
from tests.support import collector, parts
from tests.support.eventually import eventually
from tests.support.toys import TOYS, World

pytestmark = pytest.mark.timeout(collector.BUILD_SECONDS + 120)

ARES = b"""
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:0"}, http: {endpoint: "127.0.0.1:0"}}}}
exporters: {store: }
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [store]}
    logs: {receivers: [otlp], exporters: [store]}
    metrics: {receivers: [otlp], exporters: [store]}
"""
REQUESTS: dict[Signal, Message] = {
    TRACES: parts.traces({"name": "one", "trace_id": b"\1" * 16, "span_id": b"\2" * 8}),
    LOGS: parts.logs({"body": "two", "time_unix_nano": 1}),
    METRICS: parts.metrics({"as_int": 3, "time_unix_nano": 1}),
}


@pytest.fixture(scope="module")
def binary() -> Path:
    try:
        return collector.install()
    except collector.UnavailableError as error:
        pytest.skip(str(error))


class Ares:
    """Ares's receiver and pipelines in this process, in front of an exporter that keeps what it gets."""

    def __init__(self, world: World, host: PipelineHost) -> None:
        self.world = world
        doors: dict[str, str] = getattr(host.receivers["otlp"], "doors")  # noqa: B009 - the contract has no doors
        self.grpc = doors["otlp-grpc"].rpartition("/")[2]
        self.http = doors["otlp-http"]

    def received(self, signal: Signal) -> int:
        return sum(batch.items for batch in self.world.received.get("store", []) if batch.signal is signal)


@pytest.fixture
async def ares() -> AsyncIterator[Ares]:
    world = World()
    host = PipelineHost(world.parts())
    await host.replace(load_bytes(ARES, "ares.yaml", (*TOYS, otlp_receiver.FACTORY), {}))
    yield Ares(world, host)
    await host.stop()


def agent(endpoint: str, storage: Path) -> dict[str, str]:
    return {"ARES_OTEL_ENDPOINT": endpoint, "OTELCOL_STORAGE": str(storage)}


async def send(to: collector.Collector, signal: Signal) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(
            to.http + signal.http_path,
            content=REQUESTS[signal].SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
        )


@pytest.mark.parametrize("recipe", ["agent", "gateway"])
def test_the_collector_itself_takes_the_recipe(recipe: str, binary: Path, tmp_path: Path) -> None:
    endpoint = "127.0.0.1:4317" if recipe == "agent" else "http://127.0.0.1:4318"
    assert collector.check(binary, recipe, agent(endpoint, tmp_path)) == ""


def test_every_recipe_is_tested() -> None:
    assert {path.stem for path in collector.RECIPES.glob("*.yaml")} == {"agent", "gateway"}


async def test_spans_of_an_sdk_and_all_signals_arrive_through_the_agent(
    binary: Path, ares: Ares, tmp_path: Path
) -> None:
    with collector.running_collector(binary, "agent", agent(ares.grpc, tmp_path)) as front:
        for signal in (LOGS, METRICS):
            assert (await send(front, signal)).status_code == 200
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(front.grpc, insecure=True)))

        def work() -> None:
            for number in range(20):
                with provider.get_tracer("shop").start_as_current_span(f"span {number}"):
                    pass
            provider.shutdown()

        await asyncio.to_thread(work)
        await eventually(lambda: _all(ares, {TRACES: 20, LOGS: 1, METRICS: 1}))


async def test_the_agent_keeps_on_its_disk_what_ares_cannot_take_over_its_own_restart(
    binary: Path, ares: Ares, tmp_path: Path
) -> None:
    with collector.running_collector(binary, "agent", agent("127.0.0.1:1", tmp_path)) as front:
        for signal in SIGNALS.values():
            assert (await send(front, signal)).status_code == 200
    assert ares.world.received == {}
    with collector.running_collector(binary, "agent", agent(ares.grpc, tmp_path)):
        await eventually(lambda: _all(ares, dict.fromkeys(SIGNALS.values(), 1)))


async def test_the_agent_repeats_what_ares_refuses_for_now_until_it_is_stored(
    binary: Path, ares: Ares, tmp_path: Path
) -> None:
    ares.world.answers["store"] = [Retryable("The database is away.", retry_after=1.0)]
    with collector.running_collector(binary, "agent", agent(ares.grpc, tmp_path)) as front:
        assert (await send(front, TRACES)).status_code == 200
        await eventually(lambda: _all(ares, {TRACES: 1}))


async def test_the_gateway_answers_a_sender_only_after_ares_has_stored(binary: Path, ares: Ares) -> None:
    with collector.running_collector(binary, "gateway", {"ARES_OTEL_ENDPOINT": ares.http}) as front:
        for signal in SIGNALS.values():
            assert (await send(front, signal)).status_code == 200
            assert ares.received(signal) == 1


async def test_the_gateway_hands_the_answers_of_ares_on_to_the_sender(binary: Path, ares: Ares) -> None:
    with collector.running_collector(binary, "gateway", {"ARES_OTEL_ENDPOINT": ares.http}) as front:
        ares.world.answers["store"] = [Rejected("This is invalid.")]
        refused = await send(front, TRACES)
        assert refused.status_code in (400, 500), refused.text  # not to be repeated
        ares.world.answers["store"] = [Retryable("Later.", retry_after=60)] * 100
        assert (await send(front, LOGS)).status_code in (429, 502, 503, 504)  # to be repeated
    assert ares.world.received == {}


async def _all(ares: Ares, expected: dict[Signal, int]) -> bool:
    assert {signal: ares.received(signal) for signal in expected} == expected
    return True
