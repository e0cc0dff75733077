"""What clients are told, from memory.

Settings are there already (`settings.py`). What a service does, and the probabilities that were computed for it, are
read when somebody asks for a service that needs them, all that are wanted in one statement, and again every few seconds
while somebody asks. Asking creates nothing: names that nobody has set anything for share one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import asyncpg

from ares_otel.control.sampling import facts
from ares_otel.control.sampling.settings import SamplingSettings
from ares_otel.control.sampling.strategy import NOTHING, Strategy
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.tasks import end_task
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.storage.complaints import Complaints

DEFAULT_RATIO = 1.0
"""For services without settings: what SDKs do that nobody has told anything."""
MAX_SERVICES = 10_000
"""Services of which it is remembered what they do; those that nobody has asked for longest are forgotten."""
REFRESH = 5.0
"""Seconds after which what a service does is read again, when somebody asks."""
PATIENCE = 2.0
"""Seconds that the first answer to a service waits for what is known of it."""
ON_THE_LOOP = 10_000
"""Rules times operations of an answer; of more it is made on a thread."""
AT_ONCE = 100
"""Services of one statement."""
PAUSE = 0.02
"""Seconds in which the wishes of many clients are collected."""

log = logging.getLogger("ares_otel.control.sampling")


@dataclass(slots=True)
class _Known:
    """What was read of one service, and the answer that follows."""

    facts: facts.Facts = field(default_factory=facts.Facts)
    read_at: float = float("-inf")
    read_number: int = 0
    """Of the read that the facts are from."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    strategy: Strategy | None = None


class Strategies:
    """The strategy of every service. Bounded, whatever names are asked for."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        settings: SamplingSettings,
        *,
        default_ratio: Callable[[], float] = lambda: DEFAULT_RATIO,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """
        Args:
            pool: connections for reads.
            settings: started and stopped by the caller.
            default_ratio: for services without a ratio of their own; call `default_changed` when it gives another one.
        """
        self._pool = pool
        self._default_ratio = default_ratio
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._simple: OrderedDict[str, Strategy] = OrderedDict()
        self._default = NOTHING.strategy(default_ratio())
        self._wanted: set[str] = set()
        self._reads = count(1)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._complaints = Complaints(log, clock)
        self.settings = settings
        settings.on_change = self._changed

    async def start(self) -> None:
        """Begins to read what is asked for."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_reading(), name="sampling strategies")

    async def stop(self) -> None:
        """Ends; answers go on with what is known. Safe without `start` and twice."""
        task, self._task = self._task, None
        await end_task(task)

    async def sampling_strategy(self, service: str) -> Strategy:
        """What a client of the service is told. Never fails: while the database is away it is what was known last, or
        what follows from settings alone."""
        wishes = self.settings.of(service)
        if wishes is NOTHING:
            return self._default
        if not wishes.needs_operations:
            return self._simple_strategy(service)
        known = self._known.get(service)
        if known is None:
            known = self._known[service] = _Known()
            if len(self._known) > MAX_SERVICES:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(service)
        if self._clock.monotonic() - known.read_at > REFRESH and self._task is not None:
            self._wanted.add(service)
            self._wake.set()
            if not known.arrived.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await known.arrived.wait()
        strategy = known.strategy
        if strategy is None:
            seen = known.facts
            make = partial(wishes.strategy, self._default_ratio(), seen.kinds, seen.computed)
            large = len(wishes.rules) * len(seen.kinds) > ON_THE_LOOP
            strategy = await asyncio.to_thread(make) if large else make()
            if known.facts is seen and self.settings.of(service) is wishes:
                known.strategy = strategy
        return strategy

    def default_ratio(self) -> float:
        """The ratio for services that have none of their own."""
        return self._default_ratio()

    def default_changed(self) -> None:
        """`default_ratio` gives another value now."""
        self._default = NOTHING.strategy(self._default_ratio())
        self._simple.clear()
        for known in self._known.values():
            known.strategy = None

    async def reload(self, services: Collection[str]) -> None:
        """Reads again what is known of these services, as far as somebody asks for them: now, or when the database is
        there again."""
        with contextlib.suppress(DatabaseUnavailable, QueryTooSlow):
            await self._read([service for service in services if service in self._known])

    def _simple_strategy(self, service: str) -> Strategy:
        strategy = self._simple.get(service)
        if strategy is None:
            strategy = self._simple[service] = self.settings.of(service).strategy(self._default_ratio())
            if len(self._simple) > MAX_SERVICES:
                self._simple.popitem(last=False)
        return strategy

    def _changed(self, services: Collection[str]) -> None:
        for service in services:
            self._simple.pop(service, None)
            known = self._known.get(service)
            if known is not None:
                known.strategy = None

    async def _keep_reading(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(PAUSE)
            self._wake.clear()
            wanted, self._wanted = sorted(self._wanted), set()
            try:
                await self._read(wanted)
            except (DatabaseUnavailable, QueryTooSlow) as error:
                self._complaints.about(
                    "read", f"What services do cannot be read for sampling ({type(error).__name__}); answers go on."
                )
            except Exception:
                log.exception("What services do could not be read for sampling; answers go on.")
            now = self._clock.monotonic()
            for service in wanted:  # also those that could not be read: they wait for their next turn
                if (known := self._known.get(service)) is not None:
                    known.read_at = now
                    known.arrived.set()

    async def _read(self, services: Collection[str]) -> None:
        names = list(services)
        for start in range(0, len(names), AT_ONCE):
            part = names[start : start + AT_ONCE]
            number = next(self._reads)
            found: Mapping[str, facts.Facts] = await facts.find(self._pool, part)
            now = self._clock.monotonic()
            for service in part:
                known = self._known.get(service)
                if known is not None and number > known.read_number:  # not a slow one that began before the last write
                    known.read_number = number
                    if found[service] != known.facts:
                        known.facts, known.strategy = found[service], None
                    known.read_at = now
                    known.arrived.set()
