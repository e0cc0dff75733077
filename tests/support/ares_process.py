"""The real command as a process: what a user starts, and how a user stops it."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from tests.support.eventually import eventually
from tests.support.forked_ares import COMMANDS
from tests.support.forkserver import ForkedProcess, Forkserver

START_SECONDS = 90.0
STOP_SECONDS = 45.0


class AresProcess:
    """`ares-otel up` on free ports, ready to take telemetry.

    doors: URL by name, as printed: `http`, `otlp-grpc`, `otlp-http`, `database`. Raises AssertionError, with what the
    command said on standard error, when it does not become ready in time.

    fresh: in an interpreter of its own, as a user starts it. Otherwise it is forked from a process that has imported
    everything, unless `env` holds what only a start of a program reads.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        start_seconds: float = START_SECONDS,
        fresh: bool = False,
    ) -> None:
        self.doors: dict[str, str] = {}
        self._said = ""
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        words = ["up", "--data-dir", str(data_dir), *_FREE_PORTS, *arguments]
        reader, writer = os.pipe()
        with open(writer, "wb") as stdout:
            self._process = _started(words, env, stdout, self._stderr, fresh=fresh)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_pump, args=(reader, self._lines), daemon=True).start()
        try:
            self._read_doors(start_seconds)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def http(self) -> str:
        """Base URL of the API."""
        return self.doors["http"].rstrip("/")

    @property
    def otlp_grpc(self) -> str:
        """URL of OTLP/gRPC with a scheme, as the SDKs take it."""
        url = self.doors["otlp-grpc"].rstrip("/")
        return f"http://{url.rpartition('://')[2]}"

    @property
    def otlp_http(self) -> str:
        """Base URL of OTLP/HTTP."""
        return self.doors["otlp-http"].rstrip("/")

    @property
    def jaeger_grpc(self) -> str:
        """`host:port` of Jaeger's gRPC door, as gRPC clients take it."""
        return self.doors["jaeger-grpc"].rpartition("://")[2]

    @property
    def database(self) -> str:
        """URL that psql and asyncpg take."""
        return self.doors["database"]

    @property
    def stderr(self) -> str:
        """Everything that was said on standard error so far."""
        if not self._stderr.closed:
            size = os.fstat(self._stderr.fileno()).st_size
            self._said = os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")
        return self._said

    @property
    def returncode(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    @property
    def workers(self) -> list[psutil.Process]:
        """The ingest processes of `--workers`, oldest first."""
        children = psutil.Process(self.pid).children()
        return sorted((one for one in children if _WORKER in _words(one)), key=lambda one: one.create_time())

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command, not to its children."""
        self._process.send_signal(number)

    def stop(self, *, timeout: float = STOP_SECONDS) -> None:
        """SIGTERM, as systemd or a container engine sends it; the exit code has to be 0. Safe to call twice."""
        if self.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        self.wait_clean(timeout)

    def interrupt(self, *, timeout: float = STOP_SECONDS) -> None:
        """Ctrl-C: a terminal sends SIGINT to the whole process group. The exit code has to be 0."""
        os.killpg(self._process.pid, signal.SIGINT)
        self.wait_clean(timeout)

    def kill(self) -> None:
        """SIGKILL: no chance to clean up. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._close()

    def wait_clean(self, timeout: float = STOP_SECONDS) -> None:
        """Wait for the end, which has to be a clean one."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"ares-otel did not stop within {timeout:.0f} s.\n{self.stderr}") from None
        self._close()
        assert code == 0, f"ares-otel ended with exit code {code}.\n{self.stderr}"

    def _close(self) -> None:
        self._said = self.stderr
        self._stderr.close()

    def _read_doors(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"ares-otel was not ready within {seconds:.0f} s.\n{self.stderr}") from None
            if line is None:
                code = self._process.wait()
                raise AssertionError(f"ares-otel ended with exit code {code} before it was ready.\n{self.stderr}")
            if line == "ready":
                return
            name, _, url = line.partition(" ")
            assert url, f"{line!r} on standard output is neither a door nor `ready`"
            self.doors[name] = url


@contextmanager
def running_ares(
    data_dir: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
    fresh: bool = False,
) -> Iterator[AresProcess]:
    """`ares-otel up` for the length of a block. It is stopped cleanly at the end, unless the test stopped or killed
    it itself; when the test fails, what Ares said is added to the failure."""
    ares = AresProcess(data_dir, *arguments, env=env, start_seconds=start_seconds, fresh=fresh)
    try:
        yield ares
    except BaseException as error:
        error.add_note(f"ares-otel said:\n{ares.stderr[-4_000:]}")
        ares.kill()
        raise
    if ares.returncode is None:
        ares.stop()


def command(*arguments: str) -> list[str]:
    """The command line of `ares-otel ARGUMENTS` with this interpreter."""
    return [sys.executable, "-m", "ares_otel.cli.main", *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of Ares, of an SDK or of gRPC, plus `extra`. (The command line of Ares, once a
    test has imported it, leaves one that takes gRPC away from children of a fork.)"""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ARES_OTEL_", "OTEL_", "GRPC_"))}
    return {**kept, **(extra or {})}


def run_ares(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = START_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command of `ares-otel` to its end. `stdin`: what it can read."""
    if arguments and arguments[0] in COMMANDS:
        return _FORKSERVER.run(arguments, environment(env), timeout, stdin=stdin.encode())
    return subprocess.run(
        command(*arguments),
        env=environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def start_ares(arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> ForkedProcess:
    """Starts a command of `ares-otel`; nobody reads what it says. The caller ends it."""
    with open(os.devnull, "wb") as nobody:
        return _FORKSERVER.start(arguments, environment(env), nobody, nobody)


def _started(
    words: list[str], env: Mapping[str, str] | None, stdout: IO[bytes], stderr: IO[bytes], *, fresh: bool
) -> subprocess.Popen[bytes] | ForkedProcess:
    """The command, leading a process group of its own, as a shell gives it: Ctrl-C can be sent to all of it."""
    if not fresh and not any(name.startswith(_READ_AT_START) for name in env or ()):
        return _FORKSERVER.start(words, environment(env), stdout, stderr, session=True)
    return subprocess.Popen(
        command(*words),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment(env),
        start_new_session=True,
    )


_FORKSERVER = Forkserver("tests.support.forked_ares")
_READ_AT_START = ("LD_", "MALLOC_", "PYTHON")
"""Variables that the loader, the C library and the interpreter read."""
_WORKER = "ares_otel.cli.workers.main"
_FREE_PORTS = ("--http-port=0", "--otlp-grpc-port=0", "--otlp-http-port=0", "--jaeger-grpc-port=0", "--sampling-port=0")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def _pump(reader: int, lines: queue.SimpleQueue[str | None]) -> None:
    with open(reader, "rb") as stdout:
        for line in stdout:
            lines.put(line.decode().strip())
    lines.put(None)


async def said(ares: AresProcess, text: str) -> None:
    """Waits until the command says it on standard error."""
    await eventually(lambda: asyncio.sleep(0, text in ares.stderr), every=0.02)
