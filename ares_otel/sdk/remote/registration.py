"""A running application is in the service registry, under the names that its telemetry carries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.resources import Resource

from ares_otel.sdk.background import Background
from ares_otel.sdk.remote.patience import Away, NotAres, Patience

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

CHILD_SECONDS = 1.0
"""Before a forked process registers: many live shorter, and its resource must have been made anew."""
DEFAULT_BEAT = 30.0
_MAX_NAME = 255
_METADATA = (
    *("service.namespace", "deployment.environment.name", "host.name", "process.pid"),
    *("telemetry.sdk.language", "telemetry.sdk.version"),
)
"""Attributes of the resource that the registry has no column for, and people look for."""

_OPTIONAL = ("version", "port", "health_url", "metadata")

log = logging.getLogger("ares_otel.sdk.remote")


class Forgotten(Exception):
    """The registry does not know this service any more; it must register again."""


class Refused(Exception):
    """The registry does not take a field. `field` is its name; the text says that, and why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"it refuses the {field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Entry:
    """What a service says of itself."""

    name: str
    instance_id: str
    version: str | None = None
    port: int | None = None
    health_url: str | None = None
    metadata: Mapping[str, Any] | None = None


class RegistryClient(Protocol):
    """The registry, by REST or by SQL. All calls raise Away, NotAres."""

    async def register(self, entry: Entry) -> tuple[int, float]:
        """The row's id, and the seconds until the next heartbeat. Raises Refused."""

    async def heartbeat(self, id: int) -> float:
        """The seconds until the next one. Raises Forgotten."""

    async def deregister(self, id: int) -> None:
        """Takes it off; also when it is not there."""


class Registration:
    """Registers a service, sends its heartbeats, and takes it off at the end, on a thread of its own.

    Making one does no I/O; `start` begins. While the registry is away, that is said once, and it is tried again. A
    process that was forked registers as its own instance, where its resource has a `service.instance.id` of its own.
    """

    def __init__(
        self,
        resource: Resource | Callable[[], Resource],
        *,
        api_url: str | None = None,
        database_url: str | None = None,
        port: int | None = None,
        health_url: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            resource: of the application's telemetry; a call where a fork makes another one.
            api_url: Ares's HTTP door, such as `http://127.0.0.1:8080`; or
            database_url: its database.
            port: TCP port that the service listens on.
            health_url: http or https URL that answers 2xx while it is well; Ares asks it.
            metadata: anything else, of 16 KiB of JSON at most.

        Raises:
            ValueError: not exactly one of the two URLs is given, `api_url` is no http or https URL, or the metadata is
                no JSON.
        """
        if (api_url is None) == (database_url is None):
            raise ValueError(
                "The registry is either behind Ares's API or in its database: give api_url or database_url."
            )
        try:
            self._metadata = json.loads(json.dumps(dict(metadata or {}), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"The metadata of a service must be JSON: {error}.") from None
        self._resource: Callable[[], Resource] = resource if callable(resource) else lambda: resource
        self._port = port
        self._health_url = health_url
        self._client, self._where = _registry_at(api_url, database_url)
        self._stopping: asyncio.Event | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._instance: tuple[str, str] | None = None
        self._complained = False
        self._started = False
        self._background = Background("ares-otel registry", self._forked)

    def start(self) -> None:
        """Registers and sends heartbeats from now on. Does not wait; safe twice."""
        if not self._started:
            self._started = True
            self._background.submit(lambda: self._begin(0.0))

    def stop(self, timeout_seconds: float) -> bool:
        """Takes the service off the registry and ends; True when both took at most so many seconds. Safe twice and
        without `start`."""
        if not self._started:
            return True
        self._started = False
        self._instance = None
        deadline = time.monotonic() + timeout_seconds
        left = self._background.submit(self._leave)
        gone = False
        with contextlib.suppress(Exception):  # the time-out, or a mistake of ours that was logged
            gone = left.result(max(0.0, timeout_seconds))
        return self._background.stop(max(0.0, deadline - time.monotonic())) and gone

    async def _begin(self, pause: float) -> None:
        self._stopping = asyncio.Event()
        self._run_task = asyncio.create_task(self._run(self._stopping, pause), name="service registration")

    async def _leave(self) -> bool:
        """Whether the service is off the registry, or was never in it."""
        if self._stopping is None or self._run_task is None:
            return True
        self._stopping.set()
        await asyncio.wait([self._run_task])
        return not self._run_task.cancelled() and self._run_task.exception() is None

    def _forked(self) -> None:
        self._stopping = self._run_task = None
        if self._started:
            self._background.submit(lambda: self._begin(CHILD_SECONDS))

    async def _run(self, stopping: asyncio.Event, pause: float) -> None:
        patience = Patience()
        if await _passes(stopping, pause):
            return
        entry = self._entry()
        if (entry.name, entry.instance_id) == self._instance:
            return  # the parent of this process is this instance
        self._instance = (entry.name, entry.instance_id)
        id: int | None = None
        while not stopping.is_set():
            wait = 0.0
            try:
                async with self._client() as registry:
                    id, seconds = await registry.register(entry)
                    patience.restore()
                    self._say_again(entry)
                    while not await _passes(stopping, seconds):
                        seconds = await registry.heartbeat(id)
            except Forgotten:
                id = None  # and once more from the beginning
            except (Away, NotAres) as error:
                wait = patience.seconds(error)
                self._complain(entry, error)
            except Refused as error:
                lesser = _without(entry, error)
                if lesser is None:
                    wait = patience.seconds(error)
                    self._complain(entry, error)
                else:
                    entry = lesser
            except Exception as error:  # a mistake of ours must not end it for good
                wait = patience.seconds(error)
                log.error("%s could not be registered.", entry.name, exc_info=error)
            await _passes(stopping, wait)
        if id is not None:
            async with self._client() as registry:
                await registry.deregister(id)

    def _entry(self) -> Entry:
        attributes = self._resource().attributes

        def text(name: str) -> str:
            return str(attributes.get(name, ""))[:_MAX_NAME]

        found = {name: attributes[name] for name in _METADATA if isinstance(attributes.get(name), str | int)}
        return Entry(
            text("service.name") or "unknown_service",
            text("service.instance.id"),
            text("service.version") or None,
            self._port,
            self._health_url,
            {**found, **self._metadata},
        )

    def _say_again(self, entry: Entry) -> None:
        if self._complained:
            self._complained = False
            log.info("%s is in the service registry again, at %s.", entry.name, self._where)

    def _complain(self, entry: Entry, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "%s is not in the service registry just now: Ares was looked for at %s, and %s. It is tried again. "
                "registry=False does without it.",
                entry.name,
                self._where,
                error,
            )


def _registry_at(
    api_url: str | None, database_url: str | None
) -> tuple[Callable[[], AbstractAsyncContextManager[RegistryClient]], str]:
    """How the registry is reached, and where that is in words."""
    if api_url is not None:
        from ares_otel.sdk.remote import http
        from ares_otel.sdk.remote.registry_rest import rest_registry

        url = api_url
        return (lambda: rest_registry(url)), http.shown(url)
    from ares_otel.sdk.remote.registry_sql import sql_registry

    assert database_url is not None
    place = database_url
    return (lambda: sql_registry(place)), "the database"


def _without(entry: Entry, error: Refused) -> Entry | None:
    """The entry without what was refused; None where it cannot be without it."""
    field = error.field.partition(".")[0]
    if field not in _OPTIONAL or not getattr(entry, field):
        return None
    log.warning("%s registers without its %s: %s", entry.name, field, error)
    return replace(entry, **{field: None})  # type: ignore[arg-type]


def bounded_beat(seconds: float) -> float:
    """Seconds between two heartbeats, whatever somebody says; a minute at most, to hear of a shorter interval."""
    return min(max(seconds, 0.1), 60.0)


async def _passes(stopping: asyncio.Event, seconds: float) -> bool:
    """Waits, and says whether the end has come meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()
