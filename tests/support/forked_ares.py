"""Commands of `ares-otel` as processes of their own that are forked from one that has imported everything: a start of
the interpreter for each command is most of what a test of commands costs."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

# What these commands import when they are called.
MODULES = (
    "ares_otel.cli.config",
    "ares_otel.cli.config_actions",
    "ares_otel.cli.doctor",
    "ares_otel.cli.doctor_account",
    "ares_otel.cli.partitions",
    "ares_otel.cli.partition_actions",
    "ares_otel.cli.rejected",
    "ares_otel.cli.rejected_actions",
    "ares_otel.cli.spool",
    "ares_otel.cli.spool_actions",
)
COMMANDS = frozenset({"config", "doctor", "partitions", "rejected", "spool"})


class Forkserver:
    """Starts with the first command of a process of tests and ends with it."""

    def __init__(self, module: str = "tests.support.forked_ares") -> None:
        """
        Args:
            module: that the server runs; it calls `serve`.
        """
        self._module = module
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def run(self, arguments: Sequence[str], env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as nothing:
            reader, writer = os.pipe()
            with open(reader, "rb", buffering=0) as told:
                with open(writer, "wb", buffering=0) as tell:
                    self._ask(arguments, env, [nothing.fileno(), out.fileno(), err.fileno(), tell.fileno()])
                status = _status(told, arguments, timeout)
            return subprocess.CompletedProcess(["ares-otel", *arguments], status, _text(out), _text(err))

    def _ask(self, arguments: Sequence[str], env: Mapping[str, str], files: list[int]) -> None:
        data = json.dumps([list(arguments), dict(env), os.getcwd()]).encode()
        with self._lock:
            if self._socket is None:
                self._socket = _start(self._module, env)
            socket.send_fds(self._socket, [struct.pack("!I", len(data))], files)
            self._socket.sendall(data)


def _start(module: str, env: Mapping[str, str]) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={key: value for key, value in env.items() if not key.startswith("ARES_OTEL_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours


def _status(told: IO[bytes], arguments: Sequence[str], timeout: float) -> int:
    pid: int = struct.unpack("!i", told.read(4))[0]
    ended = threading.Event()

    def kill() -> None:
        if not ended.wait(timeout):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    guard = threading.Thread(target=kill, daemon=True)
    guard.start()
    began = time.monotonic()
    status: int = struct.unpack("!i", told.read(4))[0]
    ended.set()
    guard.join()
    if status == -signal.SIGKILL and time.monotonic() - began >= timeout:
        raise subprocess.TimeoutExpired(["ares-otel", *arguments], timeout)
    return status


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def serve(channel: socket.socket, become: Callable[[list[str]], None]) -> None:
    """Forks for each request a process that forks the command and tells its end.

    Args:
        channel: to the process of tests.
        become: is the command; called with its arguments.
    """
    while True:
        head, files, _, _ = socket.recv_fds(channel, 4, 4)
        if not head:
            return
        (size,) = struct.unpack("!I", head)
        data = b""
        while len(data) < size:
            data += channel.recv(size - len(data))
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            channel.close()
            if (pid := os.fork()) == 0:
                arguments, env, folder = json.loads(data)
                _settle(files, env, folder)
                become(arguments)
                return
            for number in files[:3]:
                os.close(number)
            os.write(files[3], struct.pack("!i", pid))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(files[3], struct.pack("!i", code))
            os._exit(0)
        for number in files:
            os.close(number)


def _settle(files: list[int], env: dict[str, str], folder: str) -> None:
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)


def _become(arguments: list[str]) -> None:
    """From here on this is `ares-otel ARGUMENTS`."""
    main: Any = sys.modules["__main__"]
    main.__package__ = None  # where Typer looks for the name of the program
    sys.argv = ["ares-otel", *arguments]

    from ares_otel.cli.main import run

    run()


if __name__ == "__main__":
    from importlib import import_module

    for module in MODULES:
        import_module(module)
    serve(socket.socket(fileno=int(sys.argv[1])), _become)
