"""What holds for every answer of the API, whoever makes it: headers that tell browsers what not to do with it, HEAD as
GET without a body, a bound on the address, and an answer also where the code failed."""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ares_otel.api.problems import URI_TOO_LONG, internal_error, problem

MAX_ADDRESS = 8192
"""Bytes of path and query together."""

_DEFAULTS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
IS_HEAD = "ares_otel.head"
"""In the scope of a HEAD request, which endpoints see as GET: a stream has nothing to send then and ends at once."""
_log = logging.getLogger(__name__)


class Envelope:
    """ASGI middleware. A header that the endpoint sets itself is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        started = False

        async def send_dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _DEFAULTS.items():
                    headers.setdefault(name, value)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS:
            answer = problem(URI_TOO_LONG, f"Keep path and query together within {MAX_ADDRESS} bytes.")
            await answer(scope, receive, send_dressed)
            return
        try:
            await self.app({**scope, "method": "GET", IS_HEAD: True} if head else scope, receive, send_dressed)
        except Exception:
            # The path without the query: filters may hold what does not belong into a log.
            _log.exception("A request of the API failed: %s %.200s", scope["method"], scope["path"])
            if started:
                raise  # too late for an answer; the server closes the connection
            await internal_error()(scope, receive, send_dressed)
