"""A real Redis server that a test starts, stops, fills, flushes and freezes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.ports import free_port

PROGRAM = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")

needs_redis = pytest.mark.skipif(
    PROGRAM is None,
    reason="Redis is not installed here (apt-get install redis-server): the bus is tried in memory only",
)


class RedisServer:
    """A server on a free port of loopback, which keeps nothing on disk. Not running until `start`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.mkdtemp(prefix="ares-redis-")

    def start(self, *settings: str) -> None:
        """Starts the server, empty; returns when it answers. `settings`: more command-line options."""
        assert PROGRAM is not None
        assert self._process is None
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self._folder, *settings)
        self._process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended before it answered"

    def kill(self) -> None:
        """Ends the server at once; what it held is gone. Safe twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stops the process without closing its connections: it takes what is sent and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Ends the server and takes away its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return bool(connection.recv(100))
        except OSError:
            return False


@contextmanager
def redis_server(*, running: bool = True) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    server = RedisServer()
    try:
        if running:
            server.start()
        yield server
    finally:
        server.remove()
