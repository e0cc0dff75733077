"""Lines of the text formats: Prometheus's 0.0.4 (1.0.0 with quoted names) and OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ares_otel.model.prometheus.escaping import (
    escape_labels,
    escape_metric_name,
    is_legacy_label_name,
    is_legacy_metric_name,
)
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.values import seconds_text, value_text

_VALUE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
MAX_EXEMPLAR_RUNES = 128
"""Characters of an exemplar's labels, names and values together."""
TOTAL = "_total"
_PLAIN = {Kind.INFO: "gauge", Kind.UNKNOWN: "untyped"}
"""Types that the plain format calls otherwise."""


@dataclass(frozen=True, slots=True)
class ExemplarLine:
    """What stands behind the `#` of a sample."""

    labels: Mapping[str, str]
    value: float
    time_unix_nano: int


class Lines:
    """Writes the lines of one format."""

    def __init__(self, format_: Format) -> None:
        self.format = format_

    def family_name(self, name: str, kind: Kind) -> str:
        """The name of a family in this format, escaped: in OpenMetrics a counter's has no `_total`, and an info
        metric's no `_info`."""
        escaped = escape_metric_name(name, self.format.escaping)
        if not self.format.openmetrics:
            return escaped
        if kind is Kind.COUNTER and len(escaped) > len(TOTAL):
            return escaped.removesuffix(TOTAL)
        return escaped.removesuffix("_info") if kind is Kind.INFO else escaped

    def is_strict_counter(self, name: str) -> bool:
        """Whether a counter of this name is one in OpenMetrics: it ends in `_total`, and is no number below zero."""
        return self.family_name(name, Kind.COUNTER) != escape_metric_name(name, self.format.escaping)

    def head(self, name: str, kind: Kind, unit: str, description: str) -> str:
        """HELP, TYPE and UNIT of a family; `unit` is the word, and only told where the name ends in it."""
        family = self.family_name(name, kind)
        shown = family if is_legacy_metric_name(family) else f'"{family.translate(_VALUE)}"'
        told: str = kind
        if not self.format.openmetrics:
            told = _PLAIN.get(kind, kind)
        elif kind is Kind.COUNTER and not self.is_strict_counter(name):
            told = "unknown"  # a counter of OpenMetrics ends in _total
        lines = []
        if description:
            escaped = description.translate(_VALUE if self.format.openmetrics else _HELP)
            lines.append(f"# HELP {shown} {escaped}\n")
        lines.append(f"# TYPE {shown} {told}\n")
        if self.format.openmetrics and unit and family.endswith(f"_{unit}"):
            lines.append(f"# UNIT {shown} {unit}\n")
        return "".join(lines)

    def labels(self, labels: Mapping[str, str]) -> str:
        """Pairs as they stand in braces, sorted by name. Names that an escape makes equal have their values joined."""
        return ",".join(pair(name, value) for name, value in escape_labels(labels, self.format.escaping).items())

    def sample(
        self,
        name: str,
        labels: str,
        value: float,
        *,
        time_unix_nano: int | None = None,
        exemplar: ExemplarLine | None = None,
    ) -> str:
        """A line. `name` is escaped already; `labels` come from `labels` and `with_label`."""
        line = f"{_subject(name, labels)} {value_text(value)}"
        if time_unix_nano is not None:
            # Prometheus counts milliseconds and forgets the rest.
            milliseconds = time_unix_nano // 1_000_000
            line += f" {seconds_text(milliseconds * 1_000_000) if self.format.openmetrics else milliseconds}"
        if exemplar is not None and self.format.openmetrics:
            shown = self.labels(exemplar.labels)
            line += f" # {{{shown}}} {value_text(exemplar.value)}"
            line += f" {seconds_text(exemplar.time_unix_nano)}" if exemplar.time_unix_nano else ""
        return line + "\n"

    def moment(self, name: str, labels: str, unix_nano: int) -> str:
        """A line whose value is a time, in seconds with all its digits."""
        return f"{_subject(name, labels)} {seconds_text(unix_nano)}\n"

    @property
    def end(self) -> str:
        return "# EOF\n" if self.format.openmetrics else ""


def _subject(name: str, labels: str) -> str:
    if is_legacy_metric_name(name):
        return f"{name}{{{labels}}}" if labels else name
    quoted = f'"{name.translate(_VALUE)}"'
    return f"{{{quoted},{labels}}}" if labels else f"{{{quoted}}}"


def pair(name: str, value: str) -> str:
    """A label and its value."""
    shown = name if is_legacy_label_name(name) else f'"{name.translate(_VALUE)}"'
    return f'{shown}="{value.translate(_VALUE)}"'


def with_label(labels: str, name: str, value: str) -> str:
    """Labels and one more, which comes last."""
    return f"{labels},{pair(name, value)}" if labels else pair(name, value)


def exemplar_labels(trace_id: bytes, span_id: bytes, attributes: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Ids in hex and the attributes; the ids alone where all together are longer than a reader takes."""
    ids = {}
    if trace_id:
        ids["trace_id"] = trace_id.hex()
    if span_id:
        ids["span_id"] = span_id.hex()
    everything = {**dict(attributes), **ids}
    runes = sum(len(name) + len(value) for name, value in everything.items())
    return everything if runes <= MAX_EXEMPLAR_RUNES else ids
