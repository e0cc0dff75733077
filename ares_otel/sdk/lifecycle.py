"""The end of a process and its forks: what is under way is sent, in bounded time."""

from __future__ import annotations

import atexit
import functools
import logging
import multiprocessing
import multiprocessing.util
import os
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

LOG = logging.getLogger(__name__)


class Closer:
    """A daemon thread that waits to end something, and the one attempt to do so.

    It is started beforehand: a signal handler may have interrupted whoever holds the locks that starting a thread
    takes, and at exit no thread can be started any more. Whoever asks waits for a limited time. After a fork, the child
    has one too.
    """

    def __init__(self, close: Callable[[float], bool]) -> None:
        """
        Args:
            close: does it, within a deadline (`time.monotonic()`); True when all of it was done.
        """
        self._close = close
        self._renew()
        self._thread.start()

    def _renew(self) -> None:
        self._asked: bool = False
        self._result: bool = False
        self._state = threading.RLock()  # a signal handler may interrupt its holder
        self._requests: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._open = threading.Lock()  # held until it is done; not an Event, whose lock a signal handler may find taken
        self._open.acquire()
        self._thread = threading.Thread(target=self._wait, name="ares-otel-end", daemon=True)

    def run(self, timeout_seconds: float) -> bool:
        """Asks, and waits at most so long. True when all was done; also when it was done before."""
        with self._state:
            first = not self._asked
            self._asked = True
        if first:
            self._requests.put(time.monotonic() + timeout_seconds)
        if threading.current_thread() is self._thread or not self._open.acquire(timeout=max(0.0, timeout_seconds)):
            return False
        self._open.release()
        return self._result

    @property
    def asked(self) -> bool:
        """Whether the end has begun."""
        return self._asked

    def forked(self) -> None:
        """A new thread, in the child of a fork."""
        if not self._asked:
            self._renew()
            self._thread.start()

    def _wait(self) -> None:
        deadline = self._requests.get()
        try:
            self._result = self._close(deadline)
        except Exception:
            LOG.exception("telemetry could not be ended in order")
        finally:
            self._open.release()


class Forking(Protocol):
    """Somebody for whom a fork makes a difference."""

    def before_fork(self) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None: ...


class Lifecycle:
    """Calls `end` when the process ends: at exit, in children of `multiprocessing`, and on SIGTERM while that would
    just kill the process.

    A handler of the application for SIGTERM is kept and called; telemetry then ends when the process exits. Servers
    such as uvicorn put their handler in place, end in order, put the former one back and raise the signal again: while
    `end` is wanted, putting back the default puts back ours.
    """

    def __init__(self, end: Callable[[], None], forking: Forking, at_exit: bool = True) -> None:
        """
        Args:
            end: sends what is under way, in bounded time.
            forking: is told of forks.
            at_exit: whether the exit of the process is a reason to end; else only SIGTERM is.
        """
        self._end = end
        self._at_exit = at_exit
        self._signal = signal.signal
        self._installed: Any = None
        if at_exit:
            atexit.register(end)
            if multiprocessing.parent_process() is not None:
                self._in_a_child()
            multiprocessing.util.register_after_fork(self, Lifecycle._in_a_child)
        _at_fork(forking)
        self._watch_signals()

    def stop(self) -> None:
        """Leaves exit and signals as they were. Safe twice."""
        atexit.unregister(self._end)
        self._at_exit = False
        if signal.signal is self._installed:
            signal.signal = self._signal
        self._installed = None
        if threading.current_thread() is threading.main_thread() and self._is_ours(signal.getsignal(signal.SIGTERM)):
            self._signal(signal.SIGTERM, signal.SIG_DFL)

    def _in_a_child(self) -> None:
        """`multiprocessing` ends its children by `os._exit`, after its own finalizers; it forgets them in a fork."""
        if self._at_exit:
            multiprocessing.util.Finalize(None, self._end, exitpriority=-100)

    def _watch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            LOG.info("configure() was not called in the main thread: telemetry is not sent on SIGTERM, only at exit")
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._signal(signal.SIGTERM, self._terminate)
        original = self._signal

        @functools.wraps(original)
        def set_handler(signalnum: int, handler: Any) -> Any:
            default = not callable(handler) and handler == signal.SIG_DFL  # which is also the number 0
            if signalnum == signal.SIGTERM and default and self._installed is not None:
                handler = self._terminate
            before = original(signalnum, handler)
            return signal.SIG_DFL if self._is_ours(before) else before

        self._installed = set_handler
        signal.signal = set_handler

    def _is_ours(self, handler: Any) -> bool:
        return getattr(handler, "__func__", None) is Lifecycle._terminate

    def _terminate(self, signalnum: int, _: FrameType | None) -> None:
        self._signal(signalnum, signal.SIG_DFL)  # a second one does not wait
        self._end()
        os.kill(os.getpid(), signalnum)
        raise SystemExit(128 + signalnum)  # the first process of a container: its own signals do not kill it


def _at_fork(forking: Forking) -> None:
    """Hooks of `os.register_at_fork` stay for good, whom they tell need not."""
    if not hasattr(os, "register_at_fork"):
        return
    there = weakref.ref(forking)

    def tell(what: Callable[[Forking], None]) -> Callable[[], None]:
        def hook() -> None:
            told = there()
            if told is not None:
                what(told)

        return hook

    os.register_at_fork(
        before=tell(lambda told: told.before_fork()),
        after_in_parent=tell(lambda told: told.after_fork_in_parent()),
        after_in_child=tell(lambda told: told.after_fork_in_child()),
    )
