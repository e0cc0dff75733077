"""An HTTP listener: sockets, uvicorn, the guard, and an app behind them. Every HTTP surface of Ares is behind one."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from ares_otel.model.errors import StartError
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.http2_switch import Relays, switching
from ares_otel.pipeline.http_connections import Connections
from ares_otel.pipeline.http_guard import Access, Guard, OriginAllowed, no_other_origin
from ares_otel.pipeline.http_protocol import ErrorBodies, ErrorBody, Limits, plain_error, protocol
from ares_otel.pipeline.listen import BACKLOG, BindPolicy, bind, check_bind, shown

_LAST_WORDS_SECONDS = 1.0

__all__ = ["BindPolicy", "ErrorBodies", "ErrorBody", "HttpDoor", "Limits", "check_bind", "plain_error"]


class HttpDoor:
    """Serves one ASGI app on one address with HTTP/1.1.

    Not checked here: whether the address may be listened on at all; see `check_bind`.
    """

    def __init__(
        self,
        name: str,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        setting: str,
        host_setting: str | None = None,
        allowed_hosts: Sequence[str] = (),
        origin_allowed: OriginAllowed = no_other_origin,
        error_bodies: ErrorBodies = plain_error,
        limits: Limits = Limits(),
        grace: Grace | None = None,
        shared: bool = False,
        lifespan: Literal["on", "off"] = "off",
        relays: Relays | None = None,
    ) -> None:
        """
        Args:
            name: what the door is called in messages and on standard output, for example `otlp-http`.
            host: address or name to listen on.
            port: 0 takes any free port.
            setting: name of the option that holds the port, for error messages.
            host_setting: name of the option that holds the host, where it is another one.
            allowed_hosts: further names that the Host header may hold; others than addresses, localhost, the machine's
                own names and `host` are answered 421.
            origin_allowed: whether pages of an origin may send requests (the app's CORS); others than the door's own
                origin are answered 403.
            error_bodies: makes the bodies of answers that the door gives without the app: 400, 403, 408, 421, 431, 503.
            grace: how long requests in work may take when the door closes.
            shared: other processes of this Ares listen on the port too.
            lifespan: `on` runs the app's ASGI lifespan around the listening.
            relays: takes connections that begin as HTTP/2 does; without it they are answered 400.
        """
        self.name = name
        self._host = host
        self._wanted_port = port
        self._setting = setting
        self._host_setting = host_setting
        self._limits = limits
        self._grace = grace or Grace()
        self._shared = shared
        self._lifespan: Literal["on", "off"] = lifespan
        self._error_bodies = error_bodies
        self._relays = relays
        self._guard = Guard(app, Access((*allowed_hosts, host), origin_allowed), limits, error_bodies)
        self._server: uvicorn.Server | None = None
        self._sockets: list[socket.socket] = []
        self._ticks: asyncio.Task[None] | None = None
        self.port = 0
        """The port in use; 0 before `start`."""

    @property
    def url(self) -> str:
        return f"http://{shown(self._host, self.port)}"

    async def start(self) -> None:
        """Listens; when it returns, requests are answered.

        Raises:
            StartError: the port is taken or must not be used, the host is unknown, or the app's lifespan failed.
        """
        sockets = bind(self._host, self._wanted_port, self._setting, self._host_setting, shared=self._shared)
        connections = Connections(self._limits.max_connections, self._limits.stalled_seconds)
        http = protocol(self._limits, self._error_bodies, connections)
        config = uvicorn.Config(
            self._guard,
            http=http if self._relays is None else switching(http, self._relays),
            ws="none",
            loop="none",
            lifespan=self._lifespan,
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=self._limits.keep_alive_seconds,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        try:
            # Not `serve()`: that would install signal handlers, which belong to the command.
            await server.startup(sockets=sockets)
        except BaseException as error:
            for made in sockets:
                made.close()
            if isinstance(error, SystemExit):
                raise StartError(f"The {self.name} door could not start its application; the log says why.") from error
            raise
        self.port = sockets[0].getsockname()[1]
        self._server = server
        self._ticks = asyncio.create_task(_keep_date(server), name=f"{self.name} date")
        self._sockets = sockets

    async def stop(self) -> None:
        """Takes no new requests, finishes those in flight within the grace, answers the others 503. Safe without
        `start`, and twice."""
        server, self._server = self._server, None
        if server is None or self._ticks is None:
            return
        self._ticks.cancel()
        await asyncio.gather(self._ticks, return_exceptions=True)
        stopping = asyncio.create_task(server.shutdown(sockets=self._sockets))
        over = asyncio.create_task(self._grace.requests_over())
        await asyncio.wait({stopping, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not stopping.done():
            late = list(server.server_state.tasks)
            for request in late:
                request.cancel()
            if late:  # the guard is writing their 503
                await asyncio.wait(late, timeout=_LAST_WORDS_SECONDS)
        for connection in list(server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None and not transport.is_closing():
                transport.abort()
        await asyncio.wait({stopping}, timeout=_LAST_WORDS_SECONDS)
        server.force_exit = True  # whatever is left does not listen to being cancelled
        await stopping
        if self._relays is not None:
            await self._relays.close()
        logging.getLogger("ares_otel.http").debug("The %s door is closed", self.name)


async def _keep_date(server: uvicorn.Server) -> None:
    """Keeps the header `Date`. uvicorn's own loop does that too, and wakes ten times a second to look whether it shall
    stop, which here it is told."""
    while True:
        await server.on_tick(0)
        await asyncio.sleep(1.0)
