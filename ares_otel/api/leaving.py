"""Clients that leave before they are answered: nobody works for them any longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENT_GONE = 499
"""Status of an answer that nobody reads; some web servers log it so."""
_T = TypeVar("_T")


class ClientGone(Exception):
    """The client has gone, and nobody reads the answer."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """What comes of the work, which is cancelled when the client goes.

    Args:
        receive: of the request, whose body was read or is not wanted.

    Raises:
        ClientGone: it has gone; the work has ended.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return await _unless(gone(), work)


async def _unless(gone: Coroutine[Any, Any, None], work: Coroutine[Any, Any, _T]) -> _T:
    """The same, where `gone` ends when the client goes. Work that ends in the same moment counts."""
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(gone, name="client that may leave")
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not working.done()
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    if left:
        raise ClientGone(str(ClientGone.__doc__))
    return working.result()


class UntilGone:
    """ASGI middleware: what a GET or HEAD has begun is cancelled when its client goes. Reads of many seconds would
    otherwise take the turns of those who still wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        begun: asyncio.Queue[Message] = asyncio.Queue(1)
        gone = asyncio.Event()
        has_body = False
        asked = False

        async def watch() -> None:
            nonlocal has_body
            message = await receive()
            has_body = bool(message.get("more_body", False))
            begun.put_nowait(message)
            if has_body:  # which the app may read, or not
                await asyncio.Event().wait()
            while message["type"] != "http.disconnect":
                message = await receive()
            gone.set()

        async def known() -> Message:
            nonlocal asked
            if not asked:
                message = await begun.get()
                asked = True
                return message
            if has_body:
                return await receive()
            await gone.wait()
            return {"type": "http.disconnect"}

        with contextlib.suppress(ClientGone):
            await _unless(watch(), _answered(self._app, scope, known, send))


async def _answered(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
