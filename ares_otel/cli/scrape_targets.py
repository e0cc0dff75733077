"""Gives the scraping receiver the targets of the service registry, over a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import asyncpg

from ares_otel.cli.options import UpOptions
from ares_otel.control.probe_targets import ProbeTargets, Resolver, TargetRefused
from ares_otel.control.scrape_targets import scrape_targets
from ares_otel.model.errors import Retryable
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.receivers.prometheus.discovery import TargetSource
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs

_SECONDS = 10.0


class RegistryTargets(TargetSource):
    """Registered services. Where they may lead is decided as for health checks: whoever may register one chooses an
    address that Ares calls."""

    def __init__(self, url: str, facts: ServerFacts, *, allow_local: bool) -> None:
        """
        Args:
            allow_local: whether targets may be on this machine.
        """
        self._url = url
        self._options = asyncpg_kwargs(facts)
        self._policy = ProbeTargets(allow_local=allow_local)
        self._resolver = Resolver()
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def targets(self, *, include_offline: bool) -> Sequence[Mapping[str, str]]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url, min_size=0, max_size=1, timeout=_SECONDS, command_timeout=_SECONDS, **self._options
                )
        try:
            return await scrape_targets(self._pool, include_offline=include_offline)
        except (DatabaseUnavailable, QueryTooSlow) as error:
            raise Retryable(error.message) from error

    async def addresses(self, host: str, port: int) -> list[str]:
        try:
            target = self._policy.parse(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
            found = await self._resolver.addresses(target, self._policy)
        except TargetRefused as error:
            raise ValueError(f"a registered target may lead where a health check may: {error}") from None
        return [str(address) for address in found]

    async def close(self) -> None:
        """Lets go of the connection. Safe twice."""
        self._resolver.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await pool.close()
            finally:
                pool.terminate()


def registry_targets(options: UpOptions, url: str, facts: ServerFacts, stack: AsyncExitStack) -> RegistryTargets:
    """The targets of the registry in that database. `stack`: closes their connection."""
    made = RegistryTargets(url, facts, allow_local=options.probe_allow_local)
    stack.push_async_callback(made.close)
    return made
