"""The service registry: who registers, lives, and leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NewType

import asyncpg
import orjson

from ares_otel.control.probe_targets import ProbeTargets, TargetRefused
from ares_otel.control.registry_database import STATEMENTS, transaction
from ares_otel.control.status_changes import MISSED, Announcer, Interval, Publisher, beat, changes_of, judge
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import AresError
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow, reading
from ares_otel.query.rows import Json

NAME_LIMIT = 255
"""Characters of a name, an instance id and a version, as in telemetry."""
METADATA_LIMIT = 16 * 1024
"""Bytes of a service's metadata as JSON, after everything was merged."""
KEEP_HISTORY_DAYS = 90
FORGET_DAYS = 30
"""Days after which an instance that is known from telemetry only, and offline, is taken off the registry."""
FORGET_REGISTERED_DAYS = 90
"""The same for one that registered."""
_TIDY_SECONDS = 600.0
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL in JSON text: an escape whose backslash is not itself escaped."""

Status = Literal["online", "degraded", "offline"]
ServiceId = NewType("ServiceId", int)

log = logging.getLogger("ares_otel.control.registry")


class ServiceNotFound(AresError):
    """There is no such service in the registry; register it first."""


class InvalidService(AresError):
    """A field is wrong. The message is a sentence for people."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Registration:
    """What a service says of itself."""

    name: str
    version: str = ""
    instance_id: str = ""
    port: int | None = None
    health_url: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A row of `service_registry`, with what `v_service_signs` says about it."""

    id: int
    tenant_id: int
    name: str
    instance_id: str
    version: str
    status: str
    status_since: datetime
    status_reason: str
    port: int | None
    health_url: str | None
    metadata: Json
    registered_at: datetime
    registered: bool
    last_heartbeat: datetime
    last_registration: datetime | None
    last_registration_heartbeat: datetime | None
    reported_status: str | None
    last_telemetry: datetime | None
    last_probe: datetime | None
    last_probe_ok: bool | None
    last_probe_error: str | None
    probe_latency_ms: float | None
    next_probe_at: datetime | None
    signs_heartbeats: bool
    signs_telemetry: bool
    signs_summary: str


class Registry:
    """Registration, heartbeats and status of services. Any number of processes may have one on the same database.

    Args:
        pool: connections to the database; the caller opens and closes it.
        interval: seconds between two heartbeats.
        targets: where a health_url may lead.
        bus: hears `service.online`, `service.degraded` and `service.offline`; None for nobody.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        interval: Interval,
        targets: ProbeTargets = ProbeTargets(),
        bus: Publisher | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._pool = pool
        self.interval = self._interval = interval
        self._targets = targets
        self._clock = clock
        self.announcer = Announcer(bus)
        self._since = clock.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def register(self, service: Registration) -> tuple[ServiceRow, bool]:
        """Registers a service, or renews the registration with the same name and instance id.

        Metadata is merged, key by key; port and health_url are replaced; a version that is not given stays.

        Returns:
            The row, and whether it is new.

        Raises:
            InvalidService: naming the field.
            DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        self._check(service)
        metadata = _metadata(service.metadata)
        async with transaction(self._pool) as connection:
            [record] = written = await connection.fetch(
                STATEMENTS["register"],
                name=service.name,
                instance_id=service.instance_id,
                version=service.version,
                port=service.port,
                health_url=service.health_url,
                metadata=metadata,
            )
            _check_size(record["metadata_bytes"])
            id = ServiceId(record["service_id"])
            changes = changes_of(written) + await judge(connection, self._interval, ids=[id])
            [row] = await connection.fetch(STATEMENTS["services"], **_only(id))
        self.announcer.announce(changes)
        return _row(row), record["created"]

    async def heartbeat(
        self,
        id: ServiceId,
        *,
        status: Literal["online", "degraded"] = "online",
        metadata: Mapping[str, Any] | None = None,
    ) -> ServiceRow:
        """A service says that it lives, and how it is; metadata is merged into what is known.

        Raises:
            ServiceNotFound: it must register (again).
            InvalidService: naming the field.
            DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        text = _metadata(metadata)
        async with transaction(self._pool) as connection:
            records = await connection.fetch(STATEMENTS["heartbeat"], id=id, status=status, metadata=text)
            if not records:
                raise ServiceNotFound
            _check_size(records[0]["metadata_bytes"])
            changes = await judge(connection, self._interval, ids=[id])
            [row] = await connection.fetch(STATEMENTS["services"], **_only(id))
        self.announcer.announce(changes)
        return _row(row)

    async def deregister(self, id: ServiceId) -> None:
        """Takes a service off the registry. Raises ServiceNotFound, DatabaseUnavailable, QueryTooSlow."""
        async with transaction(self._pool) as connection:
            records = await connection.fetch(STATEMENTS["deregister"], id=id)
            if not records:
                raise ServiceNotFound
        changes = changes_of(records)
        self.announcer.announce(change for change in changes if change.old_status != "offline")

    async def get(self, id: ServiceId) -> ServiceRow:
        """One service. Raises ServiceNotFound, DatabaseUnavailable, QueryTooSlow."""
        async with reading(self._pool) as reader:
            records = await reader.fetch(STATEMENTS["services"], **_only(id))
        if not records:
            raise ServiceNotFound
        return _row(records[0])

    async def services(
        self, *, status: Status | None = None, name: str | None = None, limit: int = 100, after: int | None = None
    ) -> tuple[list[ServiceRow], int | None]:
        """Services by id, and the id behind which the next page starts (None at the end).

        Raises DatabaseUnavailable, QueryTooSlow.
        """
        async with reading(self._pool) as reader:
            records = await reader.fetch(
                STATEMENTS["services"], id=None, after=after, status=status, name=name, limit=limit + 1
            )
        rows = [_row(record) for record in records[:limit]]
        return rows, rows[-1].id if len(records) > limit else None

    async def run_pass(self) -> int:
        """Gives every service the status that its signs say; one process at a time does it. Returns the changes made.

        Raises DatabaseUnavailable, QueryTooSlow.
        """
        async with transaction(self._pool) as connection:
            changes = await judge(connection, self._interval, listened=self._clock.monotonic() - self._since)
        self.announcer.announce(changes)
        return len(changes)

    async def start(self) -> None:
        """Begins to look after the statuses."""
        self._since = self._clock.monotonic()
        self._task = asyncio.create_task(self._run(), name="service status")

    async def stop(self) -> None:
        """Ends; changes that were found are published. Safe without `start` and twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.announcer.stop()

    async def _run(self) -> None:
        tidy_at = 0.0
        away = False
        while True:
            try:
                await self.run_pass()
                if self._clock.monotonic() >= tidy_at:
                    tidy_at = self._clock.monotonic() + _TIDY_SECONDS
                    await self._tidy()
                away = False
            except (DatabaseUnavailable, QueryTooSlow) as error:
                if not away:
                    log.warning("Statuses of services are not looked after just now: %s", error.message)
                away = True
            except Exception:
                log.exception("Statuses of services could not be looked after; the next attempt follows.")
            # A service is found to be silent within a third of an interval.
            await asyncio.sleep(min(max(beat(self._interval).total_seconds() / MISSED, 0.2), 10.0))

    async def _tidy(self) -> None:
        async with transaction(self._pool) as connection:
            await connection.fetch(STATEMENTS["forget"], days=FORGET_DAYS, registered_days=FORGET_REGISTERED_DAYS)
            await connection.fetch(STATEMENTS["prune"], days=KEEP_HISTORY_DAYS)

    def _check(self, service: Registration) -> None:
        if not service.name:
            raise InvalidService("name", "The name must not be empty.")
        for field in ("name", "version", "instance_id"):
            text: str = getattr(service, field)
            if len(text) > NAME_LIMIT or "\0" in text:
                raise InvalidService(field, f"It must have at most {NAME_LIMIT} characters and no NUL.")
        if service.port is not None and not 0 <= service.port <= 65535:
            raise InvalidService("port", "The port must be from 0 to 65535.")
        if service.health_url is not None:
            try:
                self._targets.parse(service.health_url)
            except TargetRefused as error:
                raise InvalidService("health_url", str(error)) from None


def _metadata(value: Mapping[str, Any] | None) -> str:
    """JSON text for a jsonb column. Raises InvalidService for what such a column, or our bound, does not hold."""
    try:
        text = orjson.dumps(value or {})
    except (TypeError, ValueError, RecursionError):  # orjson.JSONEncodeError is a TypeError
        raise InvalidService("metadata", "It must be JSON: whole numbers of 64 bits, complete characters.") from None
    _check_size(len(text))
    if _NUL.search(text):
        raise InvalidService("metadata", "It must not contain the character NUL.")
    return text.decode()


def _check_size(size: int) -> None:
    if size > METADATA_LIMIT:
        raise InvalidService("metadata", f"A service's metadata may have {METADATA_LIMIT} bytes of JSON in all.")


def _only(id: ServiceId) -> dict[str, object]:
    return {"id": id, "after": None, "status": None, "name": None, "limit": 1}


def _row(record: Any) -> ServiceRow:
    return ServiceRow(*(record[name] for name in ServiceRow.__slots__))
