"""A worker as its supervisor sees it: a process, the channel to it, and what is known of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from typing import Any

from ares_otel.cli.workers.channel import Channel, ChannelClosed, Note
from ares_otel.model.errors import StartError
from ares_otel.pipeline.worker_metrics import Snapshot

MODULE = "ares_otel.cli.workers.main"


class WorkerProcess:
    """One process, from its spawning to its end. The next one with the same number is another object."""

    def __init__(self, number: int, notes: dict[str, Note]) -> None:
        """`notes`: what the supervisor does with notes, besides `last`."""
        self.number = number
        self.ready = False
        """Whether it listens."""
        self.figures: Snapshot = []
        """Its metrics, as they were at the last look."""
        self.channel = Channel({}, {**notes, "last": self._take_last})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    async def spawn(self) -> None:
        """Starts the process: a fresh interpreter, never a fork of one in which gRPC or threads run.

        Raises:
            StartError: the system has no room for it.
        """
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                MODULE,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # doors are printed once, by the supervisor
                start_new_session=True,  # signals of a terminal are for the supervisor
            )
        except OSError as error:
            ours.close()
            raise StartError(f"A worker could not be started: {error.strerror}; start fewer of them.") from error
        finally:
            theirs.close()
        await self.channel.open(ours)

    async def start(self, setup: dict[str, Any]) -> None:
        """Makes it listen.

        Raises:
            StartError: why it cannot, in a line.
        """
        try:
            await self.channel.call("start", setup=setup)
        except ChannelClosed:
            ending = await self.wait()
            raise StartError(f"Worker {self.number} ended {ending} before it was ready.") from None
        self.ready = True

    async def look(self, seconds: float) -> bool:
        """Asks for its figures; False when they did not come in time."""
        try:
            async with asyncio.timeout(seconds):
                self.figures = await self.channel.call("metrics")
        except (ChannelClosed, StartError, TimeoutError):
            return False
        return True

    async def reasons_not_ready(self, seconds: float) -> list[str]:
        """What keeps it from serving now, as sentences."""
        if not self.ready:
            return [f"Worker {self.number} is being started again."]
        try:
            async with asyncio.timeout(seconds):
                reasons: list[str] = await self.channel.call("ready")
        except TimeoutError:
            return [f"Worker {self.number} (process {self.pid}) does not answer."]
        except (ChannelClosed, StartError):
            return [f"Worker {self.number} is being started again."]
        return reasons

    async def wait(self) -> str:
        """Waits for its end, and says how that was."""
        assert self._process is not None
        code = await self._process.wait()
        self.ready = False
        await self.channel.closed.wait()  # what it said last has been heard
        if code >= 0:
            return f"with exit status {code}"
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by signal {-code}"

    def kill(self) -> None:
        """SIGKILL. Safe at any time."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _take_last(self, figures: Snapshot) -> None:
        self.figures = figures
