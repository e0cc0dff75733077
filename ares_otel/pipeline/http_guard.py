"""What stands in front of every HTTP app of Ares: who may ask, and how long a body may take."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.pipeline.http_protocol import ErrorBodies, Limits, retry_after

_log = logging.getLogger("ares_otel.http")

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 5.0

OriginAllowed = Callable[[str], bool]


def no_other_origin(origin: str) -> bool:
    """The default: pages of other origins are not let in."""
    return False


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    message: str


_BUSY = _Refusal(503, "The server works on as many requests as it takes; send the request again.")
_LATE = _Refusal(408, "The body of the request did not arrive in time.")


class Access:
    """Decides from Host and Origin whether a request comes from where requests may come from.

    A page on the web can make its own name resolve to 127.0.0.1 (DNS rebinding) and then talk to a local server as if
    it were its own; only the Host header gives it away. A page can also simply send requests to http://127.0.0.1 whose
    answers it cannot read; Origin and Sec-Fetch-Site give that away.
    """

    def __init__(self, allowed_hosts: Iterable[str] = (), origin_allowed: OriginAllowed = no_other_origin) -> None:
        """
        Args:
            allowed_hosts: names, without port, accepted besides addresses, localhost and this machine's own names.
            origin_allowed: whether pages of this origin (`https://name:port`) may send requests: the app's CORS.
        """
        own = socket.gethostname()
        self._names = {_plain(name) for name in (*allowed_hosts, own, own.partition(".")[0]) if name}
        self._origin_allowed = origin_allowed

    def refusal(self, scope: Scope) -> _Refusal | None:
        """Why the request is refused, or None. Reads the headers only, never the URL."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) > 1:
            return _Refusal(400, "The request has more than one Host header.")
        if not hosts:
            if scope.get("http_version") == "1.0":
                return self._origin_refusal(scope, None)
            return _Refusal(400, "The request has no Host header.")
        parsed = _HOST.fullmatch(hosts[0].strip())
        if parsed is None:
            return _Refusal(400, "The Host header is not a host name with an optional port.")
        name = parsed[1].decode("ascii").lower()
        if not self._known(name):
            return _Refusal(
                421,
                f"This server does not answer to the name {name[:255]}. Use its address or localhost, or start Ares"
                f" with --allowed-hosts {name[:255]}.",
            )
        return self._origin_refusal(scope, (name, int(parsed[2]) if parsed[2] else None))

    def _known(self, name: str) -> bool:
        plain = _plain(name)
        if plain == "localhost" or plain.endswith(".localhost") or plain in self._names:
            return True
        try:
            ip_address(plain)
        except ValueError:
            return False
        return True

    def _origin_refusal(self, scope: Scope, host: tuple[str, int | None] | None) -> _Refusal | None:
        headers = dict(scope["headers"])
        site = headers.get(b"sec-fetch-site", b"")
        given = headers.get(b"origin")
        if given is not None:
            origin = given.decode("latin-1")
            # What the browser calls same-origin is: it sends this header only to where nobody can listen in, and a
            # proxy that ends TLS in front of Ares makes the schemes differ.
            if site == b"same-origin" or _same_origin(origin, scope, host) or self._origin_allowed(origin):
                return None
            return _Refusal(403, "Pages of other origins may not send requests here.")
        if site == b"cross-site" and not _is_navigation(scope, headers):
            return _Refusal(403, "Pages of other sites may not send requests here.")
        return None


def _plain(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()


def _same_origin(origin: str, scope: Scope, host: tuple[str, int | None] | None) -> bool:
    if host is None:
        return False
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
    default = _DEFAULT_PORTS[scheme]
    return (
        parts.scheme == scheme
        and _plain(parts.hostname or "") == _plain(host[0])
        and (default if port is None else port) == (default if host[1] is None else host[1])
    )


def _is_navigation(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Somebody followed a link from another site to a page of Ares."""
    return scope.get("method") in ("GET", "HEAD") and headers.get(b"sec-fetch-mode") == b"navigate"


@dataclass(slots=True)
class _Exchange:
    """One request: what has been received and sent of it."""

    body_done: bool = False
    asked: bool = False
    received: int = 0
    started: float | None = None
    answered: bool = False
    timed_out: bool = False
    expects_continue: bool = False
    in_work: bool = False


class Guard:
    """ASGI app around another: checks access, bounds the time of a body, and makes sure that an answer reaches a client
    that is still sending.

    A cancelled request (the door closes and the grace is over) and an exception that escapes the app are answered 503.
    """

    def __init__(
        self, app: ASGIApp, access: Access, limits: Limits, error_bodies: ErrorBodies, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._error_bodies = error_bodies
        self._clock = clock
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._access.refusal(scope)
        if scope["type"] != "http":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:100]})
            return
        await self._serve(scope, receive, send, refusal)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, refusal: _Refusal | None) -> None:
        exchange = _Exchange(
            body_done=_has_no_body(scope),
            expects_continue=any(n == b"expect" and v.lower() == b"100-continue" for n, v in scope["headers"]),
        )
        if refusal is None and not self._has_place(exchange):
            refusal = _BUSY

        async def bounded_receive() -> Message:
            if exchange.timed_out:
                return {"type": "http.disconnect"}
            message = await self._receive_in_time(exchange, receive)
            if message is not None and self._has_place(exchange):
                return message
            exchange.timed_out = True
            late = _LATE if message is None else _BUSY
            if not exchange.answered:
                await self._answer(scope, late_send, late.status, late.message, exchange)
            return {"type": "http.disconnect"}

        async def late_send(message: Message) -> None:
            await self._send(exchange, receive, send, message)

        async def complete_send(message: Message) -> None:
            if not exchange.timed_out:  # else it is answered already, and whatever the app says now comes too late
                await self._send(exchange, receive, send, message)

        try:
            if refusal is not None:
                await self._answer(scope, complete_send, refusal.status, refusal.message, exchange)
                return
            await self._app(scope, bounded_receive, complete_send)
        except asyncio.CancelledError:
            # uvicorn cancels what is still in work when the grace is over, and would answer 500, which senders of
            # telemetry take for "never again".
            if not exchange.answered:
                await self._answer(scope, send, 503, "The server is shutting down; send the request again.", exchange)
        except Exception:
            if exchange.answered:
                raise
            _log.exception("A request failed unexpectedly")
            await self._answer(scope, send, 503, "An unexpected error occurred; send the request again.", exchange)
        finally:
            self._in_work -= exchange.in_work

    def _has_place(self, exchange: _Exchange) -> bool:
        """Takes a place among the requests in work when the request is complete; one that is still arriving has none,
        else slow senders would hold all of them."""
        if exchange.in_work:
            return True
        if self._in_work >= self._limits.max_concurrent_requests:
            return False
        if exchange.body_done:
            exchange.in_work = True
            self._in_work += 1
        return True

    async def _receive_in_time(self, exchange: _Exchange, receive: Receive) -> Message | None:
        """The next part of the body; None when it takes too long. After the body there is no deadline."""
        if exchange.body_done:
            exchange.asked = True
            return await receive()
        limits, now = self._limits, self._clock.monotonic()
        if exchange.started is None:
            exchange.started = now
        exchange.asked = True
        end = exchange.started + limits.body_seconds + exchange.received / limits.body_bytes_per_second
        try:
            async with asyncio.timeout(max(0.0, min(limits.body_idle_seconds, end - now))):
                message = await receive()
        except TimeoutError:
            return None
        if message["type"] == "http.request":
            exchange.received += len(message.get("body", b""))
            exchange.body_done = not message.get("more_body", False)
        else:
            exchange.body_done = True
        return message

    async def _send(self, exchange: _Exchange, receive: Receive, send: Send, message: Message) -> None:
        """Sends; an answer that comes before the whole body was read ends the connection, but only after the client
        had a chance to read it. Closing at once would make the system throw the answer away together with the body
        (RST), and the client would see a broken connection and try the same again."""
        if message["type"] == "http.response.start":
            exchange.answered = True
            if not exchange.body_done:
                headers = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
        elif message["type"] == "http.response.body" and not message.get("more_body") and not exchange.body_done:
            await send({**message, "more_body": True})
            if exchange.asked or not exchange.expects_continue:
                await _drain(receive)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    async def _answer(self, scope: Scope, send: Send, status: int, message: str, exchange: _Exchange) -> None:
        error = self._error_bodies(scope, status, message)
        exchange.answered = True
        headers = [
            (b"content-type", error.content_type.encode("ascii")),
            (b"content-length", str(len(error.body)).encode("ascii")),
            (b"connection", b"close"),
            *(tuple(line.split(b": ", 1)) for line in retry_after(status, error)),
            *error.headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": error.body})


async def _drain(receive: Receive) -> None:
    """Reads and forgets what the client still sends, within bounds."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _has_no_body(scope: Scope) -> bool:
    """Whether the request ends with its headers (RFC 9112 §6.3)."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return not any(name == b"transfer-encoding" for name, _ in scope["headers"]) and all(v == b"0" for v in lengths)
