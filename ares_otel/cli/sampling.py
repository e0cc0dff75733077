"""Wires sampling into a process: what follows the settings, the job that adapts, and the door on port 5778."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import asyncpg
import grpc.aio

from ares_otel.api.sampling.app import SamplingEndpoint, sampling_app
from ares_otel.api.sampling.servicer import add_sampling
from ares_otel.cli import console
from ares_otel.cli.options import UpOptions
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.sampling.adaptive import CLIENT_POLL, INTERVAL, AdaptiveSampling
from ares_otel.control.sampling.settings import SamplingSettings
from ares_otel.control.sampling.strategies import DEFAULT_RATIO, Strategies
from ares_otel.model.errors import AddressInUse, StartError
from ares_otel.pipeline.grace import Grace, Stages
from ares_otel.pipeline.http2_switch import MAX_RELAYS, Relays
from ares_otel.pipeline.http_door import HttpDoor
from ares_otel.pipeline.http_protocol import Limits
from ares_otel.pipeline.listen import bind
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.store import Store

OPTION = "--sampling-port"
MAX_MESSAGE = 64 * 1024
"""Bytes of a question by gRPC: it holds the name of a service."""
_SECONDS_MS = 1000

log = logging.getLogger("ares_otel.sampling")


class Sampling:
    """Strategies, the job, the endpoint that is mounted elsewhere too, and the door."""

    def __init__(
        self, pool: asyncpg.Pool, store: Store, manager: ConfigManager, telemetry: Telemetry, *, pooled: bool
    ) -> None:
        """Everything, not started; it follows the settings `sampling.*` of `ares-api`."""
        answers = telemetry.counter("ares_otel_sampling_answers")

        def default_ratio() -> float:
            return manager.get_float("sampling.default_ratio", DEFAULT_RATIO)

        self.on_answer: Callable[[str], None] = lambda transport: answers.labels(transport=transport).inc()
        self.settings = SamplingSettings(store.connect, listens=not pooled)
        self.strategies = Strategies(pool, self.settings, default_ratio=default_ratio)
        self.endpoint = SamplingEndpoint(self.strategies, self.on_answer)
        self.job = AdaptiveSampling(
            store.connect,
            self.settings,
            default_ratio=default_ratio,
            interval=lambda: manager.get_float("sampling.interval_seconds", INTERVAL),
            client_poll=lambda: manager.get_float("sampling.client_poll_seconds", CLIENT_POLL),
            unwell=lambda: any(breaker.open for breaker in store.breakers.values()),
            on_written=self.strategies.reload,
            observer=TelemetrySamplingObserver(telemetry),
            pooled=pooled,
        )
        manager.on_change("sampling.default_ratio", lambda change: self.strategies.default_changed())
        manager.on_change("sampling.interval_seconds", lambda change: self.job.wake())

    async def start(self, stack: Stages) -> None:
        """Everything but the door."""
        for part in (self.settings, self.strategies, self.job):
            stack.push_async_callback(part.stop)
            await part.start()

    async def open_door(self, options: UpOptions, grace: Grace, stack: Stages) -> dict[str, str]:
        """Opens the door; its name and URL. Nothing where the default port is taken, which is said.

        Raises StartError: a port that was asked for is taken, or must not be used.
        """
        door = SamplingDoor(self, options, grace)
        stack.push_bounded("The door of sampling", door.stop)
        try:
            await door.start()
        except AddressInUse:
            if "sampling_port" in options.given:
                raise
            console.progress(
                f"Port {options.sampling_port} is taken, so clients with a remote sampler are not answered there;"
                f" {OPTION} 0 takes any free port."
            )
            return {}
        return {"sampling": door.url}


def check_port(options: UpOptions) -> None:
    """A port that was asked for and is taken is said before a database is made. Raises StartError."""
    if "sampling_port" in options.given:
        for probe in bind(options.host, options.sampling_port, OPTION, "--host"):
            probe.close()


class SamplingDoor:
    """HTTP and gRPC on one port."""

    def __init__(self, sampling: Sampling, options: UpOptions, grace: Grace) -> None:
        self._sampling = sampling
        self._options = options
        self._grace = grace
        self._server: grpc.aio.Server | None = None
        self._door: HttpDoor | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return "" if self._door is None else self._door.url

    async def start(self) -> None:
        """Listens. Raises StartError."""
        server = self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_metadata_size", MAX_MESSAGE),
                ("grpc.max_concurrent_streams", 100),
                ("grpc.server_handshake_timeout_ms", 10 * _SECONDS_MS),
                ("grpc.http2.settings_timeout", 10 * _SECONDS_MS),
                ("grpc.max_connection_idle_ms", 300 * _SECONDS_MS),
                ("grpc.keepalive_time_ms", 60 * _SECONDS_MS),
                ("grpc.keepalive_timeout_ms", 20 * _SECONDS_MS),
                ("grpc.http2.ping_timeout_ms", 20 * _SECONDS_MS),
                ("grpc.http2.min_ping_interval_without_data_ms", 10 * _SECONDS_MS),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        add_sampling(server, self._sampling.strategies, self._sampling.on_answer)
        try:
            port = server.add_insecure_port("127.0.0.1:0")
        except RuntimeError as error:
            raise StartError("Ares cannot listen on 127.0.0.1, where its own gRPC is; look at the loopback.") from error
        options = self._options
        door = HttpDoor(
            "sampling",
            sampling_app(self._sampling.endpoint),
            host=options.host,
            port=options.sampling_port,
            setting=OPTION,
            host_setting="--host",
            allowed_hosts=options.allowed_hosts,
            limits=Limits(max_connections=2 * MAX_RELAYS),
            grace=self._grace,
            relays=Relays(("127.0.0.1", port)),
        )
        await server.start()
        await door.start()
        self._door = door

    async def stop(self) -> None:
        """Takes no new calls, and ends. Safe without `start` and twice."""
        server, self._server = self._server, None
        door, self._door = self._door, None
        if server is not None:
            stopping = asyncio.create_task(server.stop(_LAST_SECONDS))
            if door is not None:
                await door.stop()
            await stopping


_LAST_SECONDS = 1.0
"""Answers come from memory."""


class TelemetrySamplingObserver:
    """A `SamplingObserver` that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def counted(self, services: int, operations: int, seconds: float) -> None:
        self._telemetry.gauge("ares_otel_sampling_services").set(services)
        self._telemetry.gauge("ares_otel_sampling_operations").set(operations)
        self._telemetry.histogram("ares_otel_sampling_round_seconds").observe(seconds)

    def changed(self, direction: str) -> None:
        self._telemetry.counter("ares_otel_sampling_changes").labels(direction=direction).inc()

    def elsewhere(self) -> None:
        self._telemetry.gauge("ares_otel_sampling_services").set(0)
        self._telemetry.gauge("ares_otel_sampling_operations").set(0)

    def failed(self) -> None:
        self._telemetry.counter("ares_otel_sampling_failures").inc()
