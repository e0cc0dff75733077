"""One worker a process and database: takes from the outboxes of its exporters, and stores."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import AresError, Rejected, StartError, Unavailable
from ares_otel.sdk.background import Background
from ares_otel.sdk.direct.aside import TRIES, set_aside_parcel
from ares_otel.sdk.direct.database import DirectStore, explain, open_store
from ares_otel.sdk.direct.outbox import Outbox, Parcel
from ares_otel.sdk.direct.voice import THREAD, Voice, quiet_storage
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.writer import NotTaken

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
"""Seconds until the next attempt after a failure; twice as long each time."""
LAST_SECONDS = 1.0
"""What the end of the thread may take after everything was stored or given up."""

log = logging.getLogger("ares_otel.sdk.direct")

_stores_of_parents: list[DirectStore | None] = []
"""Never collected in the child of a fork: their sockets are the parent's."""


class Worker:
    """A thread with a loop and a store, both made when the first batch comes. Thread-safe."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._background = Background(THREAD, self._forked)
        self._boxes: set[Outbox] = set()
        self._fresh()

    def _fresh(self) -> None:
        self._lock = threading.Lock()
        self._store: DirectStore | None = None
        self._opening: asyncio.Task[DirectStore] | None = None
        self._voice = Voice()
        self._silent = False
        """Whether the database let somebody wait in vain: then the next one waits less."""

    def _forked(self) -> None:
        _stores_of_parents.append(self._store)
        self._fresh()
        for box in self._boxes:
            box.reset()
        self._boxes = set()

    def put(self, box: Outbox, payload: bytes, items: int) -> bool:
        """Hands a batch over; False when it was dropped. Does not wait for anything."""
        if not box.served:
            with self._lock:
                if not box.served and not box.closing:
                    box.served = True
                    self._boxes.add(box)
                    self._background.submit(partial(self._serve, box))
        taken = box.put(payload, items)
        self._background.call_soon(box.on_arrival if taken else partial(self._say_drops, box))
        return taken

    def flush(self, box: Outbox, timeout: float) -> bool:
        """Waits until what was handed over has an answer, `timeout` seconds at most; True when all of it was stored."""
        if box.is_empty:
            return True
        self._background.call_soon(box.on_hurry)
        return box.wait(0 if self._background.here else timeout)

    def close(self, box: Outbox, timeout: float) -> bool:
        """Stores what is left, within `timeout` seconds, and gives up the rest; True when nothing was lost. The last
        outbox ends the thread and the connections."""
        deadline = time.monotonic() + timeout
        box.closing = True
        if self._silent:
            timeout = min(timeout, 0.5)
        done = self.flush(box, timeout)
        if not box.is_empty:
            self._silent = True
            box.drop_all()
        self._voice.drops(box.signal, box.tally, last=True)
        with self._lock:
            self._boxes.discard(box)
            last = box.served and not self._boxes
        if last and not self._background.here:
            self._end(deadline)
        return done

    def _end(self, deadline: float) -> None:
        if not self._silent:
            ended = self._background.submit(self._stop_store)
            with contextlib.suppress(FutureTimeout):
                ended.result(max(0.0, min(deadline - time.monotonic(), LAST_SECONDS)))
        store = self._store
        if store is not None:
            self._background.call_soon(store.cut_off)
        self._background.stop(LAST_SECONDS)
        self._store = self._opening = None
        self._silent = False

    async def _stop_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            try:
                await store.stop()
            finally:
                store.cut_off()

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
                try:
                    problem = await self._round(box)
                except Exception:
                    log.exception("Telemetry could not be stored for a reason that is not the database's.")
                    problem = "See the error above."
                if problem is None:
                    failures = 0
                    self._silent = False
                    self._voice.back()
                    continue
                failures += 1
                box.drop_expired()
                await self._complain(problem, box)
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
        """Stores some batches; a sentence when the database does not take any."""
        try:
            store = await self._opened()
        except StartError as error:
            return error.message
        except DATABASE_ERRORS as error:
            return f"The database went away: {error}"
        parcels = box.take()
        store.breakers[box.signal].close()  # nobody else looks whether the database takes data again
        tasks = [asyncio.ensure_future(store.consume(parcel.batch)) for parcel in parcels]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            box.give_back(parcels)
            raise
        problem = None
        again: list[Parcel] = []
        for parcel, result in zip(parcels, results, strict=True):
            if isinstance(result, Accepted):
                box.stored(parcel, result.stored + result.deduplicated, result.rejected)
                continue
            again.append(parcel)
            if isinstance(result, Unavailable):
                problem = result.message
            else:
                await self._try_later(store, box, parcel, result)
        box.give_back(again)
        if problem is None and again and box.closing:
            return "The process ends."
        return problem

    async def _try_later(self, store: DirectStore, box: Outbox, parcel: Parcel, error: BaseException) -> None:
        """The batch itself may be the reason: the others go on."""
        parcel.tries += 1
        parcel.due = time.monotonic() + min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(10, parcel.tries - 1))
        if not isinstance(error, AresError):
            log.error("A batch of telemetry could not be stored, for an unexpected reason.", exc_info=error)
        if isinstance(error, Rejected) or (
            parcel.tries >= TRIES and (isinstance(error, NotTaken) or not isinstance(error, AresError))
        ):
            with contextlib.suppress(*DATABASE_ERRORS):
                await set_aside_parcel(store, parcel, error)
                box.stored(parcel, 0, parcel.items)

    async def _opened(self) -> DirectStore:
        """The store; of several who want it while there is none, one opens it."""
        if self._store is None:
            if self._opening is None:
                self._opening = asyncio.create_task(open_store(self._url), name="open the database")
            opening = self._opening
            try:
                self._store = await asyncio.shield(opening)
            finally:
                if opening.done() and self._opening is opening:
                    self._opening = None
        return self._store

    async def _complain(self, problem: str, box: Outbox) -> None:
        if self._store is not None and self._voice.wants_a_sentence and not box.closing:
            problem = await explain(self._url) or problem
        self._voice.away(problem)

    def _say_drops(self, box: Outbox) -> None:
        """The loop's."""
        wait = self._voice.drops(box.signal, box.tally)
        if wait is not None and not box.saying:
            box.saying = True

            def later() -> None:
                box.saying = False
                self._voice.drops(box.signal, box.tally)

            asyncio.get_running_loop().call_later(wait, later)


_workers: dict[str, Worker] = {}


def worker_for(url: str) -> Worker:
    """The process's worker for a database; made by the first who asks, and does nothing until something is handed to
    it."""
    quiet_storage()
    return _workers.setdefault(url, Worker(url))
