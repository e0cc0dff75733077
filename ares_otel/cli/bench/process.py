"""A running Ares in a process of its own, on a data directory that is thrown away."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from ares_otel.model.errors import StartError

START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    """A running Ares: its doors by name, and its process."""

    doors: dict[str, str]
    pid: int

    @property
    def database(self) -> str:
        return self.doors["database"]

    @property
    def http(self) -> str:
        return self.doors["http"].rstrip("/")

    @property
    def otlp_http(self) -> str:
        return self.doors["otlp-http"].rstrip("/")

    @property
    def otlp_grpc(self) -> str:
        """Host and port."""
        return self.doors["otlp-grpc"].split("//")[-1]


@asynccontextmanager
async def running_ares(
    database_url: str | None,
    *,
    implementation: str | None = None,
    workers: int = 1,
    data_dir: Path | None = None,
) -> AsyncIterator[Running]:
    """Starts `ares-otel up` on free ports and stops it at the end.

    Args:
        implementation: of the row encoder: native or python; None leaves it to Ares.
        data_dir: is used and stays; without it there is one that is thrown away.

    Raises:
        StartError: it did not start; the message holds its own last lines.
    """
    if data_dir is None:
        with new_data_dir() as thrown_away:
            async with running_ares(
                database_url, implementation=implementation, workers=workers, data_dir=thrown_away
            ) as running:
                yield running
        return
    command = [sys.executable, "-m", "ares_otel.cli.main", "up", "--data-dir", str(data_dir)]
    command += [
        "--http-port=0",
        "--otlp-grpc-port=0",
        "--otlp-http-port=0",
        "--jaeger-grpc-port=0",
        "--sampling-port=0",
    ]
    if database_url:
        command += ["--database-url", database_url]
    if workers != 1:
        command += ["--workers", str(workers)]
    chosen = {} if implementation is None else {"ARES_OTEL_IMPL": implementation}
    with TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            env=environment(chosen),
        )
        try:
            yield Running(await _read_doors(process, said), process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _read_doors(process: asyncio.subprocess.Process, said: IO[bytes]) -> dict[str, str]:
    assert process.stdout is not None
    doors: dict[str, str] = {}
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := (await process.stdout.readline()).decode().strip():
                if line == "ready":
                    return doors
                name, _, url = line.partition(" ")
                doors[name] = url
    except TimeoutError:
        raise StartError(f"Ares was not ready after {START_SECONDS:.0f} s. It said:\n{_last_lines(said)}") from None
    await process.wait()
    raise StartError(f"Ares did not start. It said:\n{_last_lines(said)}")


def _last_lines(said: IO[bytes]) -> str:
    said.seek(0)
    return "\n".join(said.read().decode(errors="replace").splitlines()[-20:])


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of Ares or of an SDK, which would measure something else, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARES_OTEL_", "OTEL_"))}
    return {**kept, **extra}


@contextmanager
def new_data_dir() -> Iterator[Path]:
    """A data directory that is thrown away, on a real disk: /tmp may be memory, and would flatter the numbers."""
    roomy = "/var/tmp" if Path("/var/tmp").is_dir() else None
    with TemporaryDirectory(prefix="ares-otel-bench-", dir=roomy) as folder:
        Path(folder).chmod(0o755)  # the embedded server may run as somebody else
        yield Path(folder) / "data"
