"""One call's one message: registered as a stream, it is read when there is room (ADR 010)."""

from __future__ import annotations

import grpc.aio

from ares_otel.model.errors import Rejected, SenderGone

_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


async def only_message(context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """The message of a call that has exactly one.

    Raises:
        Rejected: it has none, or more.
        SenderGone: the sender left in the middle.
    """
    message: object = await context.read()
    if not isinstance(message, bytes):
        if context.cancelled():
            raise SenderGone
        raise Rejected("The call ended without a request message.")
    if isinstance(await context.read(), bytes):
        raise Rejected("The call has more than one request message.")
    return message


def encoding_of(message: bytes) -> str:
    """How a message is compressed. gRPC does not tell the handler, but no request starts like compressed data: 0x1f
    would be a field of wire type 7, which does not exist, and 0x78 a field 15, which none of the requests has."""
    if message.startswith(_GZIP):
        return "gzip"
    return "deflate" if message.startswith(_ZLIB) else ""
