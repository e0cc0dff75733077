"""One health check: GET of a health_url, bounded in time, in bytes and in where it goes."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from ares_otel.control.probe_targets import Address, ProbeTargets, Resolver, Target, TargetRefused

REDIRECTS = 3
"""Redirects that are followed, to the same host only."""
BODY_LIMIT = 4096
"""Bytes of a body that are read at most; what is in it does not count."""
ERROR_LIMIT = 500
_HEADERS = {
    "User-Agent": "ares-otel health check",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a health check went."""

    ok: bool
    """Whether the answer was 2xx, in time."""
    error: str | None
    """A sentence, where it was not; nothing of the answer's body is in it."""
    latency_ms: float | None
    """Milliseconds until the status came; None without one."""


class HealthCheck:
    """Does health checks. Environment variables for proxies do not count, and nothing is kept between two checks."""

    def __init__(self, targets: ProbeTargets, resolver: Resolver) -> None:
        self._targets = targets
        self._resolver = resolver
        # Each check opens its connection anew: that is what is to be found out, and a connection that is kept under an
        # address would be shared by names.
        # The transport alone, without httpx's client: no cookies, no proxies, no redirects of its own.
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl.create_default_context(),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def check(self, url: str, timeout: float) -> ProbeResult:
        """Asks the URL; everything that may go wrong is a result, nothing is raised.

        Args:
            timeout: seconds for all of it: look-up, connections, redirects, answer.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout):
                status = await self._follow(url)
        except TimeoutError:
            return _failed(f"No answer within {timeout:g} s.")
        except TargetRefused as error:
            return _failed(str(error))
        except httpx.InvalidURL:
            return _failed("The address cannot be read.")
        except (httpx.HTTPError, httpx.StreamError, OSError, ssl.SSLError, UnicodeError) as error:
            return _failed(_explain(error))
        latency = (time.perf_counter() - started) * 1000
        if 200 <= status < 300:
            return ProbeResult(True, None, latency)
        return ProbeResult(False, f"The answer was {status}; 2xx is expected.", latency)

    async def close(self) -> None:
        await self._transport.aclose()

    async def _follow(self, url: str) -> int:
        target = self._targets.parse(url)
        addresses = await self._resolver.addresses(target, self._targets)
        for _ in range(REDIRECTS + 1):
            status, location = await self._get(target, addresses)
            if location is None:
                return status
            url = urljoin(url, location)
            next_target = self._targets.parse(url)
            if next_target.host != target.host:
                raise TargetRefused("It redirects to another host, which a health check does not follow.")
            target = next_target
        raise TargetRefused(f"It redirects more than {REDIRECTS} times.")

    async def _get(self, target: Target, addresses: list[Address]) -> tuple[int, str | None]:
        """Asks the first address that can be connected to. Gives the status, and where a redirect leads."""
        for number, address in enumerate(addresses):
            host = f"[{address}]" if address.version == 6 else str(address)
            request = httpx.Request(
                "GET",
                f"{target.scheme}://{host}:{target.port}{target.path}",
                headers={"Host": target.authority, **_HEADERS},
                extensions={"sni_hostname": target.host.rstrip(".")},
            )
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                if number + 1 == len(addresses):
                    raise
                continue
            try:
                await _read_a_little(response)
                location = response.headers.get("location")
                return response.status_code, location if response.status_code in (301, 302, 303, 307, 308) else None
            finally:
                await response.aclose()
        raise OSError("The name has no address.")


async def _read_a_little(response: httpx.Response) -> None:
    """Takes a small body, so that a server that sends one need not see its connection reset; ends after the limit."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size >= BODY_LIMIT:
            return


def _failed(error: str) -> ProbeResult:
    return ProbeResult(False, error[:ERROR_LIMIT], None)


def _explain(error: Exception) -> str:
    text = str(error).replace("\0", "").partition("\n")[0].strip()
    if isinstance(error, httpx.ConnectError):
        return f"It cannot be connected to: {text or 'refused'}."
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."
