"""The body of an HTTP request, read and inflated within bounds."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from ares_otel.model.errors import Overloaded, SenderGone, TooLarge
from ares_otel.pipeline.admission import STALLED, Reservation
from ares_otel.receivers.serving.inflate import ENCODINGS, inflate
from ares_otel.receivers.serving.status import Failure, http_failure
from ares_otel.receivers.serving.workers import Workers


def header(scope: Scope, wanted: bytes) -> str | None:
    """Value of the first header of that name (lower case)."""
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None


def content_type(scope: Scope) -> str | None:
    """Media type without parameters, in lower case. Empty when more than one header says it; None when none does."""
    values = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(values) > 1:
        return ""
    return str(values[0].decode("latin-1")).partition(";")[0].strip().lower() if values else None


def content_encoding(scope: Scope) -> str | Failure:
    """The one content encoding of the body, empty for none."""
    values = [value for name, value in scope["headers"] if name == b"content-encoding"]
    names = [token.strip().lower() for token in b",".join(values).decode("latin-1").split(",")]
    names = [name for name in names if name not in ("", "identity", "none")]
    for name in names:
        if name not in ENCODINGS:
            known = ", ".join(sorted(ENCODINGS))
            return http_failure(415, f"Content-Encoding must be one of {known}, or identity.")
    if len(names) > 1:
        return http_failure(400, "The body must not be encoded more than once.")
    return names[0] if names else ""


class BodyReader:
    """Reads bodies of at most so many bytes, as sent and as inflated."""

    def __init__(self, limit: int, workers: Workers) -> None:
        self._limit = limit
        self._workers = workers

    async def read(self, scope: Scope, receive: Receive, reservation: Reservation, encoding: str) -> bytes:
        """The inflated body.

        Args:
            encoding: as `content_encoding` gives it.

        Raises:
            TooLarge: more than the limit.
            Rejected: the body is not what its encoding says.
            Overloaded: the memory budget is used up, or the body came too slowly while it was.
            SenderGone: the sender left in the middle.
        """
        body = await self._sent(scope, receive, reservation)
        if not encoding:
            return body
        return await inflate(body, encoding, self._limit, reservation, self._workers)

    async def _sent(self, scope: Scope, receive: Receive, reservation: Reservation) -> bytes:
        """The body as it was sent, at most as large as allowed, whatever Content-Length says.

        A body that is announced larger than what is free is refused before it is read. Then memory is reserved ahead of
        what arrives, but never more than as much again: a sender that announces megabytes and then sends a byte a
        second must not keep others out.
        """
        announced = int(header(scope, b"content-length") or 0)
        if announced > self._limit:
            raise TooLarge(self._too_large())
        reservation.expect(announced)
        loop = asyncio.get_running_loop()
        patience = asyncio.timeout(None)
        try:
            async with patience:
                reservation.arriving(lambda: patience.reschedule(loop.time()))
                body = await self._parts(announced, receive, reservation)
        except TimeoutError:
            raise Overloaded(STALLED) from None
        reservation.arrived()
        return body

    async def _parts(self, announced: int, receive: Receive, reservation: Reservation) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise SenderGone
            part = message.get("body", b"")
            body += part
            size = len(body)
            if size > self._limit:
                raise TooLarge(self._too_large())
            reservation.progress(len(part))
            if size > reservation.held_bytes:
                ahead = min(max(announced, size), 2 * size)
                reservation.grow(ahead - reservation.held_bytes)
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> str:
        return f"The body is larger than {self._limit} bytes (max_request_body_size); send smaller batches."
