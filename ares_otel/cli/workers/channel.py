"""What the supervisor and a worker say to each other: JSON over a socket pair that only the two of them have.

The end of the channel is the end of the other process: the kernel closes its side however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from ares_otel.model.errors import StartError

FRAME_BYTES = 64 * 1024 * 1024
"""One message at most."""
WAITING_BYTES = 8 * 1024 * 1024
"""Bytes that may wait for the other side before `note` drops what is not vital."""
_LENGTH = 4

Answer = Callable[..., Awaitable[Any]]
"""Does what a call asks for; its keyword arguments are the call's. A StartError goes back to the caller."""
Note = Callable[..., None]
"""Takes a note; it must be quick and must not raise."""

log = logging.getLogger("ares_otel.workers")


class ChannelClosed(Exception):
    """The other process is gone, or is about to be."""


class Channel:
    """One end. Calls are answered, notes are not; both keep their order on the way."""

    def __init__(self, answers: dict[str, Answer], notes: dict[str, Note]) -> None:
        self._answers = answers
        self._notes = notes
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        """Set when the other side is gone."""

    async def open(self, end: socket.socket) -> None:
        """Begins to listen. The channel closes the socket."""
        reader, self._writer = await asyncio.open_unix_connection(sock=end)
        self._reading = asyncio.create_task(self._read(reader), name="channel")

    async def call(self, what: str, **arguments: Any) -> Any:
        """Asks the other side and waits for the answer.

        Raises:
            StartError: as the other side raised it.
            ChannelClosed: it ended before it answered.
        """
        if self.closed.is_set() or self._writer is None:
            raise ChannelClosed
        self._number += 1
        number = self._number
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._write({"call": number, "what": what, "with": arguments})
            return await answer
        finally:
            self._waiting.pop(number, None)

    def note(self, what: str, **arguments: Any) -> bool:
        """Tells the other side something. False when that was dropped: it is gone, or does not listen."""
        writer = self._writer
        if self.closed.is_set() or writer is None or writer.transport.get_write_buffer_size() > WAITING_BYTES:
            return False
        self._write({"note": what, "with": arguments})
        return True

    async def close(self) -> None:
        """Sends what is written, then closes. Safe twice."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.drain()
                self._writer.close()
                await self._writer.wait_closed()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._end()

    def _write(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        frame = orjson.dumps(message)
        self._writer.write(len(frame).to_bytes(_LENGTH, "big") + frame)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(_LENGTH), "big")
                if size > FRAME_BYTES:
                    raise ValueError(f"a message of {size} bytes")
                self._take(orjson.loads(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, OSError):
            pass
        except ValueError as error:
            log.error("A worker and its supervisor do not understand each other: %s", error)
        finally:
            self._end()

    def _take(self, message: dict[str, Any]) -> None:
        if "note" in message:
            self._notes[message["note"]](**message["with"])
        elif "call" in message:
            task = asyncio.create_task(self._answer(message), name=f"answer {message['what']}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (waiting := self._waiting.get(message["answer"])) is not None and not waiting.done():
            if "error" in message:
                waiting.set_exception(StartError(message["error"]))
            else:
                waiting.set_result(message["value"])

    async def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"answer": message["call"]}
        try:
            answer["value"] = await self._answers[message["what"]](**message["with"])
        except StartError as error:
            answer["error"] = error.message
        except Exception as error:
            log.exception("A worker could not %s.", message["what"])
            answer["error"] = f"{type(error).__name__}: {error}"
        if not self.closed.is_set():
            with contextlib.suppress(OSError):
                self._write(answer)

    def _end(self) -> None:
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChannelClosed())
        if self._writer is not None:
            self._writer.close()
