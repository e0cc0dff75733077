"""How a process of tests finds the house of its run, or starts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from typing import Any

from ares_otel.testing.house.folder import DOOR, FAILED, LOG, folder_of, locked
from ares_otel.testing.house.spawn import command, environment

_START = 120.0
_ANSWER = 150.0
_END = 30.0
_POLL = 0.02
_SAID = 4_000


class HouseClient:
    """A connection to the house. Thread-safe; ends with `close`."""

    def __init__(self, run: str) -> None:
        """
        Args:
            run: what all processes of this run of tests have in common and no other run has.

        Raises:
            RuntimeError: the house does not start; the text says why.
        """
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder_of(run)
        lock = locked(self._folder)
        try:
            self._channel = self._connect() or self._start()
        finally:
            os.close(lock)
        self._lines = self._channel.makefile("rb")

    def ask(self, what: str) -> dict[str, Any]:
        """The answer to a request. Raises RuntimeError when it cannot be met."""
        with self._lock:
            try:
                self._channel.sendall(json.dumps({"do": what}).encode() + b"\n")
                line = self._lines.readline()
            except OSError as error:
                raise RuntimeError(f"The server of the fixture `ares` does not answer ({error}).") from error
        if not line:
            raise RuntimeError("The server of the fixture `ares` has ended; the next run of the tests starts it anew.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> None:
        """Leaves; the last one waits until everything has ended."""
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                self._channel.settimeout(_END)
                self._channel.sendall(b'{"do": "bye"}\n')
                self._lines.read()
        self._lines.close()
        self._channel.close()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # other workers need it: it is theirs to wait for

    def _connect(self) -> socket.socket | None:
        """A connection that was greeted, or None when nobody is there."""
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(_ANSWER)
        try:
            channel.connect(str(self._folder / DOOR))
            greeting = b""
            while not greeting.endswith(b"\n"):
                piece = channel.recv(1)
                if not piece:
                    raise ConnectionResetError
                greeting += piece
        except (ConnectionError, FileNotFoundError):
            channel.close()
            return None
        except BaseException:
            channel.close()
            raise
        return channel

    def _start(self) -> socket.socket:
        for name in (DOOR, FAILED):
            (self._folder / name).unlink(missing_ok=True)
        with (self._folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command("ares_otel.testing.house.main", str(self._folder)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,  # Ctrl-C is for pytest, which then leaves
            )
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if (channel := self._connect()) is not None:
                self._process = process
                return channel
            if process.poll() is not None:
                break
            time.sleep(_POLL)
        process.kill()
        process.wait()
        complaint = self._complaint()
        shutil.rmtree(self._folder, ignore_errors=True)  # with the lock in it: who waits for that makes another one
        raise RuntimeError(f"The server of the fixture `ares` does not start: {complaint}")

    def _complaint(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / FAILED).read_text(encoding="utf-8")
        with contextlib.suppress(OSError):
            return (self._folder / LOG).read_text(encoding="utf-8", errors="replace")[-_SAID:]
        return "it said nothing"
