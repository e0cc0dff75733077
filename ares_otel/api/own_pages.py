"""Pages that show what was ingested say which Ares they are of, so that it never scrapes them itself: each round would
store everything once more, under other labels."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = ("/metrics/ingested", "/prometheus/federate")
HEADER = "ares-otel-instance"


class NamedPages:
    """An app whose answers on `PATHS` have the header."""

    def __init__(self, app: ASGIApp, instance_id: str) -> None:
        """
        Args:
            instance_id: `service.instance.id` of this Ares.
        """
        self._app = app
        self._instance_id = instance_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = self._instance_id
            await send(message)

        await self._app(scope, receive, named)
