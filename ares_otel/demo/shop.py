"""Starts and stops the services of the shop, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

START_SECONDS = 60.0
STOP_SECONDS = 4.0
"""Grace of one service between SIGTERM and SIGKILL."""

_STOP_ORDER = (("storefront",), ("orders",), ("payments", "inventory"))
"""Nobody calls a service that is already gone."""

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

_TAIL = 8 * 1024
"""Bytes kept of what a service says on standard error."""


class ShopError(RuntimeError):
    """The demo shop could not start. The message is one clear line for people."""


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    peers: tuple[str, ...]
    door: Literal["grpc", "http"]
    options: tuple[str, ...] = ()


_SERVICES = (
    _Service("storefront", ("orders",), "grpc", ("--gzip",)),
    _Service("orders", ("payments", "inventory"), "grpc"),
    _Service("payments", (), "http", ("--gzip", "--delta")),
    _Service("inventory", (), "http"),
)


@dataclass(slots=True)
class _Running:
    name: str
    process: asyncio.subprocess.Process
    tail: bytearray = field(default_factory=bytearray)
    drain: asyncio.Task[None] | None = None
    watch: asyncio.Task[None] | None = None

    def last_words(self) -> str:
        text = self.tail.decode(errors="replace").strip()
        return f"\n{text}" if text else " It said nothing."


class DemoShop:
    """Four services – storefront → orders → payments and inventory – and their customers.

    otlp_grpc, otlp_http: base URLs of the OTLP receivers, e.g. `http://127.0.0.1:4317` (the scheme may be left out).
    progress: gets one line at a time for people. rate: visits a second. `start` raises `ShopError`; `stop` is safe
    without `start`, and twice. The services end when this process does, however it ends.
    """

    def __init__(
        self,
        *,
        otlp_grpc: str,
        otlp_http: str,
        progress: Callable[[str], None],
        rate: float = 4.0,
        seed: int = 1,
    ) -> None:
        self._given = {"grpc": otlp_grpc, "http": otlp_http}
        self._endpoints: dict[str, str] = {}
        self._progress = progress
        self._rate = rate
        self._seed = seed
        self._running: list[_Running] = []
        self._stopping = False

    async def start(self) -> dict[str, str]:
        """Start all services at once and wait until each serves; answers the URL of each by name."""
        if self._running:
            raise ShopError("The demo shop is already running.")
        self._stopping = False
        self._endpoints = {door: _endpoint(url) for door, url in self._given.items()}
        self._progress(f"Starting the demo shop: {', '.join(service.name for service in _SERVICES)} ...")
        # Bound here and inherited by the services: everybody's address is known before anybody starts.
        sockets = {service.name: _listen() for service in _SERVICES}
        urls = {name: "http://{}:{}".format(*listening.getsockname()) for name, listening in sockets.items()}
        try:
            try:
                for service in _SERVICES:
                    self._running.append(await self._spawn(service, sockets[service.name], urls))
            finally:
                for listening in sockets.values():
                    listening.close()
            await self._ready()
        except BaseException:
            await self.stop()
            raise
        for running in self._running:
            running.watch = asyncio.create_task(self._watch(running))
        return urls

    async def stop(self) -> None:
        """End all services, the customers first; returns when no process is left."""
        self._stopping = True
        running, self._running = self._running, []
        for names in _STOP_ORDER:
            await asyncio.gather(*(self._end(one) for one in running if one.name in names))

    async def _spawn(self, service: _Service, listening: socket.socket, urls: dict[str, str]) -> _Running:
        descriptor = listening.fileno()
        command = [
            *(sys.executable, "-P", "-m", "ares_otel.demo.service", service.name),
            *("--listen-fd", str(descriptor)),
            *("--otlp-endpoint", self._endpoints[service.door]),
            *("--otlp-protocol", "grpc" if service.door == "grpc" else "http/protobuf"),
            *("--rate", str(self._rate), "--seed", str(self._seed)),
            *service.options,
        ]
        for peer in service.peers:
            command += ["--peer", f"{peer}={urls[peer]}"]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            env=_environment(),
            start_new_session=True,  # Ctrl-C goes to the parent, which stops the services in their order
        )
        running = _Running(service.name, process)
        running.drain = asyncio.create_task(_keep_tail(running))
        return running

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS), asyncio.TaskGroup() as group:
                for running in self._running:
                    group.create_task(_wait_ready(running))
        except* ShopError as errors:
            raise errors.exceptions[0] from None
        except* TimeoutError:
            raise ShopError(
                f"The demo shop was not ready within {START_SECONDS:.0f} s; "
                "the machine seems too busy. Start again without --demo, or later."
            ) from None

    async def _watch(self, running: _Running) -> None:
        """A service that ends by itself is reported, once."""
        code = await running.process.wait()
        if not self._stopping:
            if running.drain is not None:
                await running.drain
            self._progress(
                f"The demo service {running.name} ended with exit code {code}; the others go on.{running.last_words()}"
            )

    async def _end(self, running: _Running) -> None:
        process = running.process
        try:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.terminate()
                try:
                    async with asyncio.timeout(STOP_SECONDS):
                        await process.wait()
                except TimeoutError:
                    self._progress(
                        f"The demo service {running.name} did not stop within {STOP_SECONDS:.0f} s; killing it."
                    )
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            if process.stdin is not None:
                process.stdin.close()
            for task in (running.watch, running.drain):
                if task is not None:
                    with suppress(asyncio.CancelledError):
                        await task


def _endpoint(url: str) -> str:
    """An OTLP base URL with its scheme. A receiver on every address is reached on loopback."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https"):
        raise ShopError(f"{url!r} is not an address the demo can send to; give it like http://127.0.0.1:4317.")
    if host in _EVERY_ADDRESS:
        parts = parts._replace(netloc=_EVERY_ADDRESS[host] + (f":{port}" if port else ""))
    return parts.geturl().rstrip("/")


def _environment() -> dict[str, str]:
    """The parent's environment without settings that are meant for other programs' telemetry or for Ares."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "ARES_OTEL_"))}
    kept["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"  # http.request.method and its kin instead of http.method
    kept["PYTHONUNBUFFERED"] = "1"
    for key in ("NO_PROXY", "no_proxy"):  # the services are on loopback, whatever proxy is set
        kept[key] = ",".join(filter(None, (kept.get(key), "127.0.0.1", "localhost")))
    return kept


def _listen() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    listening.setblocking(False)
    return listening


async def _wait_ready(running: _Running) -> None:
    assert running.process.stdout is not None
    line = await running.process.stdout.readline()
    if line.strip() == b"ready":
        return
    code = await running.process.wait()
    if running.drain is not None:
        await running.drain
    raise ShopError(f"The demo service {running.name} did not start (exit code {code}).{running.last_words()}")


async def _keep_tail(running: _Running) -> None:
    assert running.process.stderr is not None
    while chunk := await running.process.stderr.read(4_096):
        running.tail += chunk
        del running.tail[:-_TAIL]
