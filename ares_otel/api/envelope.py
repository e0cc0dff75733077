"""What holds for every answer of the API, whoever makes it: headers that tell browsers what not to do with it, HEAD as
GET without a body, a bound on the address, and an answer also where the code failed."""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ares_otel.api.jaeger.error_shapes import MOUNTED, jaeger_error_body
from ares_otel.api.problems import INTERNAL_ERROR, INTERNAL_SENTENCE, URI_TOO_LONG, Kind, internal_error, problem

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

    def __init__(self, app: ASGIApp, jaeger_root: str = MOUNTED) -> None:
        """
        Args:
            jaeger_root: the path below which errors have Jaeger's shapes.
        """
        self.app = app
        self._jaeger_root = jaeger_root

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
            sentence = f"Keep path and query together within {MAX_ADDRESS} bytes."
            answer = self._jaeger(scope, URI_TOO_LONG, sentence) or problem(URI_TOO_LONG, sentence)
            await answer(scope, receive, send_dressed)
            return
        try:
            await self.app({**scope, "method": "GET", IS_HEAD: True} if head else scope, receive, send_dressed)
        except Exception:
            # The path without the query: filters may hold what does not belong into a log.
            _log.exception("A request of the API failed: %s %.200s", scope["method"], scope["path"])
            if started:
                raise  # too late for an answer; the server closes the connection
            answer = self._jaeger(scope, INTERNAL_ERROR, INTERNAL_SENTENCE) or internal_error()
            await answer(scope, receive, send_dressed)

    def _jaeger(self, scope: Scope, kind: Kind, sentence: str) -> Response | None:
        body = jaeger_error_body(scope["path"], kind.status, sentence, self._jaeger_root)
        return None if body is None else Response(body, kind.status, media_type="application/json")
