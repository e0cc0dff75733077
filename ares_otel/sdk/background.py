"""A thread with an event loop, for what the SDK does beside the application."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation

T = TypeVar("T")


class Background:
    """A daemon thread with an asyncio loop, started when it is first needed. Nothing that runs on it is traced.

    A fork leaves the thread behind: the child has none until it needs one, and `on_fork` is called there, where whoever
    kept something on the loop forgets it. Thread-safe.
    """

    def __init__(self, name: str, on_fork: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            name: of the thread.
            on_fork: called in the child of a fork, on its only thread.
        """
        self._name = name
        self._on_fork = on_fork
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        _alive.add(self)

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Starts `work()` on the loop; starts the thread where there is none. Does not wait."""
        with self._lock:
            if self._loop is None:
                self._start()
            assert self._loop is not None
            # In a context of its own: the caller's span is none of its business.
            return contextvars.Context().run(asyncio.run_coroutine_threadsafe, _untraced(work), self._loop)

    def call_soon(self, call: Callable[[], object]) -> None:
        """Calls on the loop, if there is one. Does not wait."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                loop.call_soon_threadsafe(call)

    @property
    def here(self) -> bool:
        """Whether this is the thread: waiting for its own work would take forever."""
        return threading.current_thread() is self._thread

    def stop(self, timeout: float) -> bool:
        """Cancels what runs, ends the loop and the thread; True when that took at most `timeout` seconds. Safe twice
        and before the first `submit`, which would start it again."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return True
        loop.call_soon_threadsafe(loop.stop)
        if threading.current_thread() is thread:
            return False
        thread.join(max(0.0, timeout))
        return not thread.is_alive()

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        loop.set_debug(False)  # who debugs an application (-X dev) looks for its own slow callbacks
        thread = threading.Thread(target=_run, args=(loop,), name=self._name, daemon=True)
        self._loop, self._thread = loop, thread
        thread.start()

    def _forked(self) -> None:
        self._lock = threading.Lock()  # the old one may have been held by a thread that is not here
        if self._loop is not None:
            _parents.append(self._loop)
        self._loop = self._thread = None
        self._on_fork()


_alive: weakref.WeakSet[Background] = weakref.WeakSet()
_parents: list[asyncio.AbstractEventLoop] = []
"""Loops of the process that forked this one. They are neither closed nor collected: the selector is shared with it."""


def _all_forked() -> None:
    for background in list(_alive):
        background._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)


async def _untraced(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with suppress_instrumentation():
        return await work()


class _Threads(ThreadPoolExecutor):
    """For what a loop cannot do itself, such as to look up the address of a host: a daemon thread for each. The threads
    of a pool take nothing on once the interpreter's end has begun, which is when an application stores its last
    telemetry."""

    def submit(self, call: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*arguments, **options))
                except BaseException as error:
                    future.set_exception(error)

        threading.Thread(target=work, name="ares-otel", daemon=True).start()
        return future


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.set_default_executor(_Threads())
    try:
        loop.run_forever()
    finally:
        with contextlib.suppress(Exception):
            while tasks := asyncio.all_tasks(loop):  # one that is cancelled may have begun others
                loop.run_until_complete(asyncio.sleep(0))  # what has not begun would end with "was never awaited"
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
