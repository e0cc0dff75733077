"""The receiver: what stands behind the API's path, and a listener of its own where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import METRICS, Signal
from ares_otel.pipeline.component import BuildContext, ReceiverFactory
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.http_door import HttpDoor, Limits
from ares_otel.pipeline.listen import BindPolicy, check_bind
from ares_otel.pipeline.shared_ports import ROTATION_SECONDS, SharedPorts
from ares_otel.receivers.prometheusremotewrite.config import INNER, RemoteWriteReceiverConfig
from ares_otel.receivers.prometheusremotewrite.http_app import RemoteWriteApp
from ares_otel.receivers.prometheusremotewrite.intake import RemoteWriteIntake
from ares_otel.receivers.serving.http_config import split_endpoint
from ares_otel.receivers.serving.workers import Workers


class RemoteWriteReceiver:
    """A component that takes what Prometheus writes and hands every request on as OTLP."""

    def __init__(
        self, context: BuildContext, config: RemoteWriteReceiverConfig, consumers: Mapping[Signal, Consumer]
    ) -> None:
        self._id = context.id
        self._policy: BindPolicy = context.services.get(BindPolicy, BindPolicy())
        self._setting = config.setting(context.id)
        self._workers = Workers()
        self.http_app = RemoteWriteApp(config, RemoteWriteIntake(context, consumers, self._workers))
        """Takes requests, whoever listens for them."""
        shared: SharedPorts = context.services.get(SharedPorts, SharedPorts())
        shared_port = shared.port_of(context.id, "http")
        self._door: HttpDoor | None = None
        self._host, port = split_endpoint(config.endpoint or INNER)
        if config.endpoint or shared_port is not None:
            self._door = HttpDoor(
                context.id,
                self.http_app,
                host=self._host,
                port=shared_port or port,
                setting=self._setting,
                allowed_hosts=self._policy.allowed_hosts,
                origin_allowed=self.http_app.cors.allows,
                error_bodies=self.http_app.error_body,
                limits=Limits(
                    max_connections=config.max_connections,
                    max_concurrent_requests=config.max_concurrent_requests,
                    connection_seconds=ROTATION_SECONDS if shared_port else 0.0,
                ),
                grace=context.services.get(Grace, Grace()),
                shared=shared_port is not None,
            )
        self.doors: Mapping[str, str] = {}
        """Name and URL of the listener, once started."""

    async def start(self) -> None:
        """Listens, where it has something to listen on.

        Raises:
            StartError: the endpoint is not loopback and that was not asked for, its port is taken, or its host unknown.
        """
        if self._door is None:
            return
        check_bind(self._host, self._policy, self._setting)
        await self._door.start()
        self.doors = {self._id: self._door.url}

    async def stop(self) -> None:
        """Takes no new requests and finishes those that were accepted. Safe without `start`, and twice."""
        if self._door is not None:
            await self._door.stop()
        self._workers.close()
        self.doors = {}


FACTORY = ReceiverFactory("prometheusremotewrite", RemoteWriteReceiverConfig, RemoteWriteReceiver, frozenset({METRICS}))
"""How the pipeline makes a `prometheusremotewrite` receiver."""
