"""Traces by the first digits of their ids: what somebody can still read in a log line or on a photograph."""

from __future__ import annotations

import re
from uuid import UUID

import asyncpg

from ares_otel.query.reader import reading
from ares_otel.query.statements import load_statements

_NEXT = load_statements("trace_prefix.sql")["next_trace"]
LEAST_DIGITS = 8
_PREFIX = re.compile(r"[0-9a-f]{8,31}", re.ASCII)


def parse_prefix(text: str) -> str | None:
    """The first digits of an id, in lower case; None when the text is no 8 to 31 hex digits."""
    lowered = text.lower().replace("-", "") if len(text) <= 36 else ""
    return lowered if _PREFIX.fullmatch(lowered) else None


async def traces_with_prefix(pool: asyncpg.Pool, prefix: str, *, at_most: int = 5) -> list[UUID]:
    """The traces with spans whose ids begin so, the smallest ids first.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    low, high = int(prefix.ljust(32, "0"), 16), int(prefix.ljust(32, "f"), 16)
    found: list[UUID] = []
    async with reading(pool, heavy=True) as reader:
        while low <= high and len(found) < at_most:
            rows = await reader.fetch(_NEXT, low=UUID(int=low), high=UUID(int=high))
            if not rows:
                break
            found.append(UUID(int=rows[0]["trace_id"].int))
            low = found[-1].int + 1
    return found
