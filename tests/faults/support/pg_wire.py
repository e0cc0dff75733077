"""As much of PostgreSQL's protocol as is needed to see a COMMIT pass by, and the answer to it."""

from __future__ import annotations

from collections.abc import Iterator

_UNTYPED = {80877102: "cancel", 80877103: "tls", 80877104: "gss"}


class Messages:
    """Cuts a stream into messages. Feed it what comes; it gives back whole messages, header included."""

    def __init__(self, *, typed: bool) -> None:
        """`typed`: every message begins with its type, as all of a server's do. A client's first ones do not."""
        self._typed = typed
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(type, whole message) for each message that is complete now; the type of an untyped one is empty."""
        self._buffer += data
        while True:
            head = 1 if self._typed else 0
            if len(self._buffer) < head + 4:
                return
            size = head + int.from_bytes(self._buffer[head : head + 4], "big")
            if len(self._buffer) < size:
                return
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            kind = message[:1] if self._typed else b""
            if not self._typed and int.from_bytes(message[4:8], "big") not in _UNTYPED:
                self._typed = True  # the startup message; a request for TLS is followed by another untyped one
            yield kind, message

    @property
    def rest(self) -> bytes:
        """What is not a whole message yet."""
        return bytes(self._buffer)


def is_commit(kind: bytes, message: bytes) -> bool:
    """Whether a client's message is a simple query that commits."""
    return kind == b"Q" and message[5:-1].strip(b"; \n").upper().endswith(b"COMMIT")


def is_commit_done(kind: bytes, message: bytes) -> bool:
    """Whether a server's message says that a COMMIT was done."""
    return kind == b"C" and message[5:-1] == b"COMMIT"
