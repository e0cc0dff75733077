"""Settings by REST: the stream of changes of Ares's API, read for as long as the application runs.

Every connection begins with all settings. What a stream could go on with, its last event's id, may belong to a database
that was restored or made anew meanwhile; all settings are true in any case, and few.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import Any
from urllib.parse import quote

import httpx

from ares_otel.control.config_values import Check
from ares_otel.control.config_view import Found, SettingsView
from ares_otel.sdk.remote import http
from ares_otel.sdk.remote.events import MAX_EVENT, Event, EventParser, TooLarge
from ares_otel.sdk.remote.keys import SECRET
from ares_otel.sdk.remote.patience import AWAY_MOST, Away, Busy, NotAres, Patience

SILENCE = 35.0
"""Seconds without a byte after which a connection counts as dead: Ares says something every 20 s at least."""
SNAPSHOT_SECONDS = 30.0
"""Until the settings must have come."""

log = logging.getLogger("ares_otel.sdk.remote")


class WatchedSettings(SettingsView):
    """A service's settings as Ares's API tells them."""

    def __init__(self, service: str, api_url: str, *, check: Check | None = None) -> None:
        """Raises ValueError when `api_url` is no http or https URL."""
        super().__init__([service], check=check, log=log)
        self._service = service
        self._api_url = api_url
        self._path = f"/api/v1/config/{quote(service, safe='')}"
        self._task: asyncio.Task[None] | None = None
        self._heard = False  # on this connection
        self._patience = Patience()
        self._complained = False
        self._asks = False
        self._said_truncated = False
        self._shown = http.shown(api_url)

    async def start(self) -> None:
        """Follows the settings from now on. Returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="remote settings")

    async def _run(self) -> None:
        async with http.client(self._api_url) as client:
            while True:
                began = time.monotonic()
                try:
                    await self._watch(client)
                    raise Away("it ended the stream")
                except (Away, NotAres) as error:
                    if self._heard and time.monotonic() - began > AWAY_MOST:  # else it comes and goes
                        self._patience.restore()
                    pause = self._patience.seconds(error)
                    if isinstance(error, Busy) and await self._look(client):
                        self._say_that_it_asks()
                    elif not self._heard or isinstance(error, NotAres):
                        self._complain(error)
                except Exception as error:  # a mistake of ours must not end the following for good
                    pause = self._patience.seconds(error)
                    log.error("Settings of %s could not be followed.", self._service, exc_info=error)
                self._heard = False
                await asyncio.sleep(pause)

    async def _watch(self, client: httpx.AsyncClient) -> None:
        """One stream, to its end. Raises Away, NotAres."""
        parser = EventParser()
        try:
            async with (
                asyncio.timeout(SNAPSHOT_SECONDS) as deadline,
                client.stream("GET", f"{self._path}/watch", headers=_HEADERS, timeout=_TIMEOUT) as answer,
            ):
                http.check(answer)
                kind = answer.headers.get("content-type", "")
                if answer.status_code != 200 or not kind.startswith("text/event-stream"):
                    raise NotAres(f"it answers {answer.status_code} without a stream of settings")
                async for piece in answer.aiter_raw():
                    for event in parser.feed(piece):
                        self._take(event)
                        if self._heard:
                            deadline.reschedule(None)
        except TimeoutError:
            raise Away(f"it sends no settings within {SNAPSHOT_SECONDS:.0f} s") from None
        except TooLarge:
            raise NotAres(f"it sends an event of more than {MAX_EVENT} bytes") from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Away(http.describe(error)) from None

    async def _look(self, client: httpx.AsyncClient) -> bool:
        """Asks for the settings once: a process of Ares serves so many streams and not more. Whether they came."""
        with contextlib.suppress(Away, NotAres):
            status, document = await http.ask(client, "GET", self._path, limit=MAX_EVENT)
            if status == 200:
                self._take_all(document)
                return True
        return False

    def _take(self, event: Event) -> None:
        """Raises NotAres."""
        if event.name not in ("snapshot", "config"):
            return
        try:
            document = json.loads(event.data)
        except (ValueError, RecursionError):
            raise NotAres(
                "it sends an event that is no JSON, or too deep, or holds a number that is too long"
            ) from None
        if event.name == "snapshot":
            self._take_all(document)
            self._hear()
        elif self._heard:
            self._take_one(document, event.id)

    def _take_all(self, document: Any) -> None:
        try:
            found = [_found(self._service, row["config_key"], row, "config_value") for row in document["configs"]]
            newest = _whole(document.get("revision", 0))
            truncated = document.get("truncated", False)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise NotAres("its settings have another form than those of Ares") from None
        if truncated and not self._said_truncated:
            self._said_truncated = True
            log.warning("%s has more settings than Ares tells at once; only the first are followed.", self._service)
        self._take_over(found, newest, backwards=True)

    def _take_one(self, document: Any, id: str) -> None:
        try:
            newest = _whole(int(id))
            key = document["key"]
            if document["deleted"]:
                gone = key in self._entries[self._service]
                changes = [self._remove(self._service, key, _whole(document["version"]))] if gone else []
            else:
                change = self._take_over_one(_found(self._service, key, document, "value"), backwards=True)
                changes = [] if change is None else [change]
        except (KeyError, TypeError, AttributeError, ValueError):
            raise NotAres("it tells of a change in another form than Ares") from None
        self._announce(changes, newest)

    def _hear(self) -> None:
        if self._complained:
            log.info("Settings of %s are followed again, at %s.", self._service, self._shown)
        self._complained, self._asks, self._heard = False, False, True

    def _say_that_it_asks(self) -> None:
        if not self._asks:
            self._asks = True
            log.info(
                "Settings of %s are asked for every few seconds: Ares at %s has no stream of changes to spare.",
                self._service,
                self._shown,
            )

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "Settings of %s are not followed just now: Ares was looked for at %s, and %s. The values in force "
                "stay, and it is tried again. ARES_OTEL_API_URL or api_url says where Ares is; remote_config=False "
                "does without it.",
                self._service,
                self._shown,
                error,
            )


_HEADERS = {"accept": "text/event-stream"}
_TIMEOUT = httpx.Timeout(http.SECONDS, read=SILENCE)


def _found(service: str, key: Any, row: Any, name: str) -> Found:
    """A setting as the API tells it. Raises KeyError, TypeError, ValueError for another form."""
    if not isinstance(key, str):
        raise TypeError
    encrypted = bool(row["is_encrypted"])
    return Found(
        service,
        key,
        _whole(row["version"]),
        None if encrypted else row[name],
        SECRET if encrypted else "",
        str(row.get("updated_by", "")),
        encrypted,
    )


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError
    return value
