"""Own metrics of several processes as one: what `/metrics` shows when there are workers.

Counters and histograms are added up. A gauge is added up too, unless the table in `telemetry.py` says that the largest
one tells the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from ares_otel.pipeline.telemetry import INSTRUMENTS

Snapshot = Sequence[tuple[str, Sequence[tuple[str, dict[str, str], str]]]]
"""Family → samples (name, labels, value as text), as it goes from a worker to the supervisor."""

_Key = tuple[str, tuple[tuple[str, str], ...]]
_ACCOUNT, _SPOOL = "ares_otel_account_items", "ares_otel_spool_items"
_BORN = "_created"
"""Ends the sample that says since when a counter counts."""


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """The figures of this process."""
    return [
        (family.name, [(sample.name, dict(sample.labels), repr(float(sample.value))) for sample in family.samples])
        for family in registry.collect()
    ]


class MergedMetrics:
    """What `prometheus_client` writes out: the figures of a registry, with those of other processes added."""

    def __init__(self, registry: CollectorRegistry, others: Iterable[Snapshot]) -> None:
        self._registry = registry
        self._others = list(others)

    def collect(self) -> Iterable[Metric]:
        """Every family of the registry. Families that only another process has are of another version, and left out."""
        added = [dict(other) for other in self._others]
        for family in self._registry.collect():
            merged = Metric(family.name, family.documentation, family.type, family.unit)
            values: dict[_Key, float] = {}
            own = [(sample.name, sample.labels, sample.value) for sample in family.samples]
            theirs = [
                (name, labels, float(value)) for other in added for name, labels, value in other.get(family.name, ())
            ]
            for name, labels, value in [*own, *theirs]:
                key = name, tuple(sorted(labels.items()))
                values[key] = value if key not in values else _joined(family.name, name, values[key], value)
            merged.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
            yield merged


class Retired:
    """What workers that have ended had counted, as far as it is known: sums must not go down when a worker ends.

    A killed worker's figures are those of the last look at it. Requests that were under way then were not answered, so
    their senders keep them: they count as `refused`. What waited in its spool is found there by the next process that
    opens it, which counts it again: so what the ended one counted of its spool is forgotten, or it would stand there
    twice.
    """

    def __init__(self) -> None:
        self._counted: dict[str, dict[_Key, float]] = {}

    def add(self, last: Snapshot) -> None:
        for family, samples in last:
            if family == _SPOOL or not _is_counted(family):
                continue
            counted = self._counted.setdefault(family, {})
            given = [(name, labels, float(value)) for name, labels, value in samples]
            if family == _ACCOUNT:
                given += _unanswered(given)
            for name, labels, value in given:
                key = name, tuple(sorted(labels.items()))
                counted[key] = _joined(family, name, counted[key], value) if key in counted else value

    @property
    def snapshot(self) -> Snapshot:
        return [
            (family, [(name, dict(labels), repr(value)) for (name, labels), value in counted.items()])
            for family, counted in self._counted.items()
        ]


def gauge_sum(figures: Snapshot, name: str) -> float:
    """A gauge without labels in a snapshot; 0 when it is not there."""
    return sum(float(value) for family, samples in figures if family == name for _, _, value in samples)


def _is_counted(family: str) -> bool:
    instrument = INSTRUMENTS.get(family)
    return instrument is not None and not instrument.is_gauge


def _joined(family: str, name: str, one: float, other: float) -> float:
    if name.endswith(_BORN):
        return min(one, other)
    return max(one, other) if INSTRUMENTS[family].over_workers == "largest" else one + other


def _unanswered(samples: Sequence[tuple[str, dict[str, str], float]]) -> list[tuple[str, dict[str, str], float]]:
    """Samples that close the account: received items without an outcome, as refused ones."""
    still_open: dict[_Key, float] = {}
    for name, labels, value in samples:
        if name.endswith(_BORN):
            continue
        door = {label: text for label, text in labels.items() if label != "outcome"}
        key = name, tuple(sorted(door.items()))
        still_open[key] = still_open.get(key, 0.0) + (value if labels["outcome"] == "received" else -value)
    return [
        (name, {**dict(door), "outcome": "refused"}, value) for (name, door), value in still_open.items() if value > 0
    ]
