"""Metrics of one test: a reader of its own on each meter provider, so that it sees what was recorded since it began."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Metric, MetricReader, MetricsData, Sum

_NOTHING = object()
Key = tuple[str, str, tuple[tuple[str, Any], ...]]


class _Reader(MetricReader):
    """Collects when it is asked. Cumulative since it was added, which is the beginning of the test."""

    def __init__(self) -> None:
        super().__init__()
        self.received: MetricsData | None = None

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self.received = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Called when it is removed, and by an application that ends its telemetry in the middle of a test."""

    def read(self) -> list[tuple[str, Metric]]:
        """(scope, metric) of all that has points."""
        self.received = None
        self.collect()
        data, self.received = self.received, None
        if data is None:
            return []
        return [
            (scope.scope.name, metric)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]


class Meters:
    """The readers of one test, from `follow` to `stop`."""

    def __init__(self) -> None:
        self._readers: list[tuple[MeterProvider, _Reader, dict[Key, float]]] = []

    def follow(self, provider: Any) -> None:
        """Adds a reader. Observable counters count from when their process began: what they say now is noted, and
        taken off what they say later. Nothing else has points yet."""
        if any(provider is known for known, _, _ in self._readers):
            return
        reader = _Reader()
        provider.add_metric_reader(reader)
        before = {
            _key(scope, metric, point): point.value
            for scope, metric in reader.read()
            if isinstance(metric.data, Sum) and metric.data.is_monotonic
            for point in metric.data.data_points
        }
        self._readers.append((provider, reader, before))

    def read(self) -> list[tuple[str, Metric, dict[Key, float]]]:
        """(scope, metric, what observable counters said at the beginning)."""
        return [(scope, metric, before) for _, reader, before in self._readers for scope, metric in reader.read()]

    @property
    def ended(self) -> bool:
        """Whether the application has shut a provider down, which gives no meters any more."""
        return any(getattr(provider, "_shutdown", False) for provider, _, _ in self._readers)

    def clear(self) -> None:
        """Counts anew from here."""
        providers = [provider for provider, _, _ in self._readers]
        self.stop()
        for provider in providers:
            self.follow(provider)

    def stop(self) -> None:
        """Removes the readers and what they have collected."""
        for provider, reader, _ in self._readers:
            provider.remove_metric_reader(reader)
        self._readers.clear()


def _key(scope: str, metric: Metric, point: Any) -> Key:
    return (scope, metric.name, _hashable(point.attributes))


def since(scope: str, metric: Metric, point: Any, before: dict[Key, float]) -> Any:
    """The value of a point of a counter, less what it was at the beginning of the test."""
    return point.value - before.get(_key(scope, metric, point), 0)


def unmoved(scope: str, metric: Metric, point: Any, before: dict[Key, float]) -> bool:
    """Whether a point is a counter's and says what it said at the beginning of the test."""
    return bool(before) and before.get(_key(scope, metric, point)) == getattr(point, "value", _NOTHING)


def _hashable(attributes: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((key, repr(value)) for key, value in (attributes or {}).items()))
