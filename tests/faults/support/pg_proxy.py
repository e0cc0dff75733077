"""A TCP proxy between Ares and PostgreSQL that cuts, delays, swallows and half-closes, and knows a COMMIT when it sees
one. It runs on a thread with an event loop of its own, so that a test may block."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

from tests.faults.support.pg_wire import Messages, is_commit, is_commit_done

_CHUNK = 65536
MARK = b"fault.run"
"""An attribute of every item that the suite sends."""


class AtCommit(enum.Enum):
    """What happens to a transaction that stores rows, at its COMMIT."""

    CUT_BEFORE = "COMMIT never reaches the server; the connection is cut"
    CUT_AFTER = "the server commits; the connection is cut before Ares hears of it"
    CUT_AFTER_AND_AWAY = "as before, and from then on the server cannot be reached"
    SWALLOW = "the server commits; Ares hears nothing, and the connection stays open"
    HOLD = "COMMIT is kept back until `release`; then it goes on"


class _Link:
    """One connection of Ares to the server."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.client, self.server = client, server
        self.copied = False  # rows of a test were sent since the last COMMIT
        self.commits = False  # its COMMIT is on the way
        self.fate: AtCommit | None = None  # what happens when it is done
        self.swallows = False
        self.passed = 0

    def reset(self) -> None:
        """Cuts both sides at once, as a dead machine or a firewall does: RST, no goodbye."""
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self.proxy.links.discard(self)


class Proxy:
    """Ares talks to `url` and means the server behind it. All settings may be changed at any time, from any thread."""

    def __init__(self, url: str) -> None:
        """`url`: the database behind it, over TCP or over a Unix socket."""
        self._target = url
        self.links: set[_Link] = set()
        self.refusing = False
        """New connections are reset."""
        self.black_hole = False
        """Nothing is passed on any more, in both directions; connections stay open, new ones are taken."""
        self.delay = 0.0
        """Seconds that every piece waits before it is passed on."""
        self.bytes_a_second = 0
        """Speed towards the server; 0 is unlimited."""
        self.reset_after = 0
        """A connection is cut after so many bytes towards the server; 0 is never."""
        self.attempts = 0
        """Connections that Ares tried to open."""
        self.commits = 0
        """Transactions with rows of a test whose COMMIT was done."""
        self.caught = 0
        """Transactions that `at_next_commit` happened to."""
        self.on_committed: Callable[[], None] | None = None
        """Called (in a thread of its own) when the server said that it committed rows, before Ares hears of it."""
        self._at_commit: AtCommit | None = None
        self._marked = MARK
        self._released = threading.Event()
        self._caught = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        """URL of the database through the proxy."""
        parts = urlsplit(self._target)
        return f"postgresql://{parts.username}@127.0.0.1:{self.port}{parts.path}"

    def at_next_commit(self, what: AtCommit, marked: bytes = MARK) -> None:
        """The next transaction that stores rows with this mark in them meets this at its COMMIT; others pass."""
        self._released.clear()
        self._marked = marked
        self._caught.clear()
        self._at_commit = what

    async def until_caught(self, seconds: float = 60.0) -> None:
        """Waits until a transaction met what `at_next_commit` ordered."""
        assert await asyncio.to_thread(self._caught.wait, seconds), "no transaction with rows came to its COMMIT"

    def release(self) -> None:
        """Lets a COMMIT that is kept back go on."""
        self._released.set()

    def cut(self) -> None:
        """Resets every connection there is."""

        def reset() -> None:
            for link in list(self.links):
                link.reset()

        self._call(reset)

    def leads_to(self, url: str) -> None:
        """From now on another server is behind it; connections to the one before are cut."""
        self._target = url
        self.cut()

    def half_close(self) -> None:
        """Ends the direction towards Ares of every connection (FIN); the other one stays open."""

        def shut() -> None:
            for link in list(self.links):
                if link.client.can_write_eof():
                    link.client.write_eof()
                    link.swallows = True

        self._call(shut)

    def away(self) -> None:
        """The server is gone: connections are cut, new ones refused."""
        self.refusing = True
        self.cut()

    def back(self) -> None:
        """Everything passes again; connections that were swallowed are cut."""
        self.refusing = self.black_hole = False
        self.delay, self.bytes_a_second, self.reset_after = 0.0, 0, 0
        self.cut()

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Cuts everything and ends the thread."""
        self._released.set()
        self.away()
        assert self._server is not None
        self._call(self._server.close)
        self._call(self._loop.stop)
        self._thread.join(10)

    def _call(self, what: Callable[[], object]) -> None:
        """Runs something on the proxy's loop and waits for it, unless it ends the loop."""
        done = threading.Event()

        def run() -> None:
            try:
                what()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def _run(self) -> None:
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._target)
        query = parse_qs(parts.query)
        if "host" in query:
            port = query.get("port", [str(parts.port or 5432)])[0]
            return await asyncio.open_unix_connection(f"{query['host'][0]}/.s.PGSQL.{port}")
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        try:
            if self.refusing:
                raise ConnectionRefusedError
            back_reader, back_writer = await self._open()
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:  # the proxy stops
            writer.transport.abort()
            raise
        link = _Link(self, writer, back_writer)
        self.links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._towards_server(link, reader))
                group.create_task(self._towards_ares(link, back_reader))
        except* (OSError, EOFError):
            pass
        finally:
            link.reset()

    async def _towards_server(self, link: _Link, reader: asyncio.StreamReader) -> None:
        messages = Messages(typed=False)
        while data := await reader.read(_CHUNK):
            await self._slow(len(data))
            out = bytearray()
            for kind, message in messages.feed(data):
                link.copied = link.copied or self._is_meant(kind, message)
                if link.copied and is_commit(kind, message):
                    link.server.write(bytes(out))
                    out.clear()
                    await self._commit_comes(link)
                out += message
            link.server.write(bytes(out))
            await link.server.drain()
            link.passed += len(data)
            if self.reset_after and link.passed > self.reset_after:
                raise ConnectionResetError
        raise EOFError  # the other direction ends, too

    def _is_meant(self, kind: bytes, message: bytes) -> bool:
        """Whether a message belongs to a transaction that stores what a test sent, and not Ares's own telemetry, which
        has no metrics."""
        if kind == b"d":
            return self._marked in message
        return kind == b"Q" and self._marked == MARK and message[5:].startswith(b"COPY ") and b"metric_" in message

    async def _commit_comes(self, link: _Link) -> None:
        what, self._at_commit = self._at_commit, None
        link.copied = False
        link.commits = True
        if what is None:
            return
        if what is AtCommit.CUT_BEFORE:
            self._catch()
            raise ConnectionResetError
        if what is AtCommit.HOLD:
            self._catch()
            await asyncio.to_thread(self._released.wait)
            return
        link.fate = what

    async def _towards_ares(self, link: _Link, reader: asyncio.StreamReader) -> None:
        messages = Messages(typed=True)
        single = True  # an answer to a request for TLS is one letter without a length
        while data := await reader.read(_CHUNK):
            await self._slow(0)
            if single and data[:1] in b"NS" and len(data) == 1:
                link.client.write(data)
                continue
            single = False
            for kind, message in messages.feed(data):
                if link.commits and is_commit_done(kind, message):
                    await self._committed(link)
                if not link.swallows:
                    link.client.write(message)
            await link.client.drain()
        raise EOFError

    async def _committed(self, link: _Link) -> None:
        link.commits = False
        self.commits += 1
        if self.on_committed is not None:
            await asyncio.to_thread(self.on_committed)
        if link.fate is None:
            return
        fate, link.fate = link.fate, None
        self._catch()
        if fate is AtCommit.CUT_AFTER_AND_AWAY:
            self.refusing = True
            for other in list(self.links):
                other.reset()
        if fate in (AtCommit.CUT_AFTER, AtCommit.CUT_AFTER_AND_AWAY):
            raise ConnectionResetError
        link.swallows = True

    def _catch(self) -> None:
        self.caught += 1
        self._caught.set()

    async def _slow(self, size: int) -> None:
        """Waits as long as the settings say; for good in a black hole, until it is none any more."""
        while self.black_hole:  # noqa: ASYNC110 - it is set from another thread
            await asyncio.sleep(0.01)
        if self.delay:
            await asyncio.sleep(self.delay)
        if size and self.bytes_a_second:
            await asyncio.sleep(size / self.bytes_a_second)


@contextlib.contextmanager
def proxy(url: str) -> Iterator[Proxy]:
    """A proxy in front of a database, for the length of a block."""
    made = Proxy(url)
    made.start()
    try:
        yield made
    finally:
        made.stop()
