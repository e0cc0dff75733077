"""Who may reach a listener, and the sockets it listens on. Every door of Ares, HTTP or gRPC, goes through here."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import psutil

from ares_otel.model.errors import AddressInUse, StartError

BACKLOG = 1024
_PORT_TRIES = 20
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_settings_by_port: dict[int, str] = {}
"""Which setting a port of this process came from, to name both when two doors are given the same one."""


@dataclass(frozen=True, slots=True)
class BindPolicy:
    """What the person who starts Ares said about reaching it from other machines."""

    allow_unauthenticated: bool = False
    """`--allow-unauthenticated`: doors may listen on addresses that other machines reach."""
    allowed_hosts: tuple[str, ...] = ()
    """`--allowed-hosts`: names in the Host header that are accepted besides addresses, localhost and this machine's."""


def parse_allowed_hosts(text: str) -> tuple[str, ...]:
    """The names of `--allowed-hosts`, which are separated by commas. They are compared with the Host header's name.

    Raises:
        StartError: one of them is no such name, so that it could never match.
    """
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    for name in names:
        if not _HOST_NAME.fullmatch(name) and not _is_address(name.removeprefix("[").removesuffix("]")):
            raise StartError(
                f"--allowed-hosts: {name[:100]!r} is not a host name; write names without scheme, port, path or spaces,"
                " separated by commas, for example ares.example.com,ares-otel."
            )
    return names


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def check_bind(host: str, policy: BindPolicy, setting: str) -> None:
    """Refuses to listen on anything but loopback while nobody has to authenticate.

    Args:
        host: address or name to listen on; empty means every address of the machine.
        setting: name of the option that holds `host`, for the message.

    Raises:
        StartError: `host` is not a loopback address and the policy does not allow others, or it is no known name.
    """
    if policy.allow_unauthenticated:
        return
    addresses = {str(address[0]) for _, address in _resolve(host, 0, setting)}
    if not all(ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        raise StartError(
            f"{setting} is {host or 'empty (every address)'}: other machines could reach this door without"
            " authentication. Use 127.0.0.1, or start with --allow-unauthenticated if that is what you want."
        )


def bind(
    host: str, port: int, setting: str, host_setting: str | None = None, *, shared: bool = False
) -> list[socket.socket]:
    """Sockets bound to every address of `host`, all on the same port; not yet listening.

    A second server on the same port is an error, not a silent sharer of the requests, unless the port is `shared`.

    Args:
        port: 0 takes any free port.
        setting: name of the option to change when the port is what is wrong.
        host_setting: name of the option to change when the host is; the same one when not given.
        shared: the port is reserved for several processes of this Ares (`SO_REUSEPORT`, see `shared_ports`).

    Raises:
        AddressInUse: the port is taken.
        StartError: the port must not be used, or the host is unknown; one line that names the setting.
    """
    host_setting = host_setting or setting
    addresses = _resolve(host, port, host_setting)
    for attempt in range(_PORT_TRIES):
        with ExitStack() as opened:
            sockets: list[socket.socket] = []
            chosen = port
            try:
                for family, address in addresses:
                    made = _bound(family, (address[0], chosen, *address[2:]), alone=bool(host), shared=shared)
                    if made is not None:
                        opened.callback(made.close)
                        sockets.append(made)
                        chosen = made.getsockname()[1]
            except OSError as error:
                if port == 0 and error.errno == errno.EADDRINUSE and attempt < _PORT_TRIES - 1:
                    continue
                kind = AddressInUse if error.errno == errno.EADDRINUSE else StartError
                raise kind(_why(error, host, port, setting)) from error
            if not sockets:
                raise StartError(f"No address of {host} belongs to this machine; change {host_setting}.")
            opened.pop_all()
            if port:
                _settings_by_port[port] = setting
            return sockets
    raise AssertionError("unreachable: the last attempt returns or raises")


def shown(host: str, port: int) -> str:
    """`host:port` as it stands in a URL."""
    host = host or "0.0.0.0"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolve(host: str, port: int, setting: str) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(f"{host} is not a known host name or address; change {setting}.") from error
    kept: dict[tuple[Any, ...], socket.AddressFamily] = {}
    for family, _, _, _, address in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            kept[address] = family
    return [(family, address) for address, family in kept.items()]


def _bound(
    family: socket.AddressFamily, address: tuple[Any, ...], *, alone: bool, shared: bool
) -> socket.socket | None:
    """A bound socket; None where the machine has no such address (localhost as ::1 without IPv6)."""
    try:
        # With the protocol named: asyncio turns Nagle's algorithm off only then, and answers would wait 40 ms.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" and alone else 1)
        made.bind(address)
        made.setblocking(False)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return made


def _why(error: OSError, host: str, port: int, setting: str) -> str:
    where = shown(host, port)
    if error.errno == errno.EADDRINUSE:
        holder = _holder(port)
        # Nobody listens on a port that is only reserved (see `shared_ports`).
        own = port in _settings_by_port if holder is None else holder.pid == os.getpid()
        if own:
            other = f" ({_settings_by_port[port]})" if port in _settings_by_port else ""
            return (
                f"{where} is in use by another door of this Ares{other}; two doors cannot have the same port: "
                f"set {setting} to another one."
            )
        return f"{where} is in use by {_named(holder)}; stop it, or set {setting} to a free port."
    if error.errno == errno.EACCES:
        return f"The system does not let this user listen on {where}; set {setting} to a port above 1023."
    return f"Ares cannot listen on {where} ({error.strerror}); change {setting}."


def _holder(port: int) -> psutil.Process | None:
    """The process that listens on the port, as far as the system tells."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return psutil.Process(connection.pid)
    except (psutil.Error, OSError):
        pass
    return None


def _named(process: psutil.Process | None) -> str:
    if process is not None:
        with suppress(psutil.Error):
            return f"{process.name()} (process {process.pid})"
    return "another program"
