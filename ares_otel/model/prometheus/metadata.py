"""What Prometheus knows of a metric beside its samples. It comes apart from them, and changes without new series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple


class MetricMetadata(NamedTuple):
    """Metadata of one metric."""

    metric_name: str
    """The metric family's: without `_bucket`, `_count`, `_sum`."""
    type: str
    """In Prometheus's words: `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset`,
    `unknown`."""
    unit: str
    help: str


class MetadataBook(ABC):
    """Where metadata is kept."""

    @abstractmethod
    def note(self, tenant_id: int, metadata: Iterable[MetricMetadata]) -> None:
        """Keeps what is new, soon. Never waits, and never raises: who tells it tells it again."""
