"""The receiver: its two listeners and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import Signal
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.grpc_door import GrpcDoor
from ares_otel.pipeline.http_door import HttpDoor, Limits
from ares_otel.pipeline.listen import BindPolicy, check_bind
from ares_otel.pipeline.shared_ports import ROTATION_SECONDS, SharedPorts
from ares_otel.receivers.otlp.config import GrpcConfig, HttpConfig, OtlpReceiverConfig, settings_of
from ares_otel.receivers.otlp.grpc_export import GrpcExport
from ares_otel.receivers.otlp.grpc_server import MIB, otlp_grpc_door
from ares_otel.receivers.otlp.http_app import OtlpHttpApp
from ares_otel.receivers.otlp.intake import Intake
from ares_otel.receivers.serving.http_config import split_endpoint
from ares_otel.receivers.serving.workers import Workers


class OtlpReceiver:
    """A component that serves OTLP over the configured protocols and hands every request to its signal's consumer."""

    def __init__(self, context: BuildContext, config: OtlpReceiverConfig, consumers: Mapping[Signal, Consumer]) -> None:
        self._workers = Workers()
        self._policy: BindPolicy = context.services.get(BindPolicy, BindPolicy())
        self._setting = f"receivers.{context.id}.protocols"
        self._config = config.protocols
        intake = Intake(context, consumers, self._workers)
        grace = self._grace = context.services.get(Grace, Grace())
        shared: SharedPorts = context.services.get(SharedPorts, SharedPorts())
        message_mib = (config.protocols.grpc or GrpcConfig()).max_recv_msg_size_mib
        self.export = GrpcExport(intake, context.admission, message_mib * MIB)
        """Takes requests over gRPC, whether the receiver has a gRPC listener of its own or not."""
        self.http_app = OtlpHttpApp(config.protocols.http or HttpConfig(), intake)
        """Takes requests over HTTP, whether the receiver has an HTTP listener of its own or not."""
        self._grpc: GrpcDoor | None = None
        self._http: HttpDoor | None = None
        if (grpc := config.protocols.grpc) is not None:
            settings = settings_of(context.id, "grpc")
            port_of_all = shared.port_of(context.id, "grpc")
            self._grpc = otlp_grpc_door(grpc, self.export, *settings, grace=grace, shared_port=port_of_all)
        if (http := config.protocols.http) is not None:
            app = self.http_app
            host, port = split_endpoint(http.endpoint)
            setting, host_setting = settings_of(context.id, "http")
            shared_port = shared.port_of(context.id, "http")
            self._http = HttpDoor(
                "otlp-http",
                app,
                host=host,
                port=shared_port or port,
                setting=setting,
                host_setting=host_setting,
                allowed_hosts=self._policy.allowed_hosts,
                origin_allowed=app.cors.allows,
                error_bodies=app.error_body,
                limits=Limits(
                    max_connections=http.max_connections,
                    max_concurrent_requests=http.max_concurrent_requests,
                    connection_seconds=ROTATION_SECONDS if shared_port else 0.0,
                ),
                grace=grace,
                shared=shared_port is not None,
            )
        self.doors: Mapping[str, str] = {}
        """Name and address of every listener, once started."""

    async def start(self) -> None:
        """Listens on every configured protocol, or on none.

        Raises:
            StartError: an endpoint is not loopback and that was not asked for, its port is taken, or its host unknown.
        """
        for name, protocol in (("grpc", self._config.grpc), ("http", self._config.http)):
            if protocol is not None:
                host, _ = split_endpoint(protocol.endpoint)
                check_bind(host, self._policy, f"{self._setting}.{name}.endpoint")
        doors = {}
        try:
            if self._grpc is not None:
                await self._grpc.start()
                doors["otlp-grpc"] = self._grpc.address
            if self._http is not None:
                await self._http.start()
                doors["otlp-http"] = self._http.url
        except BaseException:
            await self.stop()
            raise
        self.doors = doors

    async def stop(self) -> None:
        """Takes no new requests and finishes those that were accepted. Safe without `start`, and twice."""
        await asyncio.gather(*(listener.stop() for listener in (self._http, self._grpc) if listener is not None))
        await self.export.stop(self._grace)
        self._workers.close()
        self.doors = {}
