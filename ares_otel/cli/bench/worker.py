"""A process that sends, or copies, so that its work is counted apart: `python -m ares_otel.cli.bench.worker`.

It reads a line of JSON (what to do), prepares, writes `ready`, waits for another line, does it, and writes a line of
JSON (how it went), again and again until standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from ares_otel.cli.bench.data import WINDOW_NS, Source
from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.process import environment

LINE_BYTES = 16 * 1024 * 1024


class Job(Protocol):
    """Something that is prepared before the clock runs."""

    async def run(self) -> dict[str, Any]:
        """Does it, and says how it went."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class Worker:
    """The process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def prepare(self, **job: Any) -> None:
        """Raises BenchError when the process has ended; its own lines stand on standard error."""
        await self._tell(json.dumps(job))
        await self._hear()

    async def run(self) -> dict[str, Any]:
        """Starts what was prepared. The answer holds `seconds` and `cpu_seconds` beside the job's own."""
        await self._tell("go")
        answer: dict[str, Any] = json.loads(await self._hear())
        return answer

    async def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def _hear(self) -> str:
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        if not line:
            raise BenchError("The process that sends has ended; see the lines above.")
        return line.strip()


@asynccontextmanager
async def worker() -> AsyncIterator[Worker]:
    """A worker for the length of a block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ares_otel.cli.bench.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
        env=environment({"GRPC_VERBOSITY": "ERROR"}),
    )
    try:
        yield Worker(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> None:
    loop = asyncio.new_event_loop()
    sources: dict[tuple[int, int, int], Source] = {}
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        key = job["seed"], job["set_size"], job.get("window_ns", WINDOW_NS)
        source = sources.get(key) or sources.setdefault(key, Source(*key[:2], window_ns=key[2]))
        prepared = loop.run_until_complete(_prepare(job, source))
        _tell("ready")
        sys.stdin.readline()
        before, started = _cpu(), time.perf_counter()
        result = loop.run_until_complete(prepared.run())
        result = {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu() - before, **result}
        loop.run_until_complete(prepared.close())
        _tell(json.dumps(result))
    loop.close()


async def _prepare(job: dict[str, Any], source: Source) -> Job:
    if job["kind"] == "copy":
        from ares_otel.cli.bench.floor import prepare_copy

        return await prepare_copy(job, source)
    if job["kind"] == "fill":
        from ares_otel.cli.bench.filling import prepare_filling

        return await prepare_filling(job, source)
    from ares_otel.cli.bench.senders import prepare_sending

    return await prepare_sending(job, source)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
