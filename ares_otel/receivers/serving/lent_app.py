"""A receiver's app on a port that is not the receiver's own: the HTTP API's."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from ares_otel.pipeline.grace import Grace
from ares_otel.receivers.serving.http_app import PostApp

_LAST_WORDS_SECONDS = 1.0


class LentApp:
    """The app. It knows which requests are in work, so that the receiver can stop: the port goes on."""

    def __init__(self, app: PostApp) -> None:
        self._app = app
        self._works: set[asyncio.Task[None]] = set()
        self.stopped = False

    def takes(self, path: str) -> bool:
        """Whether there is something at this path."""
        return self._app.takes(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.stopped:
            await self._refuse(scope, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        work = asyncio.ensure_future(self._app(scope, receive, noted))
        self._works.add(work)
        try:
            await asyncio.wait({work})
        finally:
            if not work.done():  # the port does not wait any longer
                work.cancel()
                await asyncio.wait({work})
            self._works.discard(work)
        if not work.cancelled():
            work.result()
        elif not begun:
            await self._refuse(scope, send)

    async def stop(self, grace: Grace) -> None:
        """Takes no new requests, and returns when none is in work any more; those that still are when their time is
        over are told to come again. Safe twice."""
        self.stopped = True
        if not self._works:
            return
        done = asyncio.create_task(_all(self._works))
        over = asyncio.create_task(grace.requests_over())
        await asyncio.wait({done, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        for work in self._works:
            work.cancel()
        await asyncio.wait({done}, timeout=_LAST_WORDS_SECONDS)
        done.cancel()

    async def _refuse(self, scope: Scope, send: Send) -> None:
        body = self._app.error_body(scope, 503, "The receiver is stopping; send the request again.")
        headers = [(b"content-type", body.content_type.encode("ascii")), *body.headers]
        headers.append((b"content-length", b"%d" % len(body.body)))
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body.body})


async def _all(works: set[asyncio.Task[None]]) -> None:
    while works:
        await asyncio.wait(set(works))
        await asyncio.sleep(0)
