"""Where a health check may go. Whoever may register a service chooses an address that Ares then calls: it must not
become a way to what only Ares can reach, such as services on its loopback or a cloud's metadata."""

from __future__ import annotations

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

URL_LIMIT = 2000
"""Characters of a health_url."""
OPTION = "--probe-allow-local"
LOOKUPS = 8
"""Names that are looked up at the same time."""

_METADATA = frozenset(
    ip_address(address)
    for address in ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
)
"""Metadata services outside of 169.254.0.0/16: Alibaba, Oracle, Azure, Amazon and Google over IPv6."""
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_THIS_NETWORK = ip_network("0.0.0.0/8")
_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)

Address = IPv4Address | IPv6Address


class TargetRefused(ValueError):
    """The address is not one that a health check may go to; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A health_url, taken apart."""

    scheme: str
    host: str
    """Name or address, lower-case, without brackets."""
    port: int
    path: str
    """Path and query, with the slash."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProbeTargets:
    """The policy. Private networks are always allowed, since services live there."""

    allow_local: bool = False
    """Whether loopback, link-local, metadata, unspecified and multicast addresses are allowed too."""

    def parse(self, url: str) -> Target:
        """Takes a health_url apart and refuses what can be refused without asking a name server.

        Raises:
            TargetRefused: it is no http or https URL, holds a user or a fragment, or names a place that is not allowed.
        """
        if len(url) > URL_LIMIT:
            raise TargetRefused(f"The URL must have at most {URL_LIMIT} characters.")
        if not url.isascii() or any(character <= " " or character in '\\"<>^`{|}\x7f' for character in url):
            raise TargetRefused("The URL must consist of ASCII letters without spaces; write others as %XX.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise TargetRefused("The URL's host or port cannot be read.") from None
        if parts.scheme not in ("http", "https"):
            raise TargetRefused("The URL must begin with http:// or https://.")
        if "@" in parts.netloc:
            raise TargetRefused("The URL must not hold a user or a password: everybody can read the registry.")
        if parts.fragment or "#" in url:
            raise TargetRefused("The URL must not hold a fragment (#…).")
        host = (parts.hostname or "").lower()
        if not host or port == 0:
            raise TargetRefused("The URL must name a host, and a port other than 0 if any.")
        if "%" in host or not (_is_address(host) or ("[" not in parts.netloc and _HOST.fullmatch(host))):
            raise TargetRefused("The URL's host must be a name or an address without a zone.")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target = Target(parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme], path)
        self._check_name(target)
        for address in _numeric(host):
            self.check(address)
        return target

    def check(self, address: Address) -> None:
        """Raises TargetRefused for an address that is not allowed; those inside of IPv6 count as what they are."""
        if self.allow_local:
            return
        for inner in _unwrapped(address):
            if (kind := _local(inner)) is not None:
                raise TargetRefused(
                    f"The address {address} is {kind}, which health checks may not go to; start Ares with {OPTION} "
                    "to allow it."
                )

    def _check_name(self, target: Target) -> None:
        name = target.host.rstrip(".")
        if not self.allow_local and (
            name in _METADATA_NAMES or name == "localhost" or name.endswith((".localhost", ".localhost.localdomain"))
        ):
            raise TargetRefused(
                f"The host {target.host} is this machine or a metadata service, which health checks may not go to; "
                f"start Ares with {OPTION} to allow it."
            )


class Resolver:
    """Looks names up on threads of its own, so that a slow name server holds up nothing but health checks."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="ares-probe-dns")

    async def addresses(self, target: Target, policy: ProbeTargets) -> list[Address]:
        """The addresses of the target, all of them allowed: what is connected to is what was checked.

        Raises:
            TargetRefused: one of them is not allowed.
            OSError: the name is not known.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _lookup, target.host, target.port, 0)
        for address in found:
            policy.check(address)
        return found

    def close(self) -> None:
        """Lets the threads end; a look-up that hangs is left to itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(host: str, port: int, flags: int) -> list[Address]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(ip_address(str(info[4][0]).partition("%")[0]) for info in infos))


def _numeric(host: str) -> list[Address]:
    """The address that a host without a name means, in any way the system reads one (127.1, 0x7f000001); else none."""
    try:
        return _lookup(host, 80, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unwrapped(address: Address) -> list[Address]:
    """The address and the IPv4 addresses that it carries: mapped, compatible, 6to4, Teredo, NAT64."""
    found: list[Address] = [address]
    if isinstance(address, IPv6Address):
        found += [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
        if address.teredo is not None:
            found += address.teredo
        if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
            found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _local(address: Address) -> str | None:
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local (where clouds keep their metadata)"
    if address in _METADATA:
        return "a metadata service"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "unspecified"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "a multicast or broadcast address"
    if isinstance(address, IPv6Address) and address.is_site_local:
        return "site-local"
    return None
