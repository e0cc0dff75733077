"""One Ares at fixed addresses, which a test kills and starts again while senders go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.faults.support.raw_sender import Doors
from tests.support.ares_process import AresProcess
from tests.support.ports import free_port


class Site:
    """`ares-otel up` on one data directory and always on the same ports."""

    def __init__(
        self,
        folder: Path,
        database_url: str | None,
        *arguments: str,
        spool: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`database_url`: None is the embedded server. `spool`: whether it may keep on disk what the database cannot
        take now."""
        self.data_dir = folder
        doors = ("--http-port", "--otlp-grpc-port", "--otlp-http-port", "--jaeger-grpc-port", "--sampling-port")
        ports = {door: free_port() for door in doors}
        self.api = f"http://127.0.0.1:{ports['--http-port']}"
        self.doors = Doors(
            (f"127.0.0.1:{ports['--otlp-grpc-port']}",),
            (f"127.0.0.1:{ports['--otlp-http-port']}",),
            (f"127.0.0.1:{ports['--http-port']}",),
        )
        self._arguments = [*(["--database-url", database_url] if database_url else []), *arguments]
        for option, port in ports.items():
            self._arguments += [option, str(port)]
        if not spool:
            self._arguments += ["--spool-limit-mib", "0"]
        self.env = dict(env or {})
        self._process: AresProcess | None = None
        self.said: list[str] = []
        """What the processes before this one said on standard error."""

    @property
    def process(self) -> AresProcess:
        """The process that runs, or ran last."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the command; returns when it says that it is ready."""
        if self._process is not None:
            self.said.append(self._process.stderr)
        self._process = await asyncio.to_thread(AresProcess, self.data_dir, *self._arguments, env=self.env)

    async def stop(self) -> None:
        """SIGTERM; the exit code has to be 0."""
        await asyncio.to_thread(self.process.stop)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    async def restart(self) -> None:
        """SIGKILL, and the next start."""
        self.kill()
        await self.start()

    @property
    def stderr(self) -> str:
        """Everything that all processes of this site said on standard error."""
        return "\n".join([*self.said, self._process.stderr if self._process else ""])


@contextlib.asynccontextmanager
async def running_site(
    folder: Path, database_url: str | None, *arguments: str, spool: bool = True, env: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """A site for the length of a block; stopped cleanly at its end, unless the test ended it itself."""
    site = Site(folder, database_url, *arguments, spool=spool, env=env)
    try:
        await site.start()
        yield site
    except BaseException as error:
        error.add_note(f"ares-otel said:\n{site.stderr[-6_000:]}")
        if site.running:
            site.kill()
        raise
    if site.running:
        await site.stop()
    said = site.stderr
    at = said.find("Traceback")
    assert at < 0, said[max(0, at - 1_000) : at + 6_000]


def both_doors(*sites: Site) -> Doors:
    """The doors of several sites: senders go from one to the other."""
    return Doors(
        tuple(address for site in sites for address in site.doors.grpc),
        tuple(address for site in sites for address in site.doors.http),
        tuple(address for site in sites for address in site.doors.write),
    )


def quiet(folder: Path) -> Path:
    """A configuration in which Ares makes no spans of its own: nobody else's commits come between those of a test."""
    default = (Path(__file__).parents[3] / "collector" / "ares.yaml").read_text()
    path = folder / "quiet.yaml"
    path.write_text(default.replace("level: basic", "level: none"))
    return path
