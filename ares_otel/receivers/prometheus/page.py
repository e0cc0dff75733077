"""A page of metrics, read: samples in their order, and what the page says about their families."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from ares_otel.model.prometheus.native_histogram import NativeHistogram

Pairs = tuple[tuple[str, str], ...]
"""Labels without `__name__`."""

MAX_SAMPLES = 1_000_000
"""Of one page. The largest pages that are met have a few hundred thousand."""

MAX_LABELS = 256
"""Of one sample."""
MAX_LABELS_BYTES = 64 * 1024
"""Names and values of one sample together, and its own name."""
MAX_HELP = 1000
"""Characters of a description, which stands in each series; what is longer is cut."""
MAX_TIME_MS = 2**63 // 10**6
TYPES = frozenset({"counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"})


class WrongPage(ValueError):
    """The page cannot be read; the message says where and why, and quotes nothing of it."""


class Family(NamedTuple):
    """What TYPE, HELP and UNIT say."""

    name: str
    type: str = "unknown"
    help: str = ""
    unit: str = ""


class Exemplar(NamedTuple):
    """An example behind a sample."""

    labels: Pairs
    value: float
    time_ms: int | None


class Series:
    """A series as the page names it. Kept from scrape to scrape, with what was found out about it."""

    __slots__ = ("_base", "key", "labels", "name", "outcome")

    def __init__(self, key: Hashable, name: str, labels: Pairs) -> None:
        self.key = key
        self.name = name
        self.labels = labels
        self.outcome: object = None
        """What relabelling makes of it, once that was done."""
        self._base: Pairs | None = None

    @property
    def base(self) -> Pairs:
        """Its labels without `le` and `quantile`, sorted: what the lines of one histogram share."""
        if self._base is None:
            self._base = tuple(sorted(pair for pair in self.labels if pair[0] not in ("le", "quantile")))
        return self._base


class Sample(NamedTuple):
    """One value of a series."""

    series: Series
    value: float | NativeHistogram
    time_ms: int | None
    """Milliseconds since 1970, where the page says it."""
    exemplars: tuple[Exemplar, ...] = ()


Known = dict[Hashable, Series]
"""Series by how they stand on the page."""


@dataclass(slots=True)
class Page:
    """All of it."""

    samples: list[Sample] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    created: dict[tuple[str, Pairs], float] = field(default_factory=dict)
    """Seconds since 1970 at which counters, histograms and summaries began; by family and labels."""
    openmetrics: bool = False
    """Whether names of samples follow OpenMetrics' rules: a counter's is its family's with `_total`."""


def check_time(time_ms: int) -> int:
    """The time as it was. Raises WrongPage where OTLP has no such time: before 1970 or after 2262."""
    if not 0 <= time_ms < MAX_TIME_MS:
        raise WrongPage("the time is before 1970 or after 2262")
    return time_ms


def check_labels(name: str, labels: Pairs) -> None:
    """Raises WrongPage when a series has no name, a label twice, or more of them than are taken."""
    if not name:
        raise WrongPage("a sample has no name")
    if len(labels) > MAX_LABELS:
        raise WrongPage(f"a sample has more than {MAX_LABELS} labels")
    size = len(name) + sum(len(key) + len(value) for key, value in labels)
    if 4 * size > MAX_LABELS_BYTES:  # perhaps: a character has four bytes at most
        size = len(name.encode()) + sum(len(key.encode()) + len(value.encode()) for key, value in labels)
    if size > MAX_LABELS_BYTES:
        raise WrongPage(f"the labels of a sample take more than {MAX_LABELS_BYTES // 1024} KiB")
    if len(labels) > 1 and len({key for key, _ in labels}) < len(labels):
        raise WrongPage("a label stands twice in a sample")
