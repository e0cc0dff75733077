"""From the samples of a page to data points of OTLP.

A counter becomes a cumulative monotonic sum, a gauge (also an info, a state of a set, an unknown) a gauge. The lines of
a classic histogram or a summary become one data point where it says exactly the same; where it cannot (counts that are
no whole numbers, buckets that contradict each other, a line that is missing, a rule that took some of them away) each
line is stored for itself, as it came.

Source: OpenTelemetry, "Prometheus and OpenMetrics Compatibility", "Prometheus Metric points to OTLP".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, SummaryDataPoint

from ares_otel.model.prometheus.native_histogram import NativeHistogram, is_stale_bits
from ares_otel.model.prometheus.native_to_otlp import WrongHistogram, to_otlp
from ares_otel.receivers.prometheus.labelling import Labelling, Outcome
from ares_otel.receivers.prometheus.page import Family, Page, Pairs, Sample, WrongPage
from ares_otel.receivers.prometheus.requests import Requests, add_exemplars
from ares_otel.receivers.prometheus.streams import Shape, Stream, TargetState

_MS = 1_000_000
_LARGEST_COUNT = 2**53
"""Counts above are not exact on a page, whose numbers are doubles."""
_SUFFIXES = {
    "_bucket": {"histogram", "gaugehistogram"},
    "_sum": {"histogram", "summary"},
    "_count": {"histogram", "summary"},
    "_gsum": {"gaugehistogram"},
    "_gcount": {"gaugehistogram"},
    "_total": {"counter"},
    "_info": {"info"},
}


class Place(NamedTuple):
    """Which family a sample is of, and what it is there."""

    family: Family
    part: str
    """`bucket`, `sum`, `count` or `quantile` of a histogram or summary; empty for the value itself."""


@dataclass(slots=True)
class Assembled:
    """What a page came to."""

    requests: Requests = field(default_factory=Requests)
    scraped: int = 0
    kept: int = 0
    added: int = 0
    duplicates: int = 0
    """Samples whose series was on the page before; the first one counts."""
    wrong: int = 0
    """Native histograms that cannot be stored."""
    reason: str = ""
    """Why the first of these cannot."""


@dataclass(slots=True)
class _Whole:
    """The lines of a histogram or a summary that belong together."""

    family: Family
    base: Pairs
    time_ns: int
    ends: bool
    lines: list[tuple[Outcome, Sample, str, str]] = field(default_factory=list)
    """What a line is called, the line, its part, and its bound or quantile."""


class Assembler:
    """Assembles one page of a target."""

    def __init__(self, state: TargetState, labelling: Labelling, page: Page, time_ns: int) -> None:
        """
        Args:
            time_ns: of the scrape, nanoseconds since 1970.
        """
        self._state = state
        self._labelling = labelling
        self._page = page
        self._time_ns = time_ns
        self._places: dict[str, Place] = {}
        self._wholes: dict[tuple[str, Pairs, int], _Whole] = {}
        self.made = Assembled()

    def assemble(self, *, honor_timestamps: bool, track_timestamps: bool, sample_limit: int) -> Assembled:
        """Everything that the page has.

        Raises:
            WrongPage: a limit is exceeded.
        """
        made, state, labelling = self.made, self._state, self._labelling
        samples = self._page.samples
        made.scraped = len(samples)
        last_round = state.round - 1
        kept = added = 0
        outcomes: list[Outcome] = []
        for sample in samples:
            outcome = labelling.of(sample.series)
            outcomes.append(outcome)
            if not outcome.dropped:
                kept += 1
        made.kept = kept
        if sample_limit and kept > sample_limit:
            raise WrongPage(f"it has {kept} samples, more than sample_limit allows ({sample_limit})")
        for outcome, sample in zip(outcomes, samples, strict=True):
            if outcome.round < last_round and not outcome.dropped:
                added += 1
            outcome.round = state.round
            if outcome.dropped:
                continue
            explicit = honor_timestamps and sample.time_ms is not None
            time_ns = sample.time_ms * _MS if explicit and sample.time_ms is not None else self._time_ns
            self._take(outcome, sample, time_ns, ends=track_timestamps or not explicit)
        made.added = added
        for whole in self._wholes.values():
            self._write_whole(whole)
        return made

    def _take(self, outcome: Outcome, sample: Sample, time_ns: int, *, ends: bool) -> None:
        name = sample.series.name
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = self._place(name)
        family = place.family
        if isinstance(sample.value, NativeHistogram):
            self._native(outcome, sample, family, time_ns, ends)
        elif place.part and outcome.name == name:
            bound, base = ("", outcome.labels)
            if place.part in ("bucket", "quantile"):
                bound, base = outcome.part("le" if place.part == "bucket" else "quantile")
            key = family.name, base, time_ns
            whole = self._wholes.get(key)
            if whole is None:
                whole = self._wholes[key] = _Whole(family, base, time_ns, ends)
            whole.lines.append((outcome, sample, place.part, bound))
        else:
            self._number(outcome, sample, place, time_ns, ends)

    def _place(self, name: str) -> Place:
        families = self._page.families
        if (family := families.get(name)) is not None:
            return Place(family, "quantile" if family.type == "summary" else "")
        for suffix, types in _SUFFIXES.items():
            if name.endswith(suffix):
                family = families.get(name.removesuffix(suffix))
                if family is not None and family.type in types:
                    if suffix == "_total" and not self._page.openmetrics:
                        break
                    whole = family.type in ("histogram", "summary")
                    return Place(family, suffix[1:] if whole else "")
        return Place(Family(name), "")

    def _stream(self, outcome: Outcome, shape: Shape, family: Family, labels: Pairs, ends: bool) -> Stream | None:
        """The stream of a sample; None when this page had one for it already."""
        name = family.name if shape in ("histogram", "summary") else outcome.name
        stream = self._state.stream(name, shape, labels, family)
        if stream.round == self._state.round and ends:
            self.made.duplicates += 1
            return None
        stream.round = self._state.round
        stream.ends = ends
        return stream

    def _number(self, outcome: Outcome, sample: Sample, place: Place, time_ns: int, ends: bool) -> None:
        counts = place.family.type == "counter" or (place.part in ("bucket", "sum", "count"))
        stream = self._stream(outcome, "sum" if counts else "gauge", place.family, outcome.labels, ends)
        if stream is None:
            return
        value = sample.value
        assert isinstance(value, float)
        point = self.made.requests.point(stream, time_ns)
        if value != value and is_stale_bits(value):
            point.flags = 1
            return
        point.as_double = value
        if counts:
            point.start_time_unix_nano = stream.began(value, self._created(place.family, sample), time_ns)
        if sample.exemplars:
            add_exemplars(point, stream, sample.exemplars, time_ns)

    def _native(self, outcome: Outcome, sample: Sample, family: Family, time_ns: int, ends: bool) -> None:
        assert isinstance(sample.value, NativeHistogram)
        try:
            found = to_otlp(sample.value)
        except WrongHistogram as error:
            self.made.wrong += 1
            self.made.reason = self.made.reason or str(error)
            return
        shape: Shape = "histogram" if isinstance(found, HistogramDataPoint) else "exponential_histogram"
        stream = self._stream(outcome, shape, family._replace(name=outcome.name), outcome.labels, ends)
        if stream is None:
            return
        point = self.made.requests.point(stream, time_ns)
        point.MergeFrom(found)
        if not found.flags:
            created = self._created(family, sample)
            point.start_time_unix_nano = stream.began(found.count, created, time_ns)
        add_exemplars(point, stream, sample.exemplars, time_ns)

    def _write_whole(self, whole: _Whole) -> None:
        key = whole.family.name, whole.base
        if key not in self._state.by_line:
            write = _summary if whole.family.type == "summary" else _histogram
            point = write(whole)
            if point is not None:
                self._write_point(whole, point)
                return
            self._state.by_line.add(key)
            self._forget_whole(whole)
        for outcome, sample, part, _ in whole.lines:
            self._number(outcome, sample, Place(whole.family, part), whole.time_ns, whole.ends)

    def _write_point(self, whole: _Whole, found: Any) -> None:
        shape: Shape = "summary" if whole.family.type == "summary" else "histogram"
        outcome, sample, _, _ = whole.lines[0]
        stream = self._stream(outcome, shape, whole.family, whole.base, whole.ends)
        if stream is None:
            return
        point = self.made.requests.point(stream, whole.time_ns)
        point.MergeFrom(found)
        created = self._created(whole.family, sample)
        point.start_time_unix_nano = stream.began(found.count, created, whole.time_ns)
        exemplars = tuple(one for _, line, _, _ in whole.lines for one in line.exemplars)
        if shape == "histogram" and (exemplars or stream.exemplars):
            add_exemplars(point, stream, exemplars, whole.time_ns)

    def _forget_whole(self, whole: _Whole) -> None:
        """The series goes on line by line: it has not ended, so nobody is told that it has."""
        shape: Shape = "summary" if whole.family.type == "summary" else "histogram"
        self._state.stream(whole.family.name, shape, whole.base, whole.family).live = False

    def _created(self, family: Family, sample: Sample) -> int | None:
        created = self._page.created
        seconds = created.get((family.name, sample.series.base)) if created else None
        if seconds is None or not 0 < seconds < 2**63 / 1e9:
            return None
        return round(seconds * 1000) * _MS


def _histogram(whole: _Whole) -> HistogramDataPoint | None:
    """The data point; None where it would not say exactly what the lines say."""
    buckets: list[tuple[float, float]] = []
    total: float | None = None
    count: float | None = None
    for _, sample, part, bound in whole.lines:
        value = sample.value
        assert isinstance(value, float)
        if part == "bucket":
            number = _number(bound)
            if number is None:
                return None
            buckets.append((number, value))
        elif part == "sum" and total is None:
            total = value
        elif part == "count" and count is None:
            count = value
        else:
            return None
    buckets.sort()
    bounds = [bound for bound, _ in buckets]
    if count is None or not buckets or bounds[-1] != math.inf or len(set(bounds)) < len(bounds):
        return None
    if len(buckets) < 2 or buckets[-1][1] != count or not all(_is_count(value) for _, value in buckets):
        return None
    if total is not None and total != total and is_stale_bits(total):
        return None
    counts, before = [], 0
    for _, value in buckets:
        cumulative = int(value)
        if cumulative < before:
            return None
        counts.append(cumulative - before)
        before = cumulative
    point = HistogramDataPoint(count=before, bucket_counts=counts, explicit_bounds=bounds[:-1])
    if total is not None:
        point.sum = total
    return point


def _summary(whole: _Whole) -> SummaryDataPoint | None:
    """The data point; None where it would not say exactly what the lines say."""
    quantiles: list[tuple[float, float]] = []
    total: float | None = None
    count: float | None = None
    for _, sample, part, quantile in whole.lines:
        value = sample.value
        assert isinstance(value, float)
        if part == "quantile":
            number = _number(quantile)
            if number is None or not 0 <= number <= 1:
                return None
            quantiles.append((number, value))
        elif part == "sum" and total is None:
            total = value
        elif part == "count" and count is None:
            count = value
        else:
            return None
    if total is None or count is None or not _is_count(count) or len({q for q, _ in quantiles}) < len(quantiles):
        return None
    point = SummaryDataPoint(count=int(count), sum=total)
    for number, value in sorted(quantiles, key=lambda pair: pair[0]):
        point.quantile_values.add(quantile=number, value=value)
    return point


def _number(text: str) -> float | None:
    """A bound; None where it is none. NaN is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if number != number or "_" in text else number


def _is_count(value: float) -> bool:
    return 0 <= value <= _LARGEST_COUNT and value == int(value)


def end_all(state: TargetState, time_ns: int, requests: Requests) -> list[Stream]:
    """Says of every live stream that the scrape under way did not have that it ended; which ones."""
    gone = list(state.gone())
    for stream in gone:
        requests.end(stream, time_ns)
    return gone


def report(
    state: TargetState, labelling: Labelling, values: Iterable[tuple[str, float]], time_ns: int, requests: Requests
) -> None:
    """Adds series about the target itself."""
    for name, value in values:
        outcome = labelling.report(name)
        stream = state.stream(name, "gauge", outcome.labels, Family(name, "gauge"))
        if stream.round == state.round:
            continue  # the page has a series of this name and these labels: it was there first
        stream.round = state.round
        requests.point(stream, time_ns).as_double = value
