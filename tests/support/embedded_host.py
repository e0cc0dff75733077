"""A process that runs an embedded server as Ares does, for tests that kill it.

`python -m tests.support.embedded_host DIR` is the process. It prints one JSON line when the
server runs, and stops it on SIGINT or SIGTERM. Progress goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.embedded_processes import send

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Host:
    """A running host process and what it said."""

    process: subprocess.Popen[str]
    url: str
    postmaster: psutil.Process
    watchdog: psutil.Process
    bystander: psutil.Process
    """Another child of the host, started after the server with every inheritable descriptor."""


@contextmanager
def embedded_host(directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Host]:
    """Starts a host on the directory; whatever of it still runs afterwards is killed."""
    process = start_host(directory, environment)
    found: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the host did not start"
        said = json.loads(line)
        children = psutil.Process(process.pid).children()
        watchdog = next(child for child in children if "ares-otel-watchdog" in child.cmdline())
        host = Host(
            process,
            said["url"],
            psutil.Process(said["postmaster"]),
            watchdog,
            psutil.Process(said["bystander"]),
        )
        found += [host.watchdog, host.postmaster, host.bystander]
        yield host
    finally:
        for left in found:
            send(left, signal.SIGKILL)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that stays open to the server's user: pytest closes the parents of its `tmp_path` to others
    whenever a second pytest starts."""
    with tempfile.TemporaryDirectory(prefix="ares-embedded-", dir="/tmp") as folder:
        yield Path(folder)


def start_host(directory: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The host process alone, perhaps still making its files. The caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.embedded_host", str(directory)],
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


async def _main(directory: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = EmbeddedPostgres(directory, progress=lambda text: print(text, file=sys.stderr))
    url = await server.start()
    server.announce({"http": "http://127.0.0.1:8080"})
    bystander = await asyncio.create_subprocess_exec("sleep", "600", close_fds=False)
    print(json.dumps({"url": url, "postmaster": server.pid, "bystander": bystander.pid}), flush=True)
    await stop.wait()
    bystander.kill()
    await bystander.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
