"""What Ares adds to a running application: settings that apply while it runs, and its place in the registry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource

from ares_otel.sdk.options import Options

if TYPE_CHECKING:
    from ares_otel.sdk.remote.control import RemoteControl
    from ares_otel.sdk.remote.registration import Registration
    from ares_otel.sdk.remote.settings import Settings

LOG = logging.getLogger(__name__)


class Control:
    """Remote control and registration of this process, as far as they are wanted and have somebody to talk to. In a
    fork, both go on by themselves."""

    def __init__(self, options: Options, resource: Callable[[], Resource], straight: bool) -> None:
        """
        Args:
            options: what the code says.
            resource: who this process is; a fork is somebody else.
            straight: whether telemetry is written into PostgreSQL.
        Raises:
            ValueError: `api_url` is no URL, or the metadata is no JSON.
        """
        self.remote: RemoteControl | None = None
        self._registration: Registration | None = None
        api_url, database_url = options.control(straight)
        if not (options.remote_config or options.registry):
            return
        if api_url is None and database_url is None:
            LOG.info("settings and the registry are not used: api_url= or ARES_OTEL_API_URL would say where Ares is")
            return
        if options.remote_config:
            from ares_otel.sdk.remote.control import RemoteControl

            service = str(resource().attributes["service.name"])
            self.remote = RemoteControl(service, api_url=api_url, database_url=database_url)
        if options.registry:
            from ares_otel.sdk.remote.registration import Registration

            self._registration = Registration(
                resource,
                api_url=api_url,
                database_url=database_url,
                port=options.port,
                health_url=options.health_url,
                metadata=options.metadata,
            )

    @property
    def settings(self) -> Settings | None:
        """The settings of this service; None where they are not followed."""
        return self.remote.settings if self.remote is not None else None

    def start(self) -> None:
        """Begins, without waiting for anybody."""
        if self.remote is not None:
            self.remote.start()
        if self._registration is not None:
            self._registration.start()

    def stop(self, timeout_seconds: float) -> bool:
        """Deregisters and ends; True when that was done in so many seconds."""
        deadline = time.monotonic() + timeout_seconds
        done = True
        if self._registration is not None:
            done = self._registration.stop(timeout_seconds)
        if self.remote is not None:
            done = self.remote.stop(max(0.0, deadline - time.monotonic())) and done
        return done
