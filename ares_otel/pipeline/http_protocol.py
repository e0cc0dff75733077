"""HTTP/1.1 on one connection: uvicorn's protocol, with limits where it has none and the app's own error bodies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ares_otel.pipeline.http_connections import Connections
from ares_otel.pipeline.http_unread import Unread


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """Body of an error answer that is given before, or instead of, the app."""

    content_type: str
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


ErrorBodies = Callable[[Scope | None, int, str], ErrorBody]
"""Makes the body for an HTTP status and a sentence, in the protocol of the door. The scope is None when the request
could not be parsed."""


def plain_error(scope: Scope | None, status: int, message: str) -> ErrorBody:
    """The default error body: the sentence as text."""
    return ErrorBody("text/plain; charset=utf-8", message.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may take before it is refused."""

    header_bytes: int = 64 * 1024
    """Request line and headers together; above it 431."""
    headers: int = 256
    """Number of header lines; above it 431."""
    header_seconds: float = 15.0
    """From the first byte of a connection or request to the end of its headers; then 408."""
    body_idle_seconds: float = 15.0
    """Without a single byte of an expected body; then 408."""
    body_seconds: float = 20.0
    """For a body as a whole, plus the time that `body_bytes_per_second` gives for what has arrived; then 408."""
    body_bytes_per_second: int = 64 * 1024
    """The slowest sender that is waited for."""
    keep_alive_seconds: int = 60
    """An idle connection is closed after this."""
    max_connections: int = 1024
    """Connections of the door at once. Beyond it, the one that has waited longest for its client is closed; when none
    has waited for `stalled_seconds`, requests of the new one are answered 503, and beyond a tenth more it is closed."""
    max_concurrent_requests: int = 512
    """Requests in work at once (those that have arrived); one more is answered 503."""
    connection_seconds: float = 0.0
    """A connection that is older, give or take a tenth, ends with its next answer; 0: never. Where several processes
    share a port, a connection stays with the one that it came to: clients that come back are spread anew."""
    stalled_seconds: float = 1.0
    """A connection that has waited for its client for so long may be closed for another one."""
    unread_seconds: float = 60.0
    """A client that has an answer waiting and takes none of it for so long is cut off."""
    unread_bytes: int = 256 * 1024 * 1024
    """Of answers that clients read too slowly, all together; beyond it, the one that has waited longest is cut off."""


_LINGER_SECONDS = 2.0


def retry_after(status: int, error: ErrorBody) -> list[bytes]:
    """The header line that belongs to 503, where the error body does not bring it."""
    given = any(name.lower() == b"retry-after" for name, _ in error.headers)
    return [b"retry-after: 1"] if status == 503 and not given else []


class _HeadersTooLarge(Exception):
    pass


def protocol(limits: Limits, error_bodies: ErrorBodies, connections: Connections) -> type[asyncio.Protocol]:
    """uvicorn's protocol class with these limits. uvicorn takes a class, so this makes one."""

    class Bounded(BoundedProtocol):
        LIMITS = limits
        ERROR_BODIES = staticmethod(error_bodies)
        CONNECTIONS = connections
        UNREAD = Unread(limits.unread_bytes, limits.unread_seconds)

    return Bounded


class BoundedProtocol(HttpToolsProtocol):
    """Adds to uvicorn's protocol:

    * a limit on size and number of headers (uvicorn has none with httptools): 431;
    * a deadline for the headers, which a byte now and then does not push back: 408;
    * a limit on connections: see `Connections`;
    * limits on answers that are not read: see `Unread`;
    * error bodies in the door's own protocol for requests that cannot be parsed;
    * an `Upgrade` that nobody here speaks (h2c, which Java's client offers on every first request) is ignored, as RFC
      9110 §7.8 allows, and the request is served with its body. The parser would end the request before its body.
    """

    LIMITS: Limits
    ERROR_BODIES: ErrorBodies
    CONNECTIONS: Connections
    UNREAD: Unread

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._in_headers = False
        self._message = 0
        self._fed_bytes = 0
        self._header_bytes = 0
        self._header_count = 0
        self._replaying = False
        self._refused = False
        self._admitted: bool | None = True
        self._old_at = inf
        self._overflow = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._admitted = self.CONNECTIONS.admit(self)
        if self._admitted is None:
            transport.abort()
            return
        self.CONNECTIONS.waits(self)
        self._arm()
        if self.LIMITS.connection_seconds:
            self._old_at = self.loop.time() + self.LIMITS.connection_seconds * random.uniform(0.9, 1.1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.CONNECTIONS.gone(self)
        self.UNREAD.gone(self)
        self._disarm()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.UNREAD.full(self)

    def resume_writing(self) -> None:
        self.UNREAD.gone(self)
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        unfinished = self._message if self._in_headers else None
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _HeadersTooLarge):
                self._refuse(431, "The headers of the request are too large.")
            else:
                self._refuse(400, "The request is not valid HTTP/1.1.")
            return
        if self.transport.is_closing():
            return
        if self._overflow:
            self._refuse(503, "The server has as many connections as it takes; send the request again.")
            return
        self.CONNECTIONS.progress(self, 0 if self._in_headers else len(data))
        if self._in_headers and unfinished == self._message:
            # While one endless header line arrives the parser reports nothing, so what it was fed is counted.
            self._fed_bytes += len(data)
            if self._fed_bytes > self.LIMITS.header_bytes:
                self._refuse(431, "The headers of the request are too large.")
                return
        if self._in_headers or self.cycle is None or self.cycle.response_complete:
            self._arm()

    def _feed(self, data: bytes) -> None:
        """Feeds the parser, and goes on behind an ignored upgrade."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[int(upgrade.args[0]) :]
                self._start_over()
            else:
                return
            if self.transport.is_closing():
                return

    def _start_over(self) -> None:
        """A fresh parser that stands where the old one gave up: behind the headers of the current request."""
        framing = [
            name + b": " + value for name, value in self.headers if name in (b"content-length", b"transfer-encoding")
        ]
        self.parser = httptools.HttpRequestParser(self)
        self._replaying = True
        try:
            self.parser.feed_data(b"\r\n".join([b"POST / HTTP/1.1", *framing, b"", b""]))
        finally:
            self._replaying = False

    # Parser callbacks
    def on_message_begin(self) -> None:
        if self._replaying:
            return
        self._in_headers = True
        self._message += 1
        self._fed_bytes = self._header_bytes = self._header_count = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._replaying:
            return
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._replaying:
            return
        self._header_count += 1
        if self._header_count > self.LIMITS.headers:
            raise _HeadersTooLarge
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._replaying:
            return
        self._disarm()
        self._in_headers = False
        if not self._admitted:
            self._overflow = True
            return
        self.CONNECTIONS.waits(self)
        super().on_headers_complete()
        if self.loop.time() >= self._old_at:
            self.cycle.keep_alive = False  # the answer says so, and the connection ends after it

    def on_body(self, body: bytes) -> None:
        if not self._overflow:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._overflow or (not self._replaying and self.parser.should_upgrade()):
            return  # its body is still to come, see _start_over
        self.CONNECTIONS.busy(self)
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self.LIMITS.header_bytes:
            raise _HeadersTooLarge

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self.CONNECTIONS.waits(self)

    def evict(self) -> None:
        """Others wait for a connection, and this one does not get on."""
        if self.transport.is_closing():
            return
        unanswered = self.cycle is not None and not self.cycle.response_complete
        if not self._refused and (self._in_headers or unanswered):
            self._refuse(503, "The request arrived too slowly while others waited; send it again.")
        self.transport.close()

    # Deadline of the headers
    def _arm(self) -> None:
        if self._deadline is None:
            seconds = self.LIMITS.header_seconds if self._admitted else self.LIMITS.stalled_seconds
            self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refuse(408, "The headers of the request did not arrive in time.")

    def _refuse(self, status: int, message: str) -> None:
        """Answers what cannot be understood, and closes. While an earlier request of the connection is in work there is
        no place for an answer: the earlier one gets its own, and then the connection ends."""
        self._disarm()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if not cycle.more_body or self.pipeline:
                return
            cycle.disconnected = True  # its body is the broken part: the app must not see an end of it
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        error = type(self).ERROR_BODIES(None, status, message)
        head = [
            b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: " + error.content_type.encode("ascii"),
            b"content-length: %d" % len(error.body),
            b"connection: close",
            *retry_after(status, error),
            *(name + b": " + value for name, value in error.headers),
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + error.body)
        # Closing while the client still sends would make the system take the answer back (RST): say that nothing more
        # comes, and give the client a moment to notice.
        self._refused = True
        self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.close)
