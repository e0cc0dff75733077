"""The series of a connector: which there are, what was counted for each, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ares_otel.connectors.points import Example, Point

MAX_SERIES = 50_000
"""Series of all metrics and resources; what comes beyond is counted as overflow."""
MAX_BYTES = 16 * 1024 * 1024
"""Bytes of the texts that tell the series apart; likewise."""
SLICE_SERIES = 2000
"""Series that are looked at before others may run."""
OVERFLOW = "otel.metric.overflow"
"""Source: OpenTelemetry metrics SDK specification, "Cardinality limits"."""

Key = tuple[Hashable, ...]

_OVERFLOW_KEY: Key = (OVERFLOW,)
_OVERFLOW_RESOURCE = OVERFLOW.encode()


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    unit: str
    make: Callable[[Sequence[KeyValue], int], Point]
    """A new series, from its attributes and the time."""


@dataclass(slots=True)
class Group:
    """The series of one resource."""

    attributes: Sequence[KeyValue]
    series: dict[str, dict[Key, Point]]
    """By the family's name."""
    last_ns: int = 0


class Series:
    """Counts into series, makes new ones, and forgets old ones."""

    def __init__(
        self, families: Sequence[Family], always: Sequence[KeyValue], *, limit: int = 0, resources: int = 1000
    ) -> None:
        """
        Args:
            always: attributes of an overflow series beside the one that says so.
            limit: series of a metric in a resource; 0 for no such limit.
            resources: resources that are kept.
        """
        self.families = families
        self._always = always
        self._limit = limit
        self._resources = resources
        self._groups: dict[bytes, Group] = {}
        self._total = 0
        self._total_bytes = 0

    def __len__(self) -> int:
        return self._total

    def group(self, identity: bytes, attributes: Sequence[KeyValue], now_ns: int) -> Group:
        """The group of a resource, where there is room for it; else the one for all others."""
        group = self._groups.get(identity)
        if group is None:
            # Between two hand-overs there may be more resources than are kept; and then they share one.
            if len(self._groups) >= 2 * self._resources or self._is_full:
                identity, attributes = _OVERFLOW_RESOURCE, self._overflow()
                group = self._groups.get(identity)
            if group is None:
                copies = [KeyValue.FromString(one.SerializeToString()) for one in attributes]
                group = self._groups[identity] = Group(copies, {family.name: {} for family in self.families})
        group.last_ns = now_ns
        return group

    def note(
        self,
        group: Group,
        family: Family,
        key: Key,
        attributes: Callable[[], Sequence[KeyValue]],
        value: float,
        now_ns: int,
        example: Example | None = None,
        *,
        times: int = 1,
    ) -> None:
        """Counts a value.

        Args:
            times: how often.
            key: tells the series of a family in a group apart.
            attributes: makes those of the series, when it is new.
        """
        series = group.series[family.name]
        point = series.get(key)
        if point is None:
            if (self._limit and len(series) - (_OVERFLOW_KEY in series) >= self._limit) or self._is_full:
                key, attributes = _OVERFLOW_KEY, self._overflow
                point = series.get(key)
            if point is None:
                point = series[key] = family.make(attributes(), now_ns)
                self._total += 1
                self._total_bytes += _size(key)
        point.last_ns = now_ns
        point.add(value, times)
        if example is not None:
            point.remember(example)

    def listed(self) -> list[tuple[Group, Family, Key, Point]]:
        """All series now, resource by resource and metric by metric."""
        return [
            (group, family, key, point)
            for group in self._groups.values()
            for family in self.families
            for key, point in group.series[family.name].items()
        ]

    def take(self, group: Group, family: Family, key: Key) -> None:
        """Forgets a series: it was handed over as a delta, or it is too old."""
        del group.series[family.name][key]
        self._total -= 1
        self._total_bytes -= _size(key)

    def forget(self, flushed_ns: int, *, resource_seconds: float = 0, series_seconds: float = 0) -> Iterator[None]:
        """Forgets what nobody wants any more, of that which was handed over at that time: what got nothing for so long
        (0: however long), and resources beyond their limit. Gives now and then, for others to run."""
        if series_seconds:
            oldest = flushed_ns - int(series_seconds * 1e9)
            for number, (group, family, key, point) in enumerate(self.listed(), 1):
                if point.last_ns <= oldest:
                    self.take(group, family, key)
                if not number % SLICE_SERIES:
                    yield
        oldest = flushed_ns - int(resource_seconds * 1e9) if resource_seconds else 0
        for identity, group in list(self._groups.items()):
            if group.last_ns <= oldest or not any(group.series.values()):
                self._drop(identity, group)
                yield
        beyond = len(self._groups) - self._resources
        if beyond > 0:
            settled = [item for item in self._groups.items() if item[1].last_ns < flushed_ns]
            for identity, group in sorted(settled, key=lambda item: item[1].last_ns)[:beyond]:
                if group.last_ns < flushed_ns:
                    self._drop(identity, group)
                    yield

    @property
    def _is_full(self) -> bool:
        return self._total >= MAX_SERIES or self._total_bytes >= MAX_BYTES

    def _overflow(self) -> list[KeyValue]:
        return [KeyValue(key=OVERFLOW, value=AnyValue(bool_value=True)), *self._always]

    def _drop(self, identity: bytes, group: Group) -> None:
        for family in self.families:
            series = group.series[family.name]
            self._total -= len(series)
            self._total_bytes -= sum(map(_size, series))
        del self._groups[identity]


def _size(key: Key) -> int:
    return sum(len(part) for part in key if isinstance(part, str | bytes))
