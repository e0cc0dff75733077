"""The receiver: its listener and what stands behind it."""

from __future__ import annotations

from collections.abc import Mapping

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ReceiverFactory
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.http_door import HttpDoor, Limits
from ares_otel.pipeline.listen import BindPolicy, check_bind
from ares_otel.pipeline.shared_ports import ROTATION_SECONDS, SharedPorts
from ares_otel.receivers.serving.http_config import split_endpoint
from ares_otel.receivers.serving.workers import Workers
from ares_otel.receivers.zipkin.config import ZipkinReceiverConfig
from ares_otel.receivers.zipkin.http_app import ZipkinHttpApp
from ares_otel.receivers.zipkin.intake import ZipkinIntake


class ZipkinReceiver:
    """A component that takes Zipkin spans and hands every request on as OTLP."""

    def __init__(
        self, context: BuildContext, config: ZipkinReceiverConfig, consumers: Mapping[Signal, Consumer]
    ) -> None:
        self._id = context.id
        self._policy: BindPolicy = context.services.get(BindPolicy, BindPolicy())
        self._setting = config.setting(context.id)
        self._workers = Workers()
        http = config.http
        app = ZipkinHttpApp(
            http, ZipkinIntake(context, consumers, self._workers, parse_string_tags=config.parse_string_tags)
        )
        self._host, port = split_endpoint(http.endpoint)
        shared: SharedPorts = context.services.get(SharedPorts, SharedPorts())
        shared_port = shared.port_of(context.id, "http")
        self._door = HttpDoor(
            context.id,
            app,
            host=self._host,
            port=shared_port or port,
            setting=self._setting,
            allowed_hosts=self._policy.allowed_hosts,
            origin_allowed=app.cors.allows,
            error_bodies=app.error_body,
            limits=Limits(
                max_connections=http.max_connections,
                max_concurrent_requests=http.max_concurrent_requests,
                connection_seconds=ROTATION_SECONDS if shared_port else 0.0,
            ),
            grace=context.services.get(Grace, Grace()),
            shared=shared_port is not None,
        )
        self.doors: Mapping[str, str] = {}
        """Name and URL of the listener, once started."""

    async def start(self) -> None:
        """Listens.

        Raises:
            StartError: the endpoint is not loopback and that was not asked for, its port is taken, or its host unknown.
        """
        check_bind(self._host, self._policy, self._setting)
        await self._door.start()
        self.doors = {self._id: self._door.url}

    async def stop(self) -> None:
        """Takes no new requests and finishes those that were accepted. Safe without `start`, and twice."""
        await self._door.stop()
        self._workers.close()
        self.doors = {}


FACTORY = ReceiverFactory("zipkin", ZipkinReceiverConfig, ZipkinReceiver, frozenset({TRACES}))
"""How the pipeline makes a `zipkin` receiver."""
