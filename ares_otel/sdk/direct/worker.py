"""One worker a process and database: what the exporters talk to."""

from __future__ import annotations

import os
import threading
import time

from ares_otel.sdk.direct.outbox import Outbox
from ares_otel.sdk.direct.session import Session
from ares_otel.sdk.direct.voice import quiet_storage

IMPATIENCE = 0.5
"""Seconds that an outbox is waited for at the end, after another one was waited for in vain."""


class Worker:
    """Hands batches of all its exporters to one session, which begins with the first batch. Thread-safe."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._boxes: set[Outbox] = set()
        self._session: Session | None = None
        self._silent_at = float("-inf")
        """When somebody last waited in vain at the end, by `time.monotonic()`."""

    def put(self, box: Outbox, payload: bytes, items: int) -> bool:
        """Hands a batch over; False when it was dropped. Does not wait for anything."""
        session = box.session or self._begin(box)
        taken = box.put(payload, items)
        if session is not None:
            (session.wake if taken else session.say_drops)(box)
        return taken

    def refuse(self, box: Outbox, items: int, reason: str) -> None:
        """Counts what never became a batch, and has it said."""
        box.refuse(items, reason)
        session = box.session or self._begin(box)
        if session is not None:
            session.say_drops(box)

    def flush(self, box: Outbox, timeout: float) -> bool:
        """Waits until what was handed over has an answer, `timeout` seconds at most; True when all of it was stored."""
        session = box.session
        if box.is_empty or session is None:
            return True
        session.hurry(box)
        return box.wait(0 if session.here else timeout)

    def close(self, box: Outbox, timeout: float) -> bool:
        """Stores what is left, within `timeout` seconds, and gives up the rest; True when nothing was lost. The last
        outbox ends the session."""
        deadline = time.monotonic() + timeout
        box.closing = True
        session = box.session
        if session is None:
            return True
        silent = self._silent_at > session.stored_at
        done = self.flush(box, min(timeout, IMPATIENCE) if silent else timeout)
        if not box.is_empty:
            silent = True
            self._silent_at = time.monotonic()
            box.drop_all()
        session.hurry(box)  # its end
        session.voice.drops(box.signal, box.tally, last=True)
        with self._lock:
            self._boxes.discard(box)
            last = not self._boxes and self._session is session
            if last:
                self._session = None
        if last and not session.here:
            session.end(0 if silent else deadline - time.monotonic())
        return done

    def _begin(self, box: Outbox) -> Session | None:
        with self._lock:
            if box.session is None and not box.closing:
                if self._session is None:
                    self._session = Session(self._url)
                box.session = self._session
                self._boxes.add(box)
                self._session.serve(box)
            return box.session

    def forked(self) -> None:
        """This is the child of a fork: what there is belongs to the parent, and its sockets must not be touched."""
        _of_parents.append(self._session)
        self._lock = threading.Lock()  # the old one may have been held by a thread that is not here
        self._session = None
        for box in self._boxes:
            box.reset()
        self._boxes = set()


_workers: dict[str, Worker] = {}
_of_parents: list[Session | None] = []
"""Kept from being collected in the child of a fork."""


def worker_for(url: str) -> Worker:
    """The process's worker for a database; it does nothing until something is handed to it."""
    quiet_storage()
    return _workers.setdefault(url, Worker(url))


def _all_forked() -> None:
    for worker in _workers.values():
        worker.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)
