"""Where telemetry comes in: in this process, or in workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ares_otel.cli.options import UpOptions
from ares_otel.cli.storing import body_scanner
from ares_otel.model.prometheus.metadata import MetadataBook
from ares_otel.model.scan import BodyScanner
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import Component
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.graph import Parts
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.listen import BindPolicy
from ares_otel.pipeline.shared_ports import SharedPorts
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.receivers.prometheus.discovery import TargetSource
from ares_otel.receivers.prometheus.receiver import Scrapers
from ares_otel.storage.store import Store


class Ingest(Protocol):
    """The running pipelines."""

    @property
    def doors(self) -> Mapping[str, str]:
        """Name → URL, or address, of each listener."""
        ...

    async def replace(self, content: str, config: PipelineConfig) -> None:
        """Makes another configuration run; `content` is its file (as latin-1).

        Raises:
            StartError: it does not start; the one before runs on.
        """
        ...

    async def reasons_not_ready(self) -> list[str]:
        """Why requests cannot be taken now, as sentences."""
        ...

    def hurry(self) -> None:
        """A stop that is under way shall end now."""
        ...


def make_host(
    options: UpOptions,
    telemetry: Telemetry,
    store: Store,
    grace: Grace,
    identity: Identity,
    ports: SharedPorts | None = None,
    *,
    targets: TargetSource | None = None,
) -> PipelineHost:
    """The pipelines of a process, with their part of the memory.

    Args:
        identity: who writes the series that connectors make.
        ports: what its receivers listen on together with other processes.
        targets: services that registered themselves, for receivers that scrape.
    """
    admission = Admission(options.admission_limit_mib * 1024 * 1024)
    telemetry.gauge("ares_otel_admission_limit_bytes").set(admission.limit_bytes)
    telemetry.gauge("ares_otel_admission_used_bytes").set_function(lambda: admission.used_bytes)
    policy = BindPolicy(options.allow_unauthenticated, options.allowed_hosts)
    services: dict[type, object] = {
        Store: store,
        BindPolicy: policy,
        Grace: grace,
        Identity: identity,
        Scrapers: Scrapers(),
        MetadataBook: store.metadata,
    }
    if (scanner := body_scanner()) is not None:
        services[BodyScanner] = scanner
    if targets is not None:
        services[TargetSource] = targets
    if ports is not None:
        services[SharedPorts] = ports
    return PipelineHost(Parts(telemetry, admission, services=services), grace=grace)


class LocalIngest:
    """An `Ingest` within this process."""

    def __init__(self, host: PipelineHost) -> None:
        self._host = host

    @property
    def running(self) -> bool:
        """Whether a configuration runs: not before the first one does, and not after the stop."""
        return self._host.config is not None

    @property
    def receivers(self) -> Mapping[str, Component]:
        """The running receivers by id."""
        return self._host.receivers

    @property
    def doors(self) -> Mapping[str, str]:
        return {
            name: address
            for receiver in self._host.receivers.values()
            for name, address in getattr(receiver, "doors", {}).items()
        }

    async def replace(self, content: str, config: PipelineConfig) -> None:
        await self._host.replace(config)

    async def stop(self) -> None:
        """Takes nothing any more, and hands on what was accepted."""
        await self._host.stop()

    async def reasons_not_ready(self) -> list[str]:
        return []

    def hurry(self) -> None: ...
