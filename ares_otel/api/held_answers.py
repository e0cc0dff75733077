"""Answers that stand in memory until they were sent: only a few at a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Protocol

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ares_otel.query.reader import DatabaseUnavailable

_GZIP = 16 + zlib.MAX_WBITS


class Finished(Protocol):
    """An answer that is made."""

    def chunks(self) -> Iterator[bytes]:
        """Its body, in pieces of some hundred kilobytes."""


async def take_turn(turns: asyncio.Semaphore, seconds: float) -> None:
    """Takes one; the caller gives it back, or `held_answer` does.

    Args:
        seconds: how long it may take.

    Raises:
        DatabaseUnavailable: none was free in time.
    """
    try:
        async with asyncio.timeout(seconds):
            await turns.acquire()
    except TimeoutError:
        raise DatabaseUnavailable("Other answers of this page are made or sent; try again in a moment.") from None


def held_answer(turns: asyncio.Semaphore, made: Finished, headers: Mapping[str, str], *, gzip: bool) -> Response:
    """Gives an answer away, and then its turn back.

    Args:
        turns: of which the caller has taken one.
        gzip: whether it is compressed.
    """
    if gzip:
        return _Held(turns, _compressed(made), {**headers, "Content-Encoding": "gzip"})
    return _Held(turns, _plain(made), dict(headers))


class _Held(StreamingResponse):
    """An answer that has its turn until it was sent."""

    def __init__(self, turns: asyncio.Semaphore, pieces: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(pieces, headers=headers)
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turns.release()


async def _plain(made: Finished) -> AsyncIterator[bytes]:
    pieces = made.chunks()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def _compressed(made: Finished) -> AsyncIterator[bytes]:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    async for piece in _plain(made):
        if small := await asyncio.to_thread(squeeze.compress, piece):
            yield small
    yield squeeze.flush()
