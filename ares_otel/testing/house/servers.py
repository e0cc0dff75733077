"""`ares-otel up` for a test, from a process that has imported it already: a start costs a third of a second."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from ares_otel.storage.assets import asset
from ares_otel.testing.house.spawn import command

_START = 120.0
_SAID = 2_000


@dataclass(frozen=True, slots=True)
class Server:
    """An Ares that is ready."""

    pid: int
    doors: dict[str, str]
    log: Path
    """What it says on standard error."""


class Servers:
    """The fork server, started with the first one, and what it has forked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"servers-{os.getpid()}"
        self._log = folder / "fork_server.log"
        self._config = folder / "ares.yaml"
        self._numbers = itertools.count(1)
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()

    async def start(self, database_url: str) -> Server:
        """A server on this database. Raises RuntimeError with what it said when it does not start."""
        number = next(self._numbers)
        folder = self._folder / str(number)
        folder.mkdir(parents=True)
        log = folder / "log"
        arguments = ["up", "--database-url", database_url, "--data-dir", str(folder / "data")]
        arguments += ["--config", str(self._config), "--probe-allow-local"]
        arguments += [
            "--http-port=0",
            "--otlp-grpc-port=0",
            "--otlp-http-port=0",
            "--jaeger-grpc-port=0",
            "--sampling-port=0",
        ]
        told, tell = os.pipe()
        err = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            pid = await self._fork(arguments, [tell, err])
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
            os.close(err)
        # A thread reads it, and closes it: it ends with `ready`, or with the process.
        found = await asyncio.wait_for(asyncio.to_thread(_read_doors, told), _START)
        if found is None:
            self._tell(kill=pid)
            said = log.read_text(encoding="utf-8", errors="replace")[-_SAID:]
            raise RuntimeError(f"ares-otel up did not start: {said}")
        return Server(pid, found, log)

    def kill(self, server: Server) -> None:
        """Ends it at once: its database is thrown away."""
        self._tell(kill=server.pid)

    def stop(self) -> None:
        """Ends the fork server and all that it has forked. Safe without `start`."""
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.close()
        if process is not None:
            process.wait()

    async def _fork(self, arguments: list[str], files: list[int]) -> int:
        async with self._turn:
            if self._channel is None:
                self._launch()
            assert self._channel is not None
            try:
                socket.send_fds(self._channel, [json.dumps({"fork": arguments}).encode()], files)
                answer = await asyncio.to_thread(self._channel.recv, 16)
            except OSError:
                answer = b""
            if not answer:
                self.stop()  # the next one starts it again
                said = self._log.read_text(encoding="utf-8", errors="replace")[-_SAID:]
                raise RuntimeError(f"The process that starts servers for the fixture `ares` has ended: {said}")
            return int(answer)

    def _tell(self, **request: int) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):  # it has ended, and with it what it had started
                self._channel.sendall(json.dumps(request).encode())

    def _launch(self) -> None:
        config = yaml.safe_load(asset("collector/ares.yaml").read_text(encoding="utf-8"))
        # What Ares says about itself is not in a test's database: what is there came from the test.
        config["service"]["telemetry"] = {"logs": {"level": "warn"}, "traces": {"level": "none"}}
        self._config.write_text(yaml.safe_dump(config), encoding="utf-8")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command("ares_otel.testing.house.fork_server", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._channel = ours


def _read_doors(file: int) -> dict[str, str] | None:
    doors: dict[str, str] = {}
    with open(file, "rb") as lines:
        for line in lines:
            name, _, url = line.decode().strip().partition(" ")
            if name == "ready":
                return doors
            doors[name] = url
    return None
