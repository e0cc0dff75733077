"""What `/prometheus/federate` answers: the newest sample of each series that selectors choose, as a Prometheus tells it
to another one.

Prometheus keeps no types with its series, so each name is a family of its own without a type; only native histograms
have one, and only its protobuf format has a place for them. A series without `instance` gets an empty one, so that who
scrapes adds none of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import asyncpg

from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.model.prometheus.escaping import escape_labels, escape_metric_name
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.labels import NAME
from ares_otel.model.prometheus.messages import Messages, native_message
from ares_otel.model.prometheus.native_histogram import NativeHistogram, is_stale_bits
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.proto import exposition_pb2 as pb
from ares_otel.model.prometheus.selector import Matcher, Selector
from ares_otel.model.prometheus.text import Lines
from ares_otel.query.live_series import STALENESS
from ares_otel.query.prometheus.pieces import order_of
from ares_otel.query.prometheus.select import Selected, select

MAX_SERIES = 100_000
_STALENESS_MS = round(STALENESS.total_seconds() * 1000)
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Sample:
    name: str
    labels: dict[str, str]
    timestamp_ms: int
    value: float
    histogram: NativeHistogram | None = None


@dataclass(frozen=True, slots=True)
class Federation:
    """A finished answer."""

    samples: Sequence[_Sample]
    """By name and labels."""
    format: Format

    def chunks(self) -> Iterator[bytes]:
        """The answer in pieces of some hundred kilobytes."""
        pieces: list[bytes] = []
        size = 0
        for piece in self._messages() if self.format.protobuf else self._text():
            pieces.append(piece)
            size += len(piece)
            if size > _CHUNK:
                yield b"".join(pieces)
                pieces, size = [], 0
        yield b"".join(pieces)

    def _text(self) -> Iterator[bytes]:
        lines = Lines(self.format)
        native = 0
        for name, group in groupby(self.samples, key=lambda sample: sample.name):
            samples = [sample for sample in group if sample.histogram is None]
            native -= len(samples)
            if samples:
                yield lines.head(name, Kind.UNKNOWN, "", "").encode()
            escaped = escape_metric_name(name, self.format.escaping)
            for sample in samples:
                yield lines.sample(
                    escaped,
                    lines.labels(sample.labels),
                    sample.value,
                    time_unix_nano=sample.timestamp_ms * 1_000_000,
                ).encode()
        native += len(self.samples)
        if native:
            yield f"# {native} native histograms are left out: only the protobuf format has them.\n".encode()

    def _messages(self) -> Iterator[bytes]:
        messages = Messages(TranslationConfig(), self.format.escaping, timestamps=True)
        for (name, native), group in groupby(
            sorted(self.samples, key=lambda sample: (sample.name, sample.histogram is not None)),
            key=lambda sample: (sample.name, sample.histogram is not None),
        ):
            escaped = escape_metric_name(name, self.format.escaping)
            metrics = [self._metric(sample).SerializeToString() for sample in group]
            yield from messages.family(escaped, Kind.HISTOGRAM if native else Kind.UNKNOWN, "", "", metrics)

    def _metric(self, sample: _Sample) -> pb.Metric:
        labels = escape_labels(sample.labels, self.format.escaping)
        pairs = [pb.LabelPair(name=name, value=value) for name, value in labels.items()]
        made = pb.Metric(label=pairs, timestamp_ms=sample.timestamp_ms)
        if sample.histogram is None:
            made.untyped.value = sample.value
        else:
            made.histogram.CopyFrom(native_message(sample.histogram))
        return made


async def federate(
    pool: asyncpg.Pool, selectors: Sequence[Selector], format_: Format, *, own: str, now_ms: int
) -> Federation:
    """The newest sample within the last five minutes of each series that fits any of the selectors, but those whose
    newest one ends it, and those of the job `own`: Ares tells nobody about itself what `/metrics` tells.

    Raises:
        TooManySeries: more than `MAX_SERIES`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    not_own = Matcher("job", "!=", own, lambda job: job != own)
    selected = await select(
        pool,
        [replace(selector, matchers=(*selector.matchers, not_own)) for selector in selectors],
        now_ms - _STALENESS_MS,
        now_ms,
        max_series=MAX_SERIES,
        max_samples=2 * MAX_SERIES,
        newest_only=True,
    )
    return Federation(await asyncio.to_thread(_samples, selected), format_)


def _samples(selected: Selected) -> list[_Sample]:
    made = []
    for number, pairs in enumerate(selected.labels):
        place = int(selected.offsets[number + 1]) - 1
        value = float(selected.values[place])
        if is_stale_bits(value):
            continue
        labels = dict(pairs)
        name = labels.pop(NAME)
        labels.setdefault("instance", "")
        histograms = selected.histograms.get(number)
        made.append(
            _Sample(name, labels, int(selected.timestamps[place]), value, histograms[-1] if histograms else None)
        )
    return sorted(made, key=lambda sample: order_of(sorted(sample.labels.items()), sample.name))
