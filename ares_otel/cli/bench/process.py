"""A running Ares in a process of its own, on a data directory that is thrown away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ares_otel.model.errors import StartError


@dataclass(frozen=True, slots=True)
class Running:
    """Doors of a running Ares, by name."""

    doors: dict[str, str]


@asynccontextmanager
async def running_ares(database_url: str | None) -> AsyncIterator[Running]:
    """Starts `ares-otel up` on free ports and stops it at the end.

    Raises:
        StartError: it did not start; its own lines stand on standard error.
    """
    with TemporaryDirectory(prefix="ares-otel-bench-", dir=_roomy()) as folder:
        command = [sys.executable, "-m", "ares_otel.cli.main", "up", "--data-dir", str(Path(folder) / "data")]
        command += ["--http-port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0"]
        if database_url:
            command += ["--database-url", database_url]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            doors: dict[str, str] = {}
            while line := (await process.stdout.readline()).decode().strip():
                if line == "ready":
                    break
                name, _, url = line.partition(" ")
                doors[name] = url
            else:
                raise StartError("Ares did not start; see the lines above.")
            yield Running(doors)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _roomy() -> str | None:
    """A folder on a real disk: /tmp may be memory, and would flatter the numbers."""
    folder = Path("/var/tmp")
    return str(folder) if folder.is_dir() else None
