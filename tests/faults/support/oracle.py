"""The oracle: knows of every item what its sender was promised, and compares that with the tables afterwards."""

from __future__ import annotations

import enum
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import asyncpg

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from tests.faults.support.items import Item, Request, digest, service_name

SHOWN = 5
"""Examples of each kind of difference that a failed comparison shows."""


class State(enum.Enum):
    """What the sender of a request knows."""

    SENT = "sent"
    """It has no answer yet."""
    ACKNOWLEDGED = "acknowledged"
    """It was told OK, perhaps with some items rejected: the rest is stored exactly once."""
    REFUSED = "refused"
    """It was told that the data is wrong and that sending it again cannot help: nothing of it is stored."""
    UNKNOWN = "unknown"
    """It gave up without an answer, or after "try again later": stored once or not at all."""


@dataclass(slots=True)
class Told:
    """One request and what its sender was told about it."""

    request: Request
    state: State = State.SENT
    rejected: int = 0
    """Items of the partial success."""
    attempts: int = 0


@dataclass
class Totals:
    """The row of a case in the table of docs/reliability.md: numbers of items."""

    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    stored: int = 0
    doubled: int = 0
    lost: int = 0


@dataclass
class Differences:
    """Where the tables and the promises disagree, in sentences; empty when they agree."""

    found: list[str] = field(default_factory=list)

    def add(self, what: str, examples: Iterable[object]) -> None:
        """Notes a kind of difference, when there is an example of it."""
        listed = [str(example) for example in examples]
        if listed:
            more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            self.found.append(f"{what} ({len(listed)}): {', '.join(listed[:SHOWN])}{more}")


_ROWS: dict[Signal, str] = {
    TRACES: "SELECT attributes AS a, operation_name AS name FROM service_spans WHERE service_name = $1",
    LOGS: "SELECT metadata AS a, message AS name FROM service_logs WHERE service_name = $1",
    METRICS: "SELECT labels AS a, metric_value::bigint::text AS name FROM service_metrics WHERE service_name = $1",
}
_FIELDS = (
    "SELECT a->>'fault.run' AS run, a->>'fault.producer' AS producer, (a->>'fault.seq')::bigint AS seq, "
    "a->>'fault.payload' AS payload, a->>'fault.hash' AS hash, name FROM ({rows}) AS found"
)


class Oracle:
    """What was promised in one run. Safe to use from many threads."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:12]
        self.service = service_name(self.run)
        self.rejected_later = False
        """Whether poison may be acknowledged (from a spool) and set aside later."""
        self._told: list[Told] = []
        self._lock = threading.Lock()
        self._acknowledged = 0

    def sends(self, request: Request) -> Told:
        """Notes a request before it is sent for the first time. Its sender writes what it hears into the answer."""
        told = Told(request)
        with self._lock:
            self._told.append(told)
        return told

    def hears(self, told: Told, state: State, rejected: int = 0) -> None:
        """Notes the answer to a request."""
        with self._lock:
            told.state, told.rejected = state, rejected
            if state is State.ACKNOWLEDGED:
                self._acknowledged += len(told.request.items) - rejected

    @property
    def acknowledged(self) -> int:
        """Items that were acknowledged so far."""
        return self._acknowledged

    def requests(self) -> list[Told]:
        """All requests so far, in the order in which they were first sent."""
        with self._lock:
            return list(self._told)

    async def compare(self, url: str) -> tuple[Totals, Differences]:
        """Compares the promises with the tables of a database."""
        connection = await asyncpg.connect(url)
        try:
            rows = {
                signal: await connection.fetch(_FIELDS.format(rows=sql), self.service) for signal, sql in _ROWS.items()
            }
        finally:
            await connection.close()
        totals, differences = Totals(), Differences()
        for signal, found in rows.items():
            self._compare(signal, found, totals, differences)
        return totals, differences

    def _compare(self, signal: Signal, rows: list[asyncpg.Record], totals: Totals, differences: Differences) -> None:
        stored = Counter((row["producer"], row["seq"]) for row in rows)
        told = [one for one in self.requests() if one.request.signal is signal]
        sent = {(item.producer, item.seq): item for one in told for item in one.request.items}
        doubled = [f"{key} × {count}" for key, count in stored.items() if count > 1]
        lost: list[str] = []
        wrong: list[str] = []
        for one in told:
            have = [item for item in one.request.items if (item.producer, item.seq) in stored]
            promised, told_wrong = self._promise(one)
            lost += [f"{item.producer}/{item.seq}" for item in promised if (item.producer, item.seq) not in stored]
            if told_wrong:
                wrong.append(told_wrong)
            if one.state is State.REFUSED:
                wrong += [f"{item.producer}/{item.seq} was refused and is stored" for item in have]
            wrong += [f"{item.producer}/{item.seq} was poison and is stored" for item in have if item.poison]
            if one.state is State.UNKNOWN and 0 < len(have) < len(_good(one.request.items)):
                wrong.append(f"{have[0].producer}/{have[0].seq} and on: {len(have)} of {len(one.request.items)} stored")
            totals.sent += len(one.request.items)
            if one.state is State.ACKNOWLEDGED:
                good = len(_good(one.request.items))
                totals.acknowledged += len(one.request.items) - one.rejected
                totals.rejected += len(one.request.items) - good
        totals.stored += len(rows)
        totals.doubled += sum(count - 1 for count in stored.values())
        totals.lost += len(lost)
        differences.add(f"{signal}: acknowledged and not stored", lost)
        differences.add(f"{signal}: stored more than once", doubled)
        differences.add(f"{signal}: stored and never sent", [key for key in stored if key not in sent])
        differences.add(f"{signal}: not what was promised", wrong)
        differences.add(f"{signal}: changed on the way", _changed(self.run, signal, rows, sent))
        differences.add(
            f"{signal}: still without an answer", [one.request.items[0] for one in told if one.state is State.SENT]
        )

    def _promise(self, told: Told) -> tuple[list[Item], str]:
        """The items that have to be stored, and what is wrong with the answer itself."""
        if told.state is not State.ACKNOWLEDGED:
            return [], ""
        good = _good(told.request.items)
        poison = len(told.request.items) - len(good)
        if told.rejected == poison or (self.rejected_later and told.rejected == 0):
            return good, ""
        first = told.request.items[0]
        return good, f"{first.producer}/{first.seq}: told {told.rejected} of {poison} poison"

    async def forgives(self, url: str, signal: Signal) -> int:
        """Counts requests of a signal of which nothing is stored as unknown: for damage that nobody can prevent.
        Returns the number of their items."""
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(_FIELDS.format(rows=_ROWS[signal]), self.service)
        finally:
            await connection.close()
        stored = {(row["producer"], row["seq"]) for row in rows}
        gone = 0
        for one in self.requests():
            if one.request.signal is signal and not any((i.producer, i.seq) in stored for i in one.request.items):
                one.state = State.UNKNOWN
                gone += len(one.request.items)
        return gone


def _good(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if not item.poison]


def _changed(run: str, signal: Signal, rows: list[asyncpg.Record], sent: dict[tuple[str, int], Item]) -> Iterable[str]:
    for row in rows:
        key = (row["producer"], row["seq"])
        if key not in sent:
            continue
        again = digest(row["run"], row["producer"], row["seq"], row["payload"])
        name = str(row["seq"]) if signal is METRICS else "work"
        if not (again == row["hash"] == sent[key].digest(run) and row["name"] == name):
            yield f"{key}"
