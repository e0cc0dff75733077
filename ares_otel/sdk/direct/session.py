"""A thread with a loop and a store, and what goes on there: batches are taken from the outboxes and stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import AresError, Rejected, StartError, Unavailable
from ares_otel.sdk.background import Background
from ares_otel.sdk.direct.aside import TRIES, set_aside_parcel
from ares_otel.sdk.direct.database import DirectStore, explain, open_store
from ares_otel.sdk.direct.outbox import Outbox, Parcel
from ares_otel.sdk.direct.stats import EXPIRED
from ares_otel.sdk.direct.voice import THREAD, Voice
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.writer import NotTaken

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
"""Seconds until the next attempt after a failure; twice as long each time."""
LAST_SECONDS = 1.0
"""What the end of the thread may take after everything was stored or given up."""

log = logging.getLogger("ares_otel.sdk.direct")


class Session:
    """From the first batch to the shutdown of the last exporter."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._background = Background(THREAD)
        self._store: DirectStore | None = None
        self._opening: asyncio.Task[DirectStore] | None = None
        self._explaining: asyncio.Task[None] | None = None
        self.voice = Voice()
        self.stored_at = float("-inf")
        """When the database last took something, by `time.monotonic()`."""

    @property
    def here(self) -> bool:
        """Whether this is its thread, which must not wait for itself."""
        return self._background.here

    def serve(self, box: Outbox) -> None:
        """Begins to store what comes into an outbox. Does not wait."""
        self._background.submit(partial(self._serve, box))

    def wake(self, box: Outbox) -> None:
        """Something came into it."""
        self._background.call_soon(box.on_arrival)

    def hurry(self, box: Outbox) -> None:
        """Somebody waits for it."""
        self._background.call_soon(box.on_hurry)

    def say_drops(self, box: Outbox) -> None:
        """Something of it was dropped."""
        self._background.call_soon(partial(self._say_drops, box))

    def end(self, timeout: float) -> None:
        """Ends the thread and the connections, in `timeout` seconds and a moment at most; without a goodbye to the
        database where that is 0."""
        if timeout > 0:
            ended = self._background.submit(self._stop_store)
            with contextlib.suppress(FutureTimeout):
                ended.result(min(timeout, LAST_SECONDS))
        store = self._store
        if store is not None:
            self._background.call_soon(store.cut_off)
        self._background.stop(LAST_SECONDS)

    async def _stop_store(self) -> None:
        if self._store is not None:
            try:
                await self._store.stop()
            finally:
                self._store.cut_off()

    async def _serve(self, box: Outbox) -> None:
        """Stores what comes into an outbox, until it is closed and empty."""
        failures = 0
        with box.events() as (arrived, hurry):
            while not (box.closing and box.is_empty):
                arrived.clear()
                due = box.seconds_until_due()
                if due is None or due > 0:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(due):
                            await arrived.wait()
                    continue
                problem = await self._round(box)
                if problem is None:
                    failures = 0
                    self.stored_at = time.monotonic()
                    self.voice.back()
                    continue
                failures += 1
                box.drop_expired()
                self._complain(problem, box)
                if box.closing:
                    box.drop_all()
                    break
                self._say_drops(box)
                delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(10, failures - 1)) * random.uniform(0.8, 1.2)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await hurry.wait()
                        failures = 0
                hurry.clear()

    async def _round(self, box: Outbox) -> str | None:
        """Stores some batches; a sentence when the database takes nothing."""
        try:
            store = await self._opened()
        except StartError as error:
            return error.message
        except DATABASE_ERRORS as error:
            return f"The database went away: {error}"
        parcels = box.take()
        try:
            return await self._store_all(store, box, parcels)
        except Exception:
            log.exception("Telemetry could not be stored, for a reason that is not the database's.")
            return "See the error above."
        finally:
            box.give_back(parcels)  # those that have no answer

    async def _store_all(self, store: DirectStore, box: Outbox, parcels: list[Parcel]) -> str | None:
        store.breakers[box.signal].close()  # nobody else looks whether the database takes data again
        results = await asyncio.gather(*(store.consume(parcel.batch) for parcel in parcels), return_exceptions=True)
        problem = None
        for parcel, result in zip(parcels, results, strict=True):
            if isinstance(result, Accepted):
                box.stored(parcel, result.stored + result.deduplicated, result.rejected)
            elif isinstance(result, Unavailable):
                problem = result.message
            else:
                await self._try_later(store, box, parcel, result)
                if box.closing:
                    problem = problem or "The process ends."
        return problem

    async def _try_later(self, store: DirectStore, box: Outbox, parcel: Parcel, error: BaseException) -> None:
        """The batch itself may be the reason: the others go on."""
        parcel.tries += 1
        parcel.due = time.monotonic() + min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(10, parcel.tries - 1))
        if not isinstance(error, AresError):
            log.error("A batch of telemetry could not be stored, for an unexpected reason.", exc_info=error)
        suspicious = isinstance(error, NotTaken) or not isinstance(error, AresError)
        if isinstance(error, Rejected) or (suspicious and parcel.tries >= TRIES):
            with contextlib.suppress(*DATABASE_ERRORS):
                await set_aside_parcel(store, parcel, error)
                box.stored(parcel, 0, parcel.items)
        if parcel.born + box.bounds.retry_seconds < time.monotonic():
            box.drop(parcel, EXPIRED)
            self._say_drops(box)

    async def _opened(self) -> DirectStore:
        """The store; of several who want it while there is none, one opens it."""
        if self._store is None:
            if self._opening is None:
                self._opening = asyncio.create_task(open_store(self._url), name="open the database")
            opening = self._opening
            try:
                self._store = await asyncio.shield(opening)
            finally:
                if opening.done():
                    self._opening = None
        return self._store

    def _complain(self, problem: str, box: Outbox) -> None:
        """Says it; where the store was open before, after a look at the database: it may know better what is wrong."""
        if box.closing:
            if not box.is_empty:
                self.voice.away_at_the_end(problem)
        elif self._store is None:
            self.voice.away(problem)
        elif self.voice.wants_a_sentence and self._explaining is None:
            self._explaining = asyncio.create_task(self._explain(problem), name="explain")

    async def _explain(self, problem: str) -> None:
        try:
            self.voice.away(await explain(self._url) or problem)
        finally:
            self._explaining = None

    def _say_drops(self, box: Outbox) -> None:
        wait = self.voice.drops(box.signal, box.tally)
        if wait is not None and not box.saying:
            box.saying = True

            def later() -> None:
                box.saying = False
                self.voice.drops(box.signal, box.tally)

            asyncio.get_running_loop().call_later(wait, later)
