"""The process itself: `python -c … FOLDER`, started by the first test that needs it (`client.py`).

It listens on a Unix socket, `FOLDER/door`. A connection is a process of tests; when it closes, also by a SIGKILL, what
that process had is taken away. With the last one the house ends and removes the folder. Requests and answers are JSON,
one a line: `{"do": "database"}`, `{"do": "server"}`, `{"do": "release"}`, `{"do": "bye"}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from ares_otel.model.errors import StartError
from ares_otel.testing.house.databases import Databases, data_of
from ares_otel.testing.house.folder import DOOR, FAILED, LOCK, hold
from ares_otel.testing.house.servers import Server, Servers

_FIRST_CLIENT = 60.0
_LOOK_AGAIN = 0.05
_LONGEST_LINE = 65_536
_MOST_SPARE = 4


class _Client:
    """What one process of tests has now."""

    def __init__(self) -> None:
        self.database: str | None = None
        self.server: Server | None = None
        self.wants_servers = False


class House:
    """Databases and servers, and the processes that have them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._databases = Databases(folder)
        self._servers = Servers(folder)
        self._clients: set[_Client] = set()
        self._spares: list[asyncio.Task[tuple[str, Server]]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._leaving: list[asyncio.StreamWriter] = []
        self._came = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until nobody needs it."""
        await self._databases.start()
        door = await asyncio.start_unix_server(self._serve, self._folder / DOOR, limit=_LONGEST_LINE)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), _FIRST_CLIENT)
            lock = await self._nobody_left()
            (self._folder / DOOR).unlink(missing_ok=True)
        finally:
            door.close()
            self._servers.stop()
            for task in (*self._spares, *self._background):
                task.cancel()
            await asyncio.gather(*self._spares, *self._background, return_exceptions=True)
            await self._databases.stop()
        # In one step, with the lock in it: whoever comes now makes a folder of its own.
        gone = self._folder.with_suffix(f".{os.getpid()}")
        self._folder.rename(gone)
        os.close(lock)
        shutil.rmtree(gone, ignore_errors=True)

    async def _nobody_left(self) -> int:
        """Returns the lock of the folder, held, when no process of tests is there or about to come: each comes with
        the lock in its hand."""
        lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while True:
            if not self._clients:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not self._clients:
                        return lock
                    fcntl.flock(lock, fcntl.LOCK_UN)
                await asyncio.sleep(_LOOK_AGAIN)
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client()
        self._clients.add(client)
        self._came.set()
        self._let_go()
        try:
            writer.write(b'{"ok": true}\n')
            while line := await reader.readline():
                request = json.loads(line)
                if request["do"] == "bye":
                    break
                try:
                    answer = await self._answer(client, request["do"])
                except Exception as error:
                    traceback.print_exc()
                    answer = {"error": str(error) or type(error).__name__}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            self._release(client)
            self._clients.discard(client)
            self._changed.set()
            self._leaving.append(writer)
            if self._clients:
                self._let_go()

    def _let_go(self) -> None:
        """Who leaves as the last one waits until the process has ended, which closes all connections; others do not."""
        for writer in self._leaving:
            writer.close()
        self._leaving.clear()

    async def _answer(self, client: _Client, wanted: str) -> dict[str, Any]:
        if wanted == "release":
            self._release(client)
            return {}
        if wanted == "database":
            if client.database is None:
                client.database = await self._databases.take()
            return {"url": self._databases.url(client.database)}
        if wanted == "server":
            client.wants_servers = True
            if client.server is None:
                await self._give_server(client)
            assert client.server is not None
            assert client.database is not None
            url = self._databases.url(client.database)
            return {"url": url, "doors": client.server.doors, "log": str(client.server.log)}
        raise ValueError(f"nobody can do {wanted!r} here")

    async def _give_server(self, client: _Client) -> None:
        if client.database is None and self._spares:
            with contextlib.suppress(Exception):  # another one is started below
                client.database, client.server = await self._spares.pop(0)
        if client.server is None:
            client.database, client.server = await self._pair(client.database)
        self._make_spares()

    async def _pair(self, database: str | None) -> tuple[str, Server]:
        if database is None:
            database = await self._databases.take()
        return database, await self._servers.start(self._databases.url(database))

    def _make_spares(self) -> None:
        """The next test gets a server that has started while this one runs."""
        wanted = min(_MOST_SPARE, sum(client.wants_servers for client in self._clients))
        while len(self._spares) < wanted:
            self._spares.append(asyncio.create_task(self._pair(None)))

    def _release(self, client: _Client) -> None:
        database, server = client.database, client.server
        client.database = client.server = None
        if server is not None:
            self._servers.kill(server)
        if database is not None:
            task = asyncio.create_task(self._databases.drop(database))
            self._background.add(task)
            task.add_done_callback(self._background.discard)


def main() -> None:
    """Runs the house of the folder that the command line names."""
    folder = Path(sys.argv[1])
    alive = hold(folder)
    try:
        asyncio.run(House(folder).run())
    except BaseException as error:
        message = error.message if isinstance(error, StartError) else f"{type(error).__name__}: {error}"
        traceback.print_exc()
        (folder / FAILED).write_text(message, encoding="utf-8")
        shutil.rmtree(data_of(folder), ignore_errors=True)
        raise SystemExit(1) from None
    finally:
        os.close(alive)
