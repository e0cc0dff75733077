"""What a request holds, and what of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ares_otel.model.prometheus.metadata import MetricMetadata

MAX_REASONS = 3


class Written(NamedTuple):
    """Counts of what is kept of a request."""

    samples: int = 0
    histograms: int = 0
    exemplars: int = 0

    @property
    def points(self) -> int:
        """What OTLP counts."""
        return self.samples + self.histograms

    def without(self, points: int) -> Written:
        """Fewer points than that: the store has refused some more, and does not say of which kind they are."""
        samples = max(0, self.samples - points)
        return Written(samples, max(0, self.histograms - (points - (self.samples - samples))), self.exemplars)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a body becomes."""

    payload: bytes
    """An `ExportMetricsServiceRequest`."""
    written: Written
    rejected: int
    """Samples and histograms that it leaves out, because they are invalid."""
    reason: str
    """Why something is left out; empty when nothing is that the sender must be told of."""
    left_exemplars: int
    """Exemplars that it leaves out."""
    metadata: Sequence[MetricMetadata]


class Complaints:
    """Why something is left out: how many pieces, and the first reasons."""

    def __init__(self) -> None:
        self._count = 0
        self._reasons: list[str] = []

    def add(self, reason: str) -> None:
        """Notes one more piece."""
        self._count += 1
        if len(self._reasons) < MAX_REASONS and reason not in self._reasons:
            self._reasons.append(reason)

    @property
    def text(self) -> str:
        """A sentence, or nothing."""
        if not self._count:
            return ""
        pieces = "1 piece" if self._count == 1 else f"{self._count} pieces"
        return f"{pieces} of the request cannot be stored, the rest is: {'; '.join(self._reasons)}."
