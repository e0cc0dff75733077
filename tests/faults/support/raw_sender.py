"""A raw client that knows exactly what it was told, and that repeats the very same bytes until it is told something."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ares_otel.model.signal import METRICS, SIGNALS, Signal
from tests.faults.support.answers import Answer, Door, GrpcDoor, HttpDoor, WriteDoor
from tests.faults.support.items import Maker
from tests.faults.support.oracle import Oracle, State, Told

Protocol = Literal["grpc", "http", "write"]
PAUSE = 0.05
"""Seconds until a request that found nobody is sent again. Shorter than the delay that receivers ask for, on purpose:
these are impatient senders."""


_DOORS: dict[Protocol, type[GrpcDoor | HttpDoor | WriteDoor]] = {
    "grpc": GrpcDoor,
    "http": HttpDoor,
    "write": WriteDoor,
}


@dataclass(frozen=True, slots=True)
class Doors:
    """Where Ares listens, `HOST:PORT`; several processes on one database have several of each."""

    grpc: tuple[str, ...]
    http: tuple[str, ...]
    write: tuple[str, ...] = ()
    """Of remote write: the HTTP API."""


@dataclass
class Heard:
    """What a sender heard, counted, and what it has to complain about."""

    answers: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    repeated: int = 0
    """Requests that were sent once more after their answer."""
    refused_after: list[float] = field(default_factory=list)
    """Seconds until "try again later" was said, each time."""


class RawSender(threading.Thread):
    """Sends different requests, one after the other, until it is stopped; each until it is answered."""

    def __init__(
        self,
        oracle: Oracle,
        doors: Doors,
        name: str,
        *,
        protocol: Protocol = "grpc",
        signals: Sequence[Signal] = tuple(SIGNALS.values()),
        items: int = 20,
        size: int = 24,
        repeat_every: int = 5,
        attempt_seconds: float = 10.0,
        give_up_seconds: float = 60.0,
        most: int | None = None,
        poison_every: int = 0,
        time_ns: int | None = None,
        pause: float = 0.0,
    ) -> None:
        """
        Args:
            items: items of each request; `size`: characters of each one's payload.
            repeat_every: each so manieth request is sent once more after its answer, and has to be answered as before.
            attempt_seconds: how long one attempt waits for its answer.
            give_up_seconds: after so long without an answer a request counts as unknown.
            most: requests to send at most; without a bound when not given.
            poison_every: each so manieth request holds one item that the database will refuse.
            time_ns: event time of the items, now when not given.
            pause: seconds between an answer and the next request.
        """
        super().__init__(name=name, daemon=True)
        self.heard = Heard()
        self.idle = threading.Event()
        """Set when the sender has stopped by itself: it sent `most` requests."""
        self._oracle = oracle
        self._signals = itertools.cycle((METRICS,) if protocol == "write" else signals)
        self._maker = Maker(oracle.run, name, time_ns=time_ns)
        self._items, self._size, self._most = items, size, most
        self._repeat_every, self._poison_every = repeat_every, poison_every
        self._attempt_seconds, self._give_up_seconds = attempt_seconds, give_up_seconds
        made = _DOORS[protocol]
        self._doors: list[Door] = [made(address) for address in getattr(doors, protocol)]
        self._turn = 0
        self._pause = pause
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """Asks the sender to end after the request that is under way; `join` waits for that."""
        self._stop_asked.set()

    def run(self) -> None:
        for number in itertools.count(1):
            if self._stop_asked.is_set() or (self._most is not None and number > self._most):
                break
            poison = self._poison_every and number % self._poison_every == 0
            places = frozenset({self._items // 2}) if poison else frozenset[int]()
            request = self._maker.request(next(self._signals), self._items, poison=places, size=self._size)
            answer = self.deliver(self._oracle.sends(request))
            if answer.state is State.ACKNOWLEDGED and self._repeat_every and number % self._repeat_every == 0:
                self._repeat(Told(request), answer)
            self._stop_asked.wait(self._pause)
        for door in self._doors:
            door.close()
        self.idle.set()

    def deliver(self, told: Told) -> Answer:
        """Sends a request until it is answered, or for `give_up_seconds`; notes the answer with the oracle."""
        answer = self._until_answered(told)
        self._oracle.hears(told, answer.state, answer.rejected)
        return answer

    def _repeat(self, told: Told, first: Answer) -> None:
        """A sender whose answer got lost sends again; it has to hear what it would have heard the first time."""
        again = self._until_answered(told)
        self.heard.repeated += 1
        if again.state is not State.UNKNOWN and again != first:
            self.heard.complaints.append(f"{self.name}: a retry was answered {again}, and the first time {first}")

    def _until_answered(self, told: Told) -> Answer:
        deadline = time.monotonic() + self._give_up_seconds
        self._turn += 1  # with several doors, the next request goes to the next one
        while True:
            told.attempts += 1
            began = time.monotonic()
            answer = self._doors[self._turn % len(self._doors)].send(told.request, self._attempt_seconds)
            self.heard.answers[answer.reason.partition(":")[0] if answer.state is State.UNKNOWN else "answered"] += 1
            if answer.said_later:
                self.heard.refused_after.append(time.monotonic() - began)
            if answer.complaint:
                self.heard.complaints.append(f"{self.name}: {answer.complaint}")
            if answer.state is not State.UNKNOWN or time.monotonic() > deadline:
                return answer
            self._turn += 1
            time.sleep(PAUSE)
