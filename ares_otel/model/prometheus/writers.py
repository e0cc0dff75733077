"""Families of metrics in the format that a scraper takes: text or messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.escaping import escape_metric_name
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.messages import Messages
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.points import PointLines, number_of
from ares_otel.model.prometheus.text import Lines

Key = Any
"""Labels as a format has them: equal and sortable as the labels are."""


class NoCounter(bytes):
    """A sample of unknown type that cannot be one of a counter in this format."""

    __slots__ = ()


class Writer(Protocol):
    """Writes samples and families of one format. Names are those before escaping."""

    def kind(self, name: str, kind: Kind, point: Any) -> Kind:
        """The type that a point has in this format: a counter below zero is of unknown type where there is no such."""

    def key(self, labels: Mapping[str, str]) -> Key:
        """Labels in this format."""

    def point(self, name: str, kind: Kind, key: Key, point: Any, *, verbatim: bool = False) -> bytes:
        """The samples of a data point of OTLP.

        Raises:
            Untranslatable: the format has no place for it.
        """

    def typed(self, name: str, kind: Kind, samples: bytes) -> bytes:
        """The samples of a number of unknown type, as those of a counter or gauge of the same name.

        Raises:
            Untranslatable: it is no counter, whatever its name is.
        """

    def number(self, name: str, kind: Kind, key: Key, value: float) -> bytes:
        """One sample."""

    def family(self, name: str, kind: Kind, unit: str, description: str, metrics: Sequence[bytes]) -> Iterator[bytes]:
        """What stands before the samples of a family, and they."""

    @property
    def end(self) -> bytes:
        """What stands behind the last family."""


def writer_of(format_: Format, config: TranslationConfig, *, timestamps: bool) -> Writer:
    """The writer of a format; `timestamps` says whether samples tell the time of their point."""
    if format_.protobuf:
        return MessageWriter(format_, config, timestamps=timestamps)
    return TextWriter(format_, config, timestamps=timestamps)


class TextWriter:
    """Text: the plain format or OpenMetrics."""

    def __init__(self, format_: Format, config: TranslationConfig, *, timestamps: bool) -> None:
        self._lines = Lines(format_)
        self._points = PointLines(self._lines, config, timestamps=timestamps)
        self._escaping = format_.escaping

    def key(self, labels: Mapping[str, str]) -> str:
        return self._lines.labels(labels)

    def kind(self, name: str, kind: Kind, point: Any) -> Kind:
        strict = kind is Kind.COUNTER and self._lines.is_strict_counter(name)
        return Kind.UNKNOWN if strict and not _counts(point) else kind

    def point(self, name: str, kind: Kind, key: Key, point: Any, *, verbatim: bool = False) -> bytes:
        escaped = escape_metric_name(name, self._escaping)
        made = self._points.of(
            self._lines.family_name(name, kind), escaped, kind, key, point, verbatim=verbatim
        ).encode()
        no_counter = kind is Kind.UNKNOWN and self._lines.is_strict_counter(name) and not _counts(point)
        return NoCounter(made) if no_counter else made

    def typed(self, name: str, kind: Kind, samples: bytes) -> bytes:
        if kind is Kind.COUNTER and isinstance(samples, NoCounter):
            raise Untranslatable(name)
        return samples  # a line does not say its type

    def number(self, name: str, kind: Kind, key: Key, value: float) -> bytes:
        return self._lines.sample(escape_metric_name(name, self._escaping), key, value).encode()

    def family(self, name: str, kind: Kind, unit: str, description: str, metrics: Sequence[bytes]) -> Iterator[bytes]:
        yield self._lines.head(name, kind, unit, description).encode()
        yield from metrics

    @property
    def end(self) -> bytes:
        return self._lines.end.encode()


class MessageWriter:
    """Protobuf."""

    def __init__(self, format_: Format, config: TranslationConfig, *, timestamps: bool) -> None:
        self._messages = Messages(config, format_.escaping, timestamps=timestamps)
        self._escaping = format_.escaping

    def key(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        return self._messages.labels(labels)

    def kind(self, name: str, kind: Kind, point: Any) -> Kind:
        return kind

    def point(self, name: str, kind: Kind, key: Key, point: Any, *, verbatim: bool = False) -> bytes:
        return self._messages.of(kind, key, point, verbatim=verbatim)

    def typed(self, name: str, kind: Kind, samples: bytes) -> bytes:
        return self._messages.typed(kind, samples)

    def number(self, name: str, kind: Kind, key: Key, value: float) -> bytes:
        return self._messages.number(kind, key, value)

    def family(self, name: str, kind: Kind, unit: str, description: str, metrics: Sequence[bytes]) -> Iterator[bytes]:
        yield from self._messages.family(escape_metric_name(name, self._escaping), kind, unit, description, metrics)

    @property
    def end(self) -> bytes:
        return b""


def _counts(point: Any) -> bool:
    """Whether a counter of OpenMetrics may have the value: a number from zero on."""
    return number_of(point) >= 0
