"""The time that a stop may take: one number, which counts down over all stages of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import ParamSpec, TypeVar

from ares_otel.model.clock import SYSTEM_CLOCK, Clock

DEFAULT_GRACE_SECONDS = 25.0
"""Below the 30 s that Kubernetes gives a pod (terminationGracePeriodSeconds)."""

ANSWER_SHARE = 0.2
"""Part of the grace that is kept for what follows after the requests: commits, the database, the process's end."""

LAST_MOMENT_SECONDS = 1.0

BRIEF_SECONDS = 2.0
"""For a stage that has little to do. It may ask the database, and a database that says nothing must not use up the time
of those that follow."""

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("ares_otel.pipeline")


class Grace:
    """How long the stop may still take. The full time until `begin`; afterwards what is left of it.

    The doors use `requests_over`, which comes a fifth of the grace (5 s at most) before its end: who is still in work
    then is told to come back, and there is time to say so. What stops after them uses `left`.
    """

    def __init__(self, seconds: float = DEFAULT_GRACE_SECONDS, clock: Clock = SYSTEM_CLOCK) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end: float | None = None
        self._cut = asyncio.Event()

    def begin(self) -> None:
        """The stop begins now; later calls change nothing."""
        if self._end is None:
            self._end = self._clock.monotonic() + self.seconds

    @property
    def begun(self) -> bool:
        """Whether Ares is stopping."""
        return self._end is not None

    def cut(self) -> None:
        """Somebody is in a hurry: requests in work are told to come back now, and nothing is waited for any more."""
        self.begin()
        self._cut.set()

    def left(self) -> float:
        """Seconds left; never negative."""
        if self._end is None:
            return self.seconds
        return 0.0 if self._cut.is_set() else max(0.0, self._end - self._clock.monotonic())

    async def bounded(self, name: str, stop: Callable[[], Awaitable[object]], *, at_most: float = float("inf")) -> None:
        """Runs the stop of one stage, and gives it up when the grace is over (with a moment more: most need none), or
        after `at_most` seconds."""
        stage = asyncio.ensure_future(stop())
        await asyncio.wait({stage}, timeout=min(at_most, self.left() + LAST_MOMENT_SECONDS))
        if not stage.done():
            _log.warning("%s did not stop within the grace (--shutdown-grace); ending without it.", name)
            stage.cancel()
            await asyncio.wait({stage}, timeout=min(at_most, LAST_MOMENT_SECONDS) / 2)
        elif not stage.cancelled():
            stage.result()

    async def requests_over(self) -> None:
        """Returns when requests in work have had their time: counted from `begin`, else from now."""
        reserve = min(5.0, self.seconds * ANSWER_SHARE)
        try:
            async with asyncio.timeout(max(0.0, self.left() - reserve)):
                await self._cut.wait()
        except TimeoutError:
            return


class Stages(AsyncExitStack):
    """What has to be stopped, in the opposite order of its pushing. None of it keeps the others waiting for long."""

    def __init__(self, grace: Grace) -> None:
        super().__init__()
        self._grace = grace

    def push_async_callback(
        self, callback: Callable[P, Awaitable[T]], /, *args: P.args, **kwds: P.kwargs
    ) -> Callable[P, Awaitable[T]]:
        """A stage that has little to do: it is given up after `BRIEF_SECONDS`."""
        name = getattr(callback, "__qualname__", repr(callback)).removesuffix(".stop")
        self.push_bounded(name, partial(callback, *args, **kwds), at_most=BRIEF_SECONDS)
        return callback

    def push_bounded(self, name: str, stop: Callable[[], Awaitable[object]], *, at_most: float = float("inf")) -> None:
        """A stage that may take the rest of the grace, but at most so many seconds."""
        super().push_async_callback(self._grace.bounded, name, stop, at_most=at_most)

    def push_whole(self, stop: Callable[[], Awaitable[object]]) -> None:
        """A stage that has to come to its end."""
        super().push_async_callback(stop)
