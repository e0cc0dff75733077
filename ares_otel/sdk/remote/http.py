"""Requests to Ares's API: untraced, without log lines of their own, bounded."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

import ares_otel
from ares_otel.sdk.remote.patience import Away, Busy, NotAres

THREADS = "ares-otel "
"""What the names of the SDK's own threads begin with."""
SECONDS = 10.0
"""Of a request, for each of its steps."""
ANSWER_SECONDS = 30.0
"""Of a request as a whole."""
MAX_ANSWER = 1024 * 1024
"""Bytes of an answer, where nothing else is said."""


def client(api_url: str) -> httpx.AsyncClient:
    """A client of the API. Proxies are those of the environment; redirects are not followed.

    Raises:
        ValueError: it is no http or https URL.
    """
    _split(api_url)
    headers = {"user-agent": f"ares-otel-sdk/{ares_otel.__version__}", "accept-encoding": "identity"}
    return httpx.AsyncClient(base_url=api_url, headers=headers, timeout=SECONDS, verify=_certificates())


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: every attempt has a client of its own."""
    return httpx.create_ssl_context()


def shown(api_url: str) -> str:
    """The URL for people, without a user and a password."""
    parts = _split(api_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _split(api_url: str) -> SplitResult:
    try:
        parts = urlsplit(api_url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and httpx.URL(api_url).host:
            return parts
    except (ValueError, httpx.InvalidURL):
        pass
    raise ValueError("ARES_OTEL_API_URL, or api_url, must be an http or https URL such as http://127.0.0.1:8080.")


async def ask(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """One request: the status, and the JSON of the answer, None where there is none.

    Raises Away, NotAres.
    """
    limit = options.pop("limit", MAX_ANSWER)
    try:
        async with asyncio.timeout(ANSWER_SECONDS), client.stream(method, path, **options) as answer:
            check(answer)
            body = await _read(answer, limit)
            return answer.status_code, None if not body else json.loads(body)
    except (ValueError, RecursionError):
        raise NotAres("its answer is no JSON") from None
    except TimeoutError:
        raise Away(f"it does not answer within {ANSWER_SECONDS:.0f} s") from None
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise Away(describe(error)) from None


def check(answer: httpx.Response) -> None:
    """Raises Busy for an Ares that cannot just now, NotAres for what Ares never answers."""
    status = answer.status_code
    if status in (408, 429) or status >= 500:
        raise Busy(f"it answers {status}")
    if status < 200 or 300 <= status < 400:
        raise NotAres(f"it answers {status}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise NotAres("its answer is compressed, which was not asked for")


def describe(error: Exception) -> str:
    """An error of a connection in a few words."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def _read(answer: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > limit:
            raise NotAres(f"its answer has more than {limit} bytes")
    return bytes(body)


def _not_ours(record: logging.LogRecord) -> bool:
    """The client logs each request, and on level debug each piece that it reads: ours are not the application's."""
    return not (record.threadName or "").startswith(THREADS)


for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_not_ours)
