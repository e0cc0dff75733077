"""The accounting equation, read from a process's own metrics: every item that came in is somewhere.

    received = stored + deduplicated + rejected + refused + dropped + spooled          for each signal and receiver
    spooled + found = stored + deduplicated + rejected + lost + waiting                for each signal, in the spool

Pure: text in, sentences out, so that any test may end with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

OUTCOMES = ("stored", "deduplicated", "rejected", "refused", "dropped", "spooled")
"""What became of received items; together they are `received`."""
SPOOL_OUTCOMES = ("stored", "deduplicated", "rejected", "lost")
"""What became of items that a spool took, or found at the start (`found`), besides those that wait."""

_RECEIVED = "ares_otel_account_items_total"
_SPOOL = "ares_otel_spool_items_total"
_WAITING = "ares_otel_spool_waiting_items"


class Door(NamedTuple):
    """Where items came in."""

    signal: str
    receiver: str
    transport: str


@dataclass(frozen=True, slots=True)
class Account:
    """The counters of one process, items each, since it started."""

    doors: Mapping[Door, Mapping[str, int]]
    """By outcome: `received` and `OUTCOMES`; what was never counted is not there."""
    spool: Mapping[str, Mapping[str, int]]
    """By signal and outcome: `spooled`, `found` and `SPOOL_OUTCOMES`."""
    waiting: Mapping[str, int]
    """By signal: items in the spool now."""

    @property
    def signals(self) -> list[str]:
        """Every signal that something was counted for."""
        return sorted({door.signal for door in self.doors} | set(self.spool) | set(self.waiting))

    def spooled(self, signal: str) -> int:
        """Items that went into the spool, as the spool counts: also those whose sender left before the answer, and
        those that two pipelines made of one."""
        return self.spool.get(signal, {}).get("spooled", 0)

    def open_items(self, door: Door) -> int:
        """Received items that have no outcome: under way, or else lost. Below 0: more outcomes than items."""
        counts = self.doors[door]
        return counts.get("received", 0) - sum(counts.get(outcome, 0) for outcome in OUTCOMES)

    def open_spool_items(self, signal: str) -> int:
        """Items that went into the spool and are neither there nor have an outcome."""
        counts = self.spool.get(signal, {})
        gone = sum(counts.get(outcome, 0) for outcome in SPOOL_OUTCOMES)
        return self.spooled(signal) + counts.get("found", 0) - gone - self.waiting.get(signal, 0)


def read_account(metrics_text: str) -> Account:
    """The account in what `/metrics` answers (Prometheus text format).

    Raises:
        ValueError: it is not that format.
    """
    doors: dict[Door, dict[str, int]] = defaultdict(dict)
    spool: dict[str, dict[str, int]] = defaultdict(dict)
    waiting: dict[str, int] = {}
    try:
        for family in text_string_to_metric_families(metrics_text):
            for sample in family.samples:
                labels, value = sample.labels, int(sample.value)
                if sample.name == _RECEIVED:
                    door = Door(labels["signal"], labels["receiver"], labels["transport"])
                    doors[door][labels["outcome"]] = value
                elif sample.name == _SPOOL:
                    spool[labels["signal"]][labels["outcome"]] = value
                elif sample.name == _WAITING:
                    waiting[labels["signal"]] = value
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"The metrics cannot be read: {error}") from error
    return Account(dict(doors), dict(spool), waiting)


def imbalances(account: Account) -> list[str]:
    """A sentence for each equation that does not hold; none when every item is accounted for."""
    found = []
    for door in sorted(account.doors):
        name = f"{door.signal} of {door.receiver} over {door.transport}"
        open_items = account.open_items(door)
        if open_items > 0:
            found.append(f"{name}: {open_items} received {_items(open_items)} no outcome: under way, or lost.")
        elif open_items < 0:
            found.append(f"{name}: {-open_items} more outcomes than received items: something was counted twice.")
        unknown = sorted(set(account.doors[door]) - {"received", *OUTCOMES})
        if unknown:
            found.append(f"{name}: the outcome {unknown[0]} is not known to this version of ares-otel.")
    for signal in account.signals:
        open_items = account.open_spool_items(signal)
        if open_items > 0:
            found.append(
                f"{signal} in the spool: {open_items} {_items(open_items)} neither an outcome nor a place: "
                "lost, or under way."
            )
        elif open_items < 0:
            found.append(
                f"{signal} in the spool: {-open_items} more came out or wait than went in: something was counted twice."
            )
    return found


def _items(number: int) -> str:
    return "item has" if number == 1 else "items have"
