"""A gRPC listener: it takes the port, and ends without dropping the calls in work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from ares_otel.model.errors import StartError
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.listen import bind, shown

_LAST_WORDS_SECONDS = 1.0
_NEVER_SECONDS = 2_000_000.0

Methods = Mapping[str, Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]]
"""Service → method → what handles it."""


class Calls:
    """Calls in work. `cut` tells all of them to end: they are cancelled, and find `over` set."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.over = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """The task that runs the block is a call in work."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def cut(self) -> None:
        """Ends all calls."""
        self.over = True
        for task in self._tasks:
            task.cancel()


class GrpcDoor:
    """Serves the methods it is given; of others it says UNIMPLEMENTED, as gRPC does."""

    def __init__(
        self,
        methods: Methods,
        calls: Calls,
        *,
        host: str,
        port: int,
        setting: str,
        host_setting: str,
        options: Sequence[tuple[str, int]],
        grace: Grace,
        shared: bool = False,
    ) -> None:
        """
        Args:
            calls: what is cut when the grace is over; the methods' handlers put themselves in, and answer what was cut.
            setting: name of the option that holds the port, for error messages.
            host_setting: name of the option that holds the host, for error messages.
            options: of gRPC core.
            shared: the port is shared with other processes of this Ares.
        """
        self._methods = methods
        self._calls = calls
        self._host = host
        self._port = port
        self._setting = setting
        self._host_setting = host_setting
        self._options = options
        self._grace = grace
        self._shared = shared
        self._server: grpc.aio.Server | None = None
        self.address = ""
        """`host:port` in use, empty before `start`."""

    async def start(self) -> None:
        """Listens.

        Raises:
            StartError: the port is taken or must not be used, or the host is unknown.
        """
        host = self._host
        # gRPC core only says that binding failed, with a page of log lines; a plain socket says why.
        for probe in bind(host, self._port, self._setting, self._host_setting, shared=self._shared):
            probe.close()
        server = grpc.aio.server(options=self._options)
        for service, methods in self._methods.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, dict(methods)),))
        try:
            port = server.add_insecure_port(shown(host or "::", self._port))
        except RuntimeError as error:
            raise StartError(f"Ares cannot listen on {shown(host, self._port)}; change {self._setting}.") from error
        await server.start()
        self._server = server
        self.address = shown(host, port)

    async def stop(self) -> None:
        """Takes no new calls (GOAWAY), finishes those in flight within the grace, and cuts the others. Safe without
        `start`, and twice."""
        server, self._server = self._server, None
        if server is None:
            return
        stopping = asyncio.create_task(server.stop(_NEVER_SECONDS))
        over = asyncio.create_task(self._grace.requests_over())
        await asyncio.wait({stopping, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not stopping.done():
            self._calls.cut()
            await asyncio.wait({stopping}, timeout=_LAST_WORDS_SECONDS)
            await server.stop(None)
        await stopping
