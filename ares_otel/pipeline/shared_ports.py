"""Ports that several processes of one Ares listen on together (`SO_REUSEPORT`), and how nobody else gets among them.

The supervisor reserves a port before a worker listens on it: it binds the port for itself alone, which fails when
anybody else has it, and only then opens the bound socket to sharers. There is no moment between the check and the
reservation, and while the supervisor holds the socket a second Ares on the port is told that it is taken.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ares_otel.model.errors import AddressInUse
from ares_otel.pipeline.listen import bind, shown

ROTATION_SECONDS = 60.0
"""Age at which a connection to a shared port is ended, give or take a tenth, where the configuration says nothing: the
system spreads connections over the processes, not requests, and an SDK keeps its connection for days."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a receiver is to listen."""

    receiver: str
    """Id of the component."""
    protocol: str
    """`grpc` or `http`, for example."""
    host: str
    port: int
    """0 for any free one."""
    setting: str
    """Name of the option that holds the port, for error messages."""
    host_setting: str
    """Name of the option that holds the host."""
    door: str = ""
    """What the listener is called on standard output, for example `otlp-http`."""
    inner: bool = False
    """It is only there for other processes of this Ares; nobody is told of it."""

    @property
    def name(self) -> str:
        """Which listener it is, the same in every process."""
        return f"{self.receiver} {self.protocol}"


class SharedPorts:
    """What a worker's receivers are told: the port of each of their listeners. One that is not named is not shared."""

    def __init__(self, ports: Mapping[str, int] | None = None) -> None:
        self.ports = dict(ports or {})
        """`Endpoint.name` → port."""

    def port_of(self, receiver: str, protocol: str) -> int | None:
        return self.ports.get(f"{receiver} {protocol}")


@dataclass(slots=True)
class _Held:
    endpoint: Endpoint
    port: int
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def same(self) -> tuple[object, ...]:
        """What another configuration must say to mean this reservation."""
        return _meaning(self.endpoint)


class Reservations:
    """The ports that the supervisor holds for its workers."""

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._before: list[_Held] = []

    def reserve(self, endpoints: Iterable[Endpoint]) -> None:
        """Holds the ports of these endpoints, and still those from before until `settle` or `undo`.

        Raises:
            AddressInUse: somebody else has one of them, or two endpoints have the same; nothing has changed then.
            StartError: one must not be used, or a host is unknown.
        """
        before = {one.same: one for one in self._held}
        now: list[_Held] = []
        try:
            for endpoint in endpoints:
                known = before.pop(_meaning(endpoint), None)
                if known is not None:  # the name may be another one now
                    now.append(_Held(endpoint, known.port, known.sockets))
                else:
                    now.append(self._take(endpoint, before.values()))
        except BaseException:
            _close_but(now, self._held)
            raise
        self._before, self._held = self._held, now

    def settle(self) -> None:
        """The workers listen on what was reserved last; what only the configuration before needed is given up."""
        _close_but(self._before, self._held)
        self._before = []

    def undo(self) -> None:
        """The workers stayed with the configuration before."""
        _close_but(self._held, self._before)
        self._held, self._before = self._before, []

    @property
    def ports(self) -> Mapping[str, int]:
        """`Endpoint.name` → port, of what was reserved last."""
        return {one.endpoint.name: one.port for one in self._held}

    @property
    def doors(self) -> Mapping[str, str]:
        """`Endpoint.door` → URL, or for gRPC `host:port`."""
        return {
            one.endpoint.door: ("" if one.endpoint.protocol == "grpc" else "http://")
            + shown(one.endpoint.host, one.port)
            for one in self._held
        }

    @property
    def inner(self) -> frozenset[str]:
        """Those of `doors` that nobody is told of."""
        return frozenset(one.endpoint.door for one in self._held if one.endpoint.inner)

    def close(self) -> None:
        """Gives all of it up. Safe twice."""
        _close_but([*self._before, *self._held], ())
        self._before, self._held = [], []

    def _take(self, endpoint: Endpoint, leaving: Iterable[_Held]) -> _Held:
        where = endpoint.host, endpoint.port, endpoint.setting, endpoint.host_setting
        try:
            sockets = bind(*where)
        except AddressInUse:
            # The workers themselves, on another address of the same port, which this configuration does not have.
            if not any(one.port == endpoint.port for one in leaving):
                raise
            sockets = bind(*where, shared=True)
        for made in sockets:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Or else a program that only asks for SO_REUSEADDR could bind the port as long as nobody listens on it.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return _Held(endpoint, sockets[0].getsockname()[1], sockets)


def _meaning(endpoint: Endpoint) -> tuple[object, ...]:
    """A port of its own number is the same whoever listens there; any free one belongs to its listener."""
    return (endpoint.host, endpoint.port) if endpoint.port else (endpoint.host, endpoint.name)


def _close_but(reservations: Iterable[_Held], kept: Iterable[_Held]) -> None:
    staying = [made for one in kept for made in one.sockets]
    for one in reservations:
        for made in one.sockets:
            if made not in staying:
                made.close()
