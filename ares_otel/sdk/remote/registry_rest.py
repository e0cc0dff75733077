"""The service registry by REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import httpx

from ares_otel.control.config_values import as_float
from ares_otel.sdk.remote import http
from ares_otel.sdk.remote.patience import NotAres
from ares_otel.sdk.remote.registration import DEFAULT_BEAT, Entry, Forgotten, Refused, bounded_beat

_PATH = "/api/v1/registry"


@asynccontextmanager
async def rest_registry(api_url: str) -> AsyncIterator[RestRegistry]:
    """The registry behind the API at this URL."""
    async with http.client(api_url) as client:
        yield RestRegistry(client)


class RestRegistry:
    """See `RegistryClient`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def register(self, entry: Entry) -> tuple[int, float]:
        status, body = await http.ask(self._client, "POST", _PATH, json=asdict(entry))
        if status == 422 and (refused := _refused(body)) is not None:
            raise refused
        if status not in (200, 201) or not isinstance(body, dict):
            raise NotAres(f"it answers {status}")
        id = body.get("id")
        if not isinstance(id, int) or isinstance(id, bool) or body.get("name") != entry.name:
            raise NotAres("its answer to a registration has another form than that of Ares")
        return id, _beat(body)

    async def heartbeat(self, id: int) -> float:
        status, body = await http.ask(self._client, "PUT", f"{_PATH}/{id}/heartbeat")
        if status == 404:
            raise Forgotten
        if status != 200 or not isinstance(body, dict):
            raise NotAres(f"it answers {status}")
        return _beat(body)

    async def deregister(self, id: int) -> None:
        await http.ask(self._client, "DELETE", f"{_PATH}/{id}")


def _beat(body: dict[str, Any]) -> float:
    seconds = as_float(body.get("heartbeat_interval"))
    return DEFAULT_BEAT if seconds is None else bounded_beat(seconds)


def _refused(body: Any) -> Refused | None:
    try:
        error = body["errors"][0]
        return Refused(str(error["field"])[:100], str(error["message"])[:500])
    except (KeyError, IndexError, TypeError):
        return None
