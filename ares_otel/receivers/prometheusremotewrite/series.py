"""The labels of a series → what all its points in OTLP share. What was made once is kept: senders repeat themselves."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from ares_otel.receivers.prometheusremotewrite import encoding
from ares_otel.receivers.prometheusremotewrite.encoding import EXPONENTIAL, GAUGE, HISTOGRAM, SUM, Family

MAX_LABELS = 256
MAX_NAME_BYTES = 1024
MAX_LABELS_BYTES = 64 * 1024
"""Names and values of one series together."""
NAME = "__name__"

COUNTER, UNKNOWN = "counter", "unknown"
TYPES = (UNKNOWN, COUNTER, "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
"""Types by their number in both versions."""
_CUMULATIVE_PARTS = ("_bucket", "_count", "_sum")


class WrongSeries(ValueError):
    """A series that cannot be stored; the message says why."""


class Series:
    """A series that is right."""

    __slots__ = ("attributes", "cumulative", "family", "name")

    def __init__(self, labels: Sequence[tuple[str, str]], type_name: str | None) -> None:
        """
        Args:
            labels: sorted by name.
            type_name: as the sender says it; None where it does not.
        """
        found = dict(labels)
        self.name = found.pop(NAME)
        if type_name is None or type_name == UNKNOWN:
            type_name = type_by_name(self.name, found)
        self.cumulative = is_cumulative(self.name, type_name, found)
        self.attributes = encoding.attributes(found.items())
        self.family = Family(
            encoding.resource(found.get("job", ""), found.get("instance", "")),
            encoding.metric_head(self.name),
            encoding.metric_tail(type_name),
            SUM if self.cumulative else GAUGE,
        )

    def histograms(self, *, custom: bool, gauge: bool) -> Family:
        """The family of its native histograms."""
        tail = encoding.metric_tail("gaugehistogram" if gauge else "histogram")
        return self.family._replace(tail=tail, kind=HISTOGRAM if custom else EXPONENTIAL)

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return 600 + len(self.attributes) + len(self.family.resource) + 2 * len(self.name)


def type_by_name(name: str, labels: Mapping[str, str]) -> str:
    """The type that a name tells, where nobody says one."""
    if name.endswith("_total"):
        return COUNTER
    if name.endswith("_bucket") and "le" in labels:
        return "histogram"
    return UNKNOWN


def is_cumulative(name: str, type_name: str, labels: Mapping[str, str]) -> bool:
    """Whether the series is a counter: one, or a part of a histogram or of a summary that only grows."""
    if type_name == "histogram" and name.endswith("_bucket"):
        return "le" in labels
    return type_name == COUNTER or (type_name in ("histogram", "summary") and name.endswith(_CUMULATIVE_PARTS))


def make_series(texts: Sequence[bytes], type_name: str | None) -> Series:
    """The series of names and values that take turns, in any order of the labels.

    Raises:
        WrongSeries: a rule of the specifications, or a limit, is broken.
    """
    if len(texts) % 2:
        raise WrongSeries("a label has a name and no value")
    if len(texts) > 2 * MAX_LABELS:
        raise WrongSeries(f"a series has more than {MAX_LABELS} labels")
    if sum(map(len, texts)) > MAX_LABELS_BYTES:
        raise WrongSeries(f"the labels of a series take more than {MAX_LABELS_BYTES // 1024} KiB")
    labels: dict[str, str] = {}
    try:
        pairs = [(texts[at].decode(), texts[at + 1].decode()) for at in range(0, len(texts), 2)]
    except UnicodeDecodeError:
        raise WrongSeries("a label is not UTF-8") from None
    for name, value in pairs:
        if not name:
            raise WrongSeries("a label has no name")
        if len(name.encode()) > MAX_NAME_BYTES:
            raise WrongSeries(f"the name of a label takes more than {MAX_NAME_BYTES} bytes")
        if not value:
            raise WrongSeries(f"the label {name!r} has no value")
        if name in labels:
            raise WrongSeries(f"the label {name!r} stands twice")
        labels[name] = value
    if NAME not in labels:
        raise WrongSeries(f"a series has no label {NAME}")
    return Series(sorted(labels.items()), type_name)


class SeriesBook:
    """Series that were made, by what a request says of them. Two halves: when the younger one is full, the older one is
    forgotten."""

    def __init__(self, limit_bytes: int) -> None:
        self._half = limit_bytes // 2
        self._size = 0
        self._young: dict[Hashable, Series] = {}
        self._old: dict[Hashable, Series] = {}

    def find(self, key: Hashable) -> Series | None:
        """The series that was kept under that key."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.keep(key, found)
        return found

    def keep(self, key: Hashable, series: Series) -> None:
        """Keeps it for the next time."""
        self._size += series.size
        if self._size > self._half:
            self._old, self._young, self._size = self._young, {}, series.size
        self._young[key] = series
