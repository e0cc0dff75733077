"""Calls handlers: async ones on the event loop, sync ones in a thread of the subscriber's own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
from collections.abc import Awaitable
from typing import Any

from ares_otel.model.bus import Event, Handler


class Caller:
    """Calls one handler, one event at a time.

    A sync handler has a thread of its own: a slow one must not stand on the event loop, and one that hangs must not
    take a thread that others need. The thread does not keep the process alive.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        function = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004
        self._sync = not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(function))
        self._calls: queue.SimpleQueue[tuple[Event, asyncio.Future[Any]] | None] | None = None

    async def __call__(self, event: Event) -> None:
        """Raises what the handler raises."""
        result = await self._in_thread(event) if self._sync else self._handler(event)
        if isinstance(result, Awaitable):
            await result

    def close(self) -> None:
        """Lets the thread end after the call that it is in."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    async def _in_thread(self, event: Event) -> Any:
        loop = asyncio.get_running_loop()
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(loop, self._calls), name="event handler", daemon=True).start()
        done: asyncio.Future[Any] = loop.create_future()
        self._calls.put((event, done))
        return await done

    def _work(
        self, loop: asyncio.AbstractEventLoop, calls: queue.SimpleQueue[tuple[Event, asyncio.Future[Any]] | None]
    ) -> None:
        while (call := calls.get()) is not None:
            event, done = call
            result: Any = None
            error: BaseException | None = None
            try:
                result = self._handler(event)
            except BaseException as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_finish, done, result, error)


def _finish(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    elif isinstance(error, Exception):
        done.set_exception(error)
    else:
        done.set_exception(RuntimeError(f"The handler raised {type(error).__name__}."))
