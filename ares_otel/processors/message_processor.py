"""What all processors share: the way of a batch through them, and the shape of the three requests."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext
from ares_otel.processors.values import replace_all

OFF_LOOP_BYTES = 256 * 1024
"""Larger requests are worked on in a thread, so that the doors stay answered meanwhile."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Names of the three levels of a request."""

    resources: str
    scopes: str
    items: str
    """`spans`, `log_records` or `metrics`; the counted item of the last is its data points."""


SHAPES = {
    TRACES: Shape("resource_spans", "scope_spans", "spans"),
    LOGS: Shape("resource_logs", "scope_logs", "log_records"),
    METRICS: Shape("resource_metrics", "scope_metrics", "metrics"),
}


class MessageProcessor(ABC):
    """A processor that looks into the request, changes a copy of it or takes items out.

    The batch itself is never changed. When nothing changes the same batch, with the same key, is handed on; when
    nothing is left, nothing is.
    """

    def __init__(self, context: BuildContext, signal: Signal, next: Consumer) -> None:
        self._context = context
        self._signal = signal
        self._next = next

    async def start(self) -> None:  # noqa: B027 - most processors open nothing
        """Nothing to open."""

    async def stop(self) -> None:  # noqa: B027
        """Nothing is held back."""

    @abstractmethod
    def process(self, message: Any) -> bool:
        """Changes the message, a copy of its own. Returns whether it changed. May run in a thread.

        Raises:
            Rejected: the processor is configured to refuse what it cannot judge.
        """

    async def consume(self, batch: Batch) -> Accepted:
        """See `Consumer`. Items that were taken out are `dropped` in the answer, counted once it stands."""
        if len(batch.payload) > OFF_LOOP_BYTES:
            child, dropped = await asyncio.to_thread(self._work, batch)
        else:
            child, dropped = self._work(batch)
        answer = Accepted() if child is None else await self._next.consume(child)
        if not dropped:
            return answer
        self._context.telemetry.count_items(
            "ares_otel_processor_dropped_{}", self._signal, dropped, processor=self._context.id
        )
        return answer.with_dropped(dropped)

    def _work(self, batch: Batch) -> tuple[Batch | None, int]:
        message = batch.copy_message()
        if not self.process(message):
            return batch, 0
        child = batch.child(message, component=self._context.id)
        dropped = batch.items - child.items
        return (child if getattr(message, SHAPES[self._signal].resources) else None), dropped


def resource_groups(signal: Signal, message: Any) -> Iterator[Any]:
    """The `ResourceSpans`, `ResourceLogs` or `ResourceMetrics` of a request."""
    yield from getattr(message, SHAPES[signal].resources)


def scope_groups(signal: Signal, message: Any) -> Iterator[tuple[Any, Any]]:
    """Each `ScopeSpans` (or `ScopeLogs`, `ScopeMetrics`) with its resource group."""
    scopes = SHAPES[signal].scopes
    for group in resource_groups(signal, message):
        for scope_group in getattr(group, scopes):
            yield group, scope_group


def items(signal: Signal, message: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Each span, log record or metric, with its scope group and its resource group: (item, scope group, group)."""
    name = SHAPES[signal].items
    for group, scope_group in scope_groups(signal, message):
        for item in getattr(scope_group, name):
            yield item, scope_group, group


def data_points(metric: Any) -> Any:
    """The data points of a metric of any kind; empty for a metric without data."""
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def prune(repeated: Any, keep: Callable[[Any], bool]) -> int:
    """Takes out of a repeated field what `keep` does not want. Returns how many elements that were."""
    kept = [element for element in repeated if keep(element)]
    removed = len(repeated) - len(kept)
    if removed:
        replace_all(repeated, kept)
    return removed


def prune_items(signal: Signal, message: Any, keep: Callable[[Any, Any, Any], bool]) -> bool:
    """Takes items out of a request: `keep(item, scope group, resource group)`; scopes and resources that are empty
    then go too. Returns whether anything was taken out."""
    shape = SHAPES[signal]
    groups = getattr(message, shape.resources)
    removed = 0
    for group in groups:
        scope_groups = getattr(group, shape.scopes)
        before = removed
        for scope_group in scope_groups:
            elements = getattr(scope_group, shape.items)
            removed += prune(elements, partial(_swapped, keep, scope_group, group))
        if removed > before:
            prune(scope_groups, lambda scope_group: len(getattr(scope_group, shape.items)) > 0)
    if removed:
        prune(groups, lambda group: len(getattr(group, shape.scopes)) > 0)
    return removed > 0


def _swapped(keep: Callable[[Any, Any, Any], bool], scope_group: Any, group: Any, item: Any) -> bool:
    return keep(item, scope_group, group)
