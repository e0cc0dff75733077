"""One HTTP destination of an exporter: its options, the connection, and what its status codes mean."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

import httpx
import zstandard
from pydantic import AfterValidator, Field

from ares_otel.exporters.client import MAX_ANSWER_BYTES, USER_AGENT, ClientConfig, TlsConfig, read_tls_file
from ares_otel.exporters.text import printable, without_secrets
from ares_otel.model.errors import Rejected, Retryable, StartError
from ares_otel.pipeline.component import BuildContext

_MAX_RETRY_AFTER = 24 * 3600.0

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "deflate": lambda body: zlib.compress(body, 1),
    "zstd": lambda body: zstandard.ZstdCompressor(level=3).compress(body),
    "none": lambda body: body,
}


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("The address is a URL, for example https://otlp.example.com:4318.")
    if "@" in parts.netloc:
        raise ValueError("Credentials do not belong into the URL; put them into headers.")
    if parts.fragment:
        raise ValueError("A URL with a fragment (#) cannot be sent to.")
    return value


Url = Annotated[str, AfterValidator(_url)]


class HttpTlsConfig(TlsConfig):
    """`tls` of an exporter over HTTP; `https://` in the address turns it on."""

    insecure_skip_verify: bool = Field(
        default=False, description="Whether the destination's certificate is taken unchecked: for trials only."
    )


class HttpClientConfig(ClientConfig):
    """What every exporter over HTTP can be told, besides the address."""

    compression: Literal["gzip", "zstd", "deflate", "none"] = Field(
        default="gzip", description="How requests are compressed."
    )
    tls: HttpTlsConfig = Field(default=HttpTlsConfig(), description="How the connection is secured.")


class Response(NamedTuple):
    """What a destination answered."""

    status: int
    content_type: str
    """Media type without parameters, in lower case."""
    body: bytes | None
    """None when it was encoded, or longer than `MAX_ANSWER_BYTES`."""
    retry_after: float
    """Seconds that it asks for; 0 when it names none."""


class HttpSender:
    """Sends bodies, one attempt each.

    Redirects are not followed and the environment's proxies are not used: headers may hold credentials, and they go to
    the configured address only.
    """

    def __init__(
        self, context: BuildContext, config: HttpClientConfig, content_type: str, retryable: frozenset[int]
    ) -> None:
        """
        Args:
            retryable: status codes after which the same request may be taken later.
        """
        self._id = context.id
        self._clock = context.clock
        self._config = config
        self._retryable = retryable
        self._secrets = config.secrets()
        self._client: httpx.AsyncClient | None = None
        self._headers = {
            "user-agent": USER_AGENT,
            **{name.lower(): value.get_secret_value() for name, value in config.headers.items()},
            "content-type": content_type,
            "accept-encoding": "identity",
            **({} if config.compression == "none" else {"content-encoding": config.compression}),
        }

    async def start(self) -> None:
        """Makes the client; it connects with the first request.

        Raises:
            StartError: a TLS file cannot be read or used.
        """
        self._client = httpx.AsyncClient(
            verify=self._tls(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            limits=httpx.Limits(max_connections=self._config.sending_queue.num_consumers + 10),
        )

    async def stop(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def compress(self, body: bytes) -> bytes:
        """The body as `compression` says."""
        return COMPRESS[self._config.compression](body)

    async def post(self, url: str, body: bytes) -> Response:
        """Sends a compressed body and returns the answer, whatever it is.

        Raises:
            Retryable: the destination cannot be reached.
        """
        if self._client is None:
            raise Retryable(f"{self._id} is not started.")
        request = self._client.build_request("POST", url, content=body, headers=self._headers)
        try:
            response = await self._client.send(request, stream=True)
            try:
                answer = await _bounded(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            detail = self.shown(str(error)) or type(error).__name__
            raise Retryable(f"{self._id}: the destination cannot be reached: {detail}", retry_after=0.0) from None
        headers = response.headers
        return Response(
            response.status_code,
            headers.get("content-type", "").partition(";")[0].strip().lower(),
            None if "content-encoding" in headers else answer,
            _retry_after(headers.get("retry-after"), self._clock.time_ns()),
        )

    def error(self, response: Response, detail: str) -> Rejected | Retryable:
        """What an answer that is not 2xx means.

        Args:
            detail: what the destination says about it, not yet made safe for a log.
        """
        text = f"{self._id}: the destination answered {response.status}: {self.shown(detail)}"
        if response.status in self._retryable:
            return Retryable(text, retry_after=response.retry_after)
        if 300 <= response.status < 400:
            return Rejected(
                f"{self._id}: the destination answered {response.status}; correct the address, redirects are not"
                " followed."
            )
        return Rejected(text)

    def shown(self, text: str) -> str:
        """Text of the destination, for an error message."""
        return printable(without_secrets(text, self._secrets))

    def _tls(self) -> ssl.SSLContext:
        tls, name = self._config.tls, f"exporters.{self._id}.tls"
        authorities = read_tls_file(tls.ca_file, f"{name}.ca_file")
        read_tls_file(tls.cert_file, f"{name}.cert_file")
        read_tls_file(tls.key_file, f"{name}.key_file")
        try:
            context = ssl.create_default_context(cadata=authorities.decode("ascii") if authorities else None)
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (ssl.SSLError, ValueError) as error:
            raise StartError(f"{name}: the certificates cannot be used: {error}.") from None
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def _bounded(response: httpx.Response) -> bytes | None:
    """The body of an answer; None when it is longer than `MAX_ANSWER_BYTES`, whose rest is not read."""
    pieces = bytearray()
    async for piece in response.aiter_raw():
        pieces += piece
        if len(pieces) > MAX_ANSWER_BYTES:
            return None
    return bytes(pieces)


def _retry_after(value: str | None, now_ns: int) -> float:
    """Seconds from `Retry-After`: a number of seconds or a date (RFC 9110, 10.2.3); 0 without a usable one."""
    if not value:
        return 0.0
    if value.strip().isdecimal() and value.isascii():
        return min(float(value.strip()[:10]), _MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    return min(max((until - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)
