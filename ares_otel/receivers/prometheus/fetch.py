"""Fetches a page: one GET, bounded in time, in bytes and in where it goes.

Nothing is kept between two scrapes, no proxies of the environment are used, and credentials go to the target's host
only.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from ares_otel import __version__
from ares_otel.model.errors import Rejected, StartError, TooLarge
from ares_otel.pipeline.admission import Reservation
from ares_otel.receivers.prometheus.config import Protocol, ScrapeConfig
from ares_otel.receivers.prometheus.target import Target
from ares_otel.receivers.serving.inflate import ENCODINGS, inflate
from ares_otel.receivers.serving.workers import Workers

REDIRECTS = 10
OWN_HEADER = "ares-otel-instance"
"""Which Ares answers, on pages that show what was ingested."""
_SECRET_BYTES = 64 * 1024
_TYPES: dict[Protocol, str] = {
    "PrometheusProto": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "PrometheusText1.0.0": "text/plain;version=1.0.0;escaping=allow-utf-8",
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
}

Addresses = Callable[[str, int], Awaitable[list[str]]]
"""Host and port → the addresses that may be connected to; raises ValueError with a sentence when none may."""


class ScrapeFailed(Exception):
    """The target has no page to give; the message says why and quotes nothing of its answer."""


class Fetched(NamedTuple):
    """A page, inflated."""

    body: bytes
    protocol: Protocol


class Fetcher:
    """Asks the targets of one job."""

    def __init__(
        self, job: ScrapeConfig, workers: Workers, largest: int, *, own: str = "", addresses: Addresses | None = None
    ) -> None:
        """
        Args:
            largest: page that can be taken at all, bytes.
            own: what this Ares says in `OWN_HEADER`.
            addresses: where targets that somebody registered may lead.

        Raises:
            StartError: a TLS file cannot be used.
        """
        self._job = job
        self._workers = workers
        self._limit = min(job.body_size_limit or largest, largest)
        self._files = any(
            [
                job.basic_auth is not None and job.basic_auth.password_file,
                job.authorization is not None and job.authorization.credentials_file,
                *(header.files for header in job.http_headers.values()),
            ]
        )
        self._own = own
        self._addresses = addresses
        self._transport = httpx.AsyncHTTPTransport(
            verify=_context(job),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._transport.aclose()

    async def fetch(self, target: Target, reservation: Reservation) -> Fetched:
        """The page of a target.

        Raises:
            ScrapeFailed: there is none.
            Overloaded: Ares has no memory for it now.
        """
        try:
            async with asyncio.timeout(target.timeout):
                return await self._follow(target, reservation)
        except TimeoutError:
            raise ScrapeFailed(f"no page within {target.timeout:g} s") from None
        except TooLarge as error:
            option = "body_size_limit" if self._limit == self._job.body_size_limit else "the memory for requests"
            raise ScrapeFailed(f"the page is larger than {option} allows ({self._limit} bytes)") from error
        except Rejected as error:
            raise ScrapeFailed(str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ssl.SSLError, UnicodeError) as error:
            raise ScrapeFailed(_explained(error)) from None

    async def _follow(self, target: Target, reservation: Reservation) -> Fetched:
        url, home = target.url, urlsplit(target.url)
        headers = await asyncio.to_thread(self._headers, target) if self._files else self._headers(target)
        for _ in range(REDIRECTS + 1):
            parts = urlsplit(url)
            same = (parts.scheme, parts.hostname, parts.port) == (home.scheme, home.hostname, home.port)
            response = await self._get(target, url, headers if same else self._plain(target))
            try:
                if response.status_code == 200:
                    return await self._read(response, reservation)
                location = response.headers.get("location")
                if response.status_code not in (301, 302, 303, 307, 308) or not location:
                    raise ScrapeFailed(f"the answer was {response.status_code}, not 200")
            finally:
                await response.aclose()
            if not self._job.follow_redirects:
                raise ScrapeFailed(f"the answer was {response.status_code}, and follow_redirects is off")
            url = urljoin(url, location)
            following = urlsplit(url)
            if following.scheme not in ("http", "https") or "@" in following.netloc:
                raise ScrapeFailed("it redirects to where no page can be")
            if target.discovered and following.hostname != home.hostname:
                raise ScrapeFailed("it redirects to another host, which is not followed for a registered target")
        raise ScrapeFailed(f"it redirects more than {REDIRECTS} times")

    async def _get(self, target: Target, url: str, headers: dict[str, str]) -> httpx.Response:
        parts = urlsplit(url)
        host = parts.hostname or ""
        name = self._job.tls_config.server_name or host
        extensions = {"sni_hostname": name} if name else {}
        if not target.discovered:
            request = httpx.Request("GET", url, headers=headers, extensions=extensions)
            return await self._transport.handle_async_request(request)
        if self._addresses is None:
            raise ScrapeFailed("registered targets cannot be asked here")
        try:
            addresses = await self._addresses(host, parts.port or (443 if parts.scheme == "https" else 80))
        except ValueError as error:
            raise ScrapeFailed(str(error)) from None
        for number, address in enumerate(addresses):
            where = f"[{address}]" if ":" in address else address
            request = httpx.Request(
                "GET",
                parts._replace(netloc=f"{where}:{parts.port}" if parts.port else where).geturl(),
                headers={"Host": parts.netloc, **headers},
                extensions=extensions,
            )
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                if number + 1 == len(addresses):
                    raise
        raise ScrapeFailed("the name has no address")

    async def _read(self, response: httpx.Response, reservation: Reservation) -> Fetched:
        if self._own and response.headers.get(OWN_HEADER) == self._own:
            raise ScrapeFailed(
                "this page shows what this Ares has stored, and scraping it would store it again and again;"
                " take the target out"
            )
        protocol = self._protocol(response.headers.get("content-type", ""))
        limit = self._limit
        body = bytearray()
        held = 0
        async for piece in response.aiter_raw():
            if len(body) + len(piece) > limit:
                raise TooLarge
            if len(body) + len(piece) > held:
                more = max(len(piece), 64 * 1024, len(body) // 2)
                reservation.grow(more)
                held += more
            body += piece
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            return Fetched(bytes(body), protocol)
        if encoding not in ENCODINGS or not self._job.enable_compression:
            raise ScrapeFailed("the page comes in an encoding that was not asked for")
        whole = await inflate(bytes(body), encoding, limit, reservation, self._workers)
        return Fetched(whole, protocol)

    def _protocol(self, content_type: str) -> Protocol:
        media, *rest = (part.strip() for part in content_type.split(";"))
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in map(_parted, rest)}
        media = media.lower()
        if media == "application/openmetrics-text":
            return "OpenMetricsText0.0.1" if parameters.get("version") == "0.0.1" else "OpenMetricsText1.0.0"
        if media == "application/vnd.google.protobuf":
            if parameters.get("proto") not in (None, "io.prometheus.client.MetricFamily"):
                raise ScrapeFailed("the page is protobuf, but not of Prometheus's MetricFamily")
            return "PrometheusProto"
        if media == "text/plain":
            return "PrometheusText1.0.0" if parameters.get("version") == "1.0.0" else "PrometheusText0.0.4"
        if self._job.fallback_scrape_protocol is not None:
            return self._job.fallback_scrape_protocol
        raise ScrapeFailed(
            "its Content-Type is none of Prometheus's formats; set fallback_scrape_protocol if the page is one"
            " (PrometheusText0.0.4 for most)"
        )

    def _plain(self, target: Target) -> dict[str, str]:
        protocols = self._job.protocols
        accepted = [f"{_TYPES[name]};q=0.{len(protocols) + 1 - rank}" for rank, name in enumerate(protocols)]
        return {
            "User-Agent": f"ares-otel/{__version__}",
            "Accept": ",".join([*accepted, "*/*;q=0.1"]),
            "Accept-Encoding": "gzip" if self._job.enable_compression else "identity",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{target.timeout:g}",
            "Connection": "close",
        }

    def _headers(self, target: Target) -> dict[str, str]:
        """All headers, with what files hold now."""
        job, made = self._job, self._plain(target)
        if (basic := job.basic_auth) is not None:
            password = basic.password.get_secret_value() if basic.password else ""
            password = _read_secret(basic.password_file) if basic.password_file else password
            made["Authorization"] = "Basic " + base64.b64encode(f"{basic.username}:{password}".encode()).decode()
        elif (other := job.authorization) is not None:
            credentials = other.credentials.get_secret_value() if other.credentials else ""
            credentials = _read_secret(other.credentials_file) if other.credentials_file else credentials
            made["Authorization"] = f"{other.type} {credentials}"
        for name, header in job.http_headers.items():
            values = [*header.values, *(one.get_secret_value() for one in header.secrets)]
            made[name] = ", ".join([*values, *(_read_secret(path) for path in header.files)])
        for name, value in made.items():
            if not value.isprintable() or not value.isascii():
                raise ScrapeFailed(f"the header {name} holds characters that are not printable ASCII")
        return made


def _read_secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ScrapeFailed(f"{path} cannot be read: {reason}") from None


def _parted(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def _context(job: ScrapeConfig) -> ssl.SSLContext:
    """Raises StartError when a file cannot be used."""
    tls = job.tls_config
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None and tls.key_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"The TLS files of the job {job.job_name!r} cannot be used: {error}.") from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _explained(error: Exception) -> str:
    if isinstance(error, httpx.RemoteProtocolError):  # its text quotes the answer
        return "it does not answer in HTTP, or its answer was cut short"
    text = str(error).replace("\0", "").partition("\n")[0].strip()[:200]
    if isinstance(error, httpx.ConnectError):
        return f"it cannot be connected to: {text or 'refused'}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
