"""The service registry by SQL, for applications that have Ares's database and nothing in between."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import asyncpg

from ares_otel.control import registry
from ares_otel.control.config_values import as_float
from ares_otel.control.probe_targets import ProbeTargets
from ares_otel.control.status_changes import Announcer, StatusChange
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.sdk.remote.patience import Away
from ares_otel.sdk.remote.registration import DEFAULT_BEAT, Entry, Forgotten, Refused, bounded_beat
from ares_otel.storage.sqlstate import DATABASE_ERRORS

SECONDS = 10.0
"""Of a connection, and of a statement."""
ALLOW_LOCAL = "ARES_OTEL_PROBE_ALLOW_LOCAL"
IDLE_SECONDS = 5.0
"""After which a connection is closed: heartbeats are rare."""
_INTERVAL = """
SELECT config_value::text FROM service_config
WHERE service_name = 'ares-api' AND config_key = 'service.heartbeat_interval'
"""


@asynccontextmanager
async def sql_registry(url: str) -> AsyncIterator[SqlRegistry]:
    """The registry in the database at this URL. Raises Away."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=1,
            timeout=SECONDS,
            command_timeout=SECONDS,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            statement_cache_size=0,  # there may be a pooler between
        )
    except (*DATABASE_ERRORS, ValueError) as error:
        raise Away(_words(error)) from None
    try:
        yield SqlRegistry(pool)
    finally:
        pool.terminate()


class SqlRegistry:
    """See `RegistryClient`. What the API does is done here too: same statements, same verdicts, same history."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._beat = DEFAULT_BEAT
        # As in every process of Ares on this database; what its health checks refuse must not be asked of them.
        targets = ProbeTargets(allow_local=os.environ.get(ALLOW_LOCAL, "").lower() in ("1", "true", "yes", "on"))
        self._registry = registry.Registry(pool, interval=lambda: self._beat, targets=targets)
        self._registry.announcer = _Silent(None)

    async def register(self, entry: Entry) -> tuple[int, float]:
        await self._read_beat()
        with _translated():
            row, _ = await self._registry.register(
                registry.Registration(
                    entry.name, entry.version or "", entry.instance_id, entry.port, entry.health_url, entry.metadata
                )
            )
        return row.id, self._beat

    async def heartbeat(self, id: int) -> float:
        await self._read_beat()
        with _translated():
            await self._registry.heartbeat(registry.ServiceId(id))
        return self._beat

    async def deregister(self, id: int) -> None:
        with _translated(), suppress(registry.ServiceNotFound, Forgotten):
            await self._registry.deregister(registry.ServiceId(id))

    async def _read_beat(self) -> None:
        with _translated():
            text = await self._pool.fetchval(_INTERVAL)
        try:
            seconds = as_float(json.loads(text or "null"))
        except (ValueError, RecursionError):
            return
        if seconds is not None:
            self._beat = bounded_beat(seconds)


class _Silent(Announcer):
    """Changes of status are in the history; the log of the application is no place for them."""

    def announce(self, changes: Iterable[StatusChange]) -> None: ...


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except registry.ServiceNotFound:
        raise Forgotten from None
    except registry.InvalidService as error:
        raise Refused(error.field, error.message) from None
    except (DatabaseUnavailable, QueryTooSlow) as error:
        raise Away(error.message) from None
    except (*DATABASE_ERRORS, ValueError) as error:
        raise Away(_words(error)) from None


def _words(error: BaseException) -> str:
    """Never what the driver says of a URL: it may hold a password."""
    return f"the database does not answer ({type(error).__name__})"
