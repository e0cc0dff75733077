"""What is stored of a target: one stream for each series of OTLP, and which of them live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from ares_otel.receivers.prometheus.labelling import Outcome
from ares_otel.receivers.prometheus.page import Exemplar, Family, Known, Pairs

Shape = Literal["gauge", "sum", "histogram", "exponential_histogram", "summary"]
"""Which kind of OTLP's data a stream is: the name of the field of `Metric`."""

POINTS: dict[Shape, Any] = {
    "gauge": NumberDataPoint,
    "sum": NumberDataPoint,
    "histogram": HistogramDataPoint,
    "exponential_histogram": ExponentialHistogramDataPoint,
    "summary": SummaryDataPoint,
}


class MetricOf(NamedTuple):
    """What streams of one metric share."""

    name: str
    shape: Shape
    type: str
    """As Prometheus names it."""
    description: str
    unit: str


class Stream:
    """One series of OTLP."""

    __slots__ = ("attributes", "ends", "exemplars", "key", "last", "live", "metric", "round", "source", "start_ns")

    def __init__(self, metric: MetricOf, labels: Pairs) -> None:
        self.key = metric.name, metric.shape, labels
        self.metric = metric
        found = dict(labels)
        self.source = found.get("job", ""), found.get("instance", "")
        """`job` and `instance`: the resource."""
        attributes = [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in labels]
        self.attributes = POINTS[metric.shape](attributes=attributes).SerializeToString()
        """A data point with nothing but the attributes, encoded."""
        self.start_ns = 0
        self.last = 0.0
        """The count that tells whether it began anew."""
        self.round = -1
        """Number of the scrape that had it last."""
        self.live = False
        """Whether its last point is stored and does not say that it ended."""
        self.ends = True
        """Whether it is told that it ended when a page has it no more."""
        self.exemplars: frozenset[Exemplar] = frozenset()
        """Those of the last scrape."""

    @property
    def type(self) -> str:
        return self.metric.type

    def began(self, count: float, created_ns: int | None, time_ns: int) -> int:
        """When its counting began, nanoseconds since 1970: as the page says, else when it was first seen, else when
        its count was found to have fallen."""
        if created_ns is not None and 0 < created_ns <= time_ns:
            self.start_ns = created_ns
        elif not self.start_ns or count < self.last:
            self.start_ns = time_ns
        if count == count:
            self.last = count
        return min(self.start_ns, time_ns)


StreamKey = tuple[str, Shape, Pairs]


class TargetState:
    """What is remembered of a target from scrape to scrape."""

    def __init__(self) -> None:
        self.known: Known = {}
        self.round = 0
        """Number of the scrape under way."""
        self.by_line: set[tuple[str, Pairs]] = set()
        """Histograms and summaries that do not fit into OTLP's and are stored line by line, once and for ever."""
        self._streams: dict[StreamKey, Stream] = {}
        self._families: dict[str, Family] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def stream(self, name: str, shape: Shape, labels: Pairs, family: Family) -> Stream:
        """The stream of that name and these labels. What HELP and UNIT said first stays: another description would make
        another series."""
        found = self._streams.get((name, shape, labels))
        if found is None or found.type != family.type:
            first = self._families.setdefault(family.name, family)
            old = found
            found = Stream(MetricOf(name, shape, family.type, first.help, first.unit), labels)
            if old is not None:
                found.start_ns, found.last = old.start_ns, old.last
            self._streams[found.key] = found
        return found

    def gone(self) -> Iterator[Stream]:
        """Live streams that the scrape under way did not have."""
        return (one for one in self._streams.values() if one.live and one.round != self.round)

    def stored(self, ended: Iterable[Stream]) -> None:
        """What the scrape under way had is safe, and so are the ends of these streams."""
        for one in ended:
            self._streams.pop(one.key, None)
        for one in list(self._streams.values()):
            if one.round == self.round:
                one.live = one.ends
            elif not one.live:
                del self._streams[one.key]

    def lost(self) -> None:
        """What the scrape under way had could not be stored, nor could the ends of what it had not: those are told
        again. What never was stored has no end to be told."""
        for one in list(self._streams.values()):
            if not one.live and one.round < self.round:
                del self._streams[one.key]

    def tidy(self, families: Iterable[str], samples: int) -> None:
        """Forgets series and families that were not on the last page, when they have become many.

        Args:
            families, samples: what that page had.
        """
        had = set(families)
        if len(self._families) > 2 * len(had) + 100:
            self._families = {name: one for name, one in self._families.items() if name in had}
        if len(self.known) > samples + samples // 4 + 100:
            self.known = {
                key: series
                for key, series in self.known.items()
                if isinstance(series.outcome, Outcome) and series.outcome.round == self.round
            }
        if len(self.by_line) > 2 * len(self._streams) + 100:
            self.by_line.clear()

    def relabelled(self) -> None:
        """Forgets what series are called: the rules have changed."""
        self.known = {}
