"""Where telemetry comes in: in this process, or in workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.graph import Parts
from ares_otel.pipeline.host import PipelineHost


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


class LocalIngest:
    """An `Ingest` within this process."""

    def __init__(self, parts: Parts, grace: Grace) -> None:
        self._host = PipelineHost(parts, grace=grace)

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
