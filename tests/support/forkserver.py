"""Processes that are forked from one that has imported everything: a start of the interpreter and the imports are most
of what a test of a command costs. What runs is a real process, with its own signals, exit and forks."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

_TITLE_BYTES = 2_000
"""Room for the command line that `ps` shows of a command."""


class ForkedProcess:
    """A process that was started: what `subprocess.Popen` is to a child, as far as tests need it."""

    def __init__(self, told: IO[bytes]) -> None:
        """`told`: where its process id comes from, and later how it ended."""
        self.pid: int = struct.unpack("!i", told.read(4))[0]
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._listen, args=(told,), daemon=True).start()

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it did not within so many seconds.
        """
        if not self._ended.wait(timeout):
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing when it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _listen(self, told: IO[bytes]) -> None:
        with told:
            self.returncode = struct.unpack("!i", told.read(4))[0]
        self._ended.set()


class Forkserver:
    """Starts with the first process that is wanted, and ends with the process of tests."""

    def __init__(self, module: str) -> None:
        """
        Args:
            module: that the server runs; it calls `serve`.
        """
        self._module = module
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes],
        *,
        stdin: bytes = b"",
        session: bool = False,
    ) -> ForkedProcess:
        """Starts a process with these arguments.

        Args:
            stdin: what it can read.
            session: whether it leads a session and a process group of its own.
        """
        reader, writer = os.pipe()
        told = open(reader, "rb", buffering=0)  # noqa: SIM115 - lives as long as the process
        with open(writer, "wb", buffering=0) as tell, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            self._ask([list(arguments), dict(env), os.getcwd(), session], [given, stdout, stderr, tell])
        return ForkedProcess(told)

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str], timeout: float, *, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end.

        Raises:
            subprocess.TimeoutExpired: it was killed, because it did not end within so many seconds.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(arguments, env, out, err, stdin=stdin)
            try:
                status = process.wait(timeout)
            except BaseException:
                process.kill()
                process.wait()
                raise
            return subprocess.CompletedProcess([self._module, *arguments], status, _text(out), _text(err))

    def _ask(self, request: list[Any], files: list[IO[bytes]]) -> None:
        data = json.dumps(request).encode()
        with self._lock:
            if self._socket is None:
                self._socket = _start(self._module, request[1])
            socket.send_fds(self._socket, [struct.pack("!I", len(data))], [file.fileno() for file in files])
            self._socket.sendall(data)


def _start(module: str, env: Mapping[str, str]) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), "-" * _TITLE_BYTES],
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


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def serve(modules: Iterable[str], become: Callable[[list[str]], None]) -> None:
    """What the main module of the server calls: imports, then forks for each request a process that forks the
    wanted one and tells its end.

    Args:
        modules: to import beforehand.
        become: is the wanted process; called with its arguments.
    """
    before = set(os.environ)
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # memory that the collector does not touch stays shared
    own = {key: os.environ[key] for key in os.environ if key not in before}  # what an import added
    _serve(socket.socket(fileno=int(sys.argv[1])), own, become)


def _serve(channel: socket.socket, own: dict[str, str], become: Callable[[list[str]], None]) -> None:
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
                arguments, env, folder, session = json.loads(data)
                _settle(files, {**own, **env}, folder, session)
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


def _settle(files: list[int], env: dict[str, str], folder: str, session: bool) -> None:
    if session:
        os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)


def show(words: list[str]) -> None:
    """Writes a command line over that of the process, where `ps` finds it: tests look for what is left of an Ares."""
    with contextlib.suppress(OSError):
        numbers = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(numbers[45]), int(numbers[46])  # arg_start and arg_end of proc(5)
        title = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, title, len(title))
