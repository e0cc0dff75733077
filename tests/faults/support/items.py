"""Telemetry that carries its own proof: every item knows its run, its producer, its number and a hash of all of it."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass
from typing import Any

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from tests.support.otlp_samples import pairs

POISON = "poison"
"""Name of a span, and body of a log record, that a test makes the database refuse."""


@dataclass(frozen=True, slots=True)
class Item:
    """One span, log record or data point as it was sent."""

    producer: str
    seq: int
    payload: str
    poison: bool = False

    def digest(self, run: str) -> str:
        """What the item says of itself: anything that changes in it, or in whose it is, changes this."""
        return digest(run, self.producer, self.seq, self.payload)


@dataclass(frozen=True, slots=True)
class Request:
    """One export request: the bytes that are sent, also when they are sent again, and what is in them."""

    signal: Signal
    body: bytes
    items: tuple[Item, ...]


def digest(run: str, producer: str, seq: int, payload: str) -> str:
    """The hash of one item, as it is sent and as it is computed again from the row."""
    return hashlib.sha256(f"{run}|{producer}|{seq}|{payload}".encode()).hexdigest()[:32]


def service_name(run: str) -> str:
    """The service under which a run's telemetry is found."""
    return f"fault-{run}"


class Maker:
    """Makes the requests of one producer. The same seed makes the same payloads."""

    def __init__(self, run: str, producer: str, *, seed: int = 0, time_ns: int | None = None) -> None:
        """`time_ns`: the event time of every item, nanoseconds since 1970; now when not given."""
        self._run = run
        self._producer = producer
        self._random = random.Random(f"{seed}/{producer}")
        self._time_ns = time_ns
        self._next = 0

    def request(self, signal: Signal, count: int, *, poison: frozenset[int] = frozenset(), size: int = 24) -> Request:
        """A request of `count` new items; those at the places in `poison` are ones that the database will refuse.

        `size`: characters of each payload.
        """
        items = tuple(
            Item(self._producer, self._next + place, self._random.randbytes(size // 2).hex(), place in poison)
            for place in range(count)
        )
        self._next += count
        return Request(signal, _message(signal, self._run, items, self._time_ns).SerializeToString(), items)


def _message(signal: Signal, run: str, items: tuple[Item, ...], time_ns: int | None) -> Any:
    message = signal.request()
    groups = {TRACES: "resource_spans", LOGS: "resource_logs", METRICS: "resource_metrics"}
    group = getattr(message, groups[signal]).add()
    group.resource.attributes.extend(pairs({"service.name": service_name(run)}))
    now = time_ns or time.time_ns()
    for item in items:
        _ADD[signal](group, run, item, now)
    return message


def attributes_of(run: str, item: Item) -> dict[str, Any]:
    """The attributes that every item carries."""
    return {
        "fault.run": run,
        "fault.producer": item.producer,
        "fault.seq": item.seq,
        "fault.payload": item.payload,
        "fault.hash": item.digest(run),
    }


def _add_span(group: Any, run: str, item: Item, now: int) -> None:
    scope = group.scope_spans[0] if group.scope_spans else group.scope_spans.add()
    digest = bytes.fromhex(item.digest(run))
    span = scope.spans.add(name=POISON if item.poison else "work", trace_id=digest, span_id=digest[:8])
    span.start_time_unix_nano, span.end_time_unix_nano = now, now + 1_000_000
    span.attributes.extend(pairs(attributes_of(run, item)))


def _add_record(group: Any, run: str, item: Item, now: int) -> None:
    scope = group.scope_logs[0] if group.scope_logs else group.scope_logs.add()
    record = scope.log_records.add(time_unix_nano=now, severity_number=9)
    record.body.string_value = POISON if item.poison else "work"
    record.attributes.extend(pairs(attributes_of(run, item)))


def _add_point(group: Any, run: str, item: Item, now: int) -> None:
    scope = group.scope_metrics[0] if group.scope_metrics else group.scope_metrics.add()
    metric = scope.metrics[0] if scope.metrics else scope.metrics.add(name="work")
    point = metric.gauge.data_points.add(time_unix_nano=now, as_int=item.seq)
    point.attributes.extend(pairs(attributes_of(run, item)))


_ADD = {TRACES: _add_span, LOGS: _add_record, METRICS: _add_point}
