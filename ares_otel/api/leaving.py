"""Clients that leave before they are answered: nobody works for them any longer."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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

        answering = asyncio.ensure_future(self._app(scope, known, send))
        watching = asyncio.create_task(watch(), name="client that may leave")
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = not answering.done()
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
        if not left:
            answering.result()
