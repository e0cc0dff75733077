"""How Redis is reached: URLs as people write them, clients with short patience, errors without credentials."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
"""A server that takes longer for an answer counts as away."""

REDIS_ERRORS = (RedisError, OSError, TimeoutError, EOFError)
"""What a client raises when the server, or the way to it, is not well."""


def redis_url(text: str) -> str:
    """The URL that a setting means: `localhost:6379`, `redis://…` or `rediss://…` (TLS).

    Raises:
        ValueError: it is none; the sentence does not repeat the value, which may hold a password.
    """
    wrong = (
        "The Redis URL must be host:port, redis://[user:password@]host[:port][/database], "
        "or rediss://… for TLS, for example localhost:6379"
    )
    if not isinstance(text, str) or not text.strip() or len(text) > 2000:
        raise ValueError(wrong)
    text = text.strip()
    url = text if "://" in text else f"redis://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        database = parts.path.strip("/")
    except ValueError:
        raise ValueError(wrong) from None
    # Parameters of the query reach deep into the client; none is needed here.
    if not good or parts.query or parts.fragment or (database and not (database.isascii() and database.isdigit())):
        raise ValueError(wrong)
    return url


def shown(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path}"


def client(url: str) -> Redis:
    """A client that tries once and gives up soon; the caller closes it."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "protocol": 2,
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
    }
    return Redis.from_url(url, **options)


def reason(error: BaseException, url: str) -> str:
    """Why Redis cannot be used, as a sentence without credentials."""
    if isinstance(error, OutOfMemoryError) or "OOM " in str(error)[:10]:
        return "Redis is full and takes no more events (maxmemory); give it more memory, or an eviction policy."
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "Redis does not answer in time."
    kind = "Redis refuses" if isinstance(error, ResponseError) else "Redis cannot be reached"
    text = str(error)[:300] or type(error).__name__
    parts = urlsplit(url)
    for secret in (parts.password, parts.username):
        if secret:
            for form in (secret, unquote(secret)):
                text = text.replace(form, "***")
    return f"{kind}: {text.rstrip('.')}."


class Backoff:
    """Growing pauses between attempts, each shortened at random so that processes do not come all at once."""

    def __init__(self, first: float = 0.2, longest: float = 5.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def pause(self) -> float:
        """Seconds to wait now."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.5, 1.0)


def entry_number(id: str) -> tuple[int, int]:
    """A stream entry's id as a value that grows: `1706702400000-2` → milliseconds, sequence."""
    milliseconds, _, sequence = id.partition("-")
    return int(milliseconds), int(sequence or 0)
