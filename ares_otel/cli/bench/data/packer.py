"""Items of many services → requests of one instance each, and a gateway's requests with what is rare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

from ares_otel.cli.bench.data.story import Deed
from ares_otel.cli.bench.data.template import Template
from ares_otel.model.signal import TRACES, Signal

Item = TypeVar("Item")
_DIRECT = 24
"""So many services, the popular ones, send themselves; a gateway collects from the others."""
_GATEWAY = (-1, -1)


class Packer(Generic[Item]):
    """Collects items in the order of time; a request is finished when its sender has enough."""

    def __init__(self, signal: Signal, size: int, scopes: Callable[[Deed, list[Item]], Sequence[Any]]) -> None:
        """
        Args:
            scopes: ScopeSpans or ScopeLogs of one instance's items; the deed says which instance.
        """
        self._signal = signal
        self._size = size
        self._scopes = scopes
        self._waiting: dict[tuple[int, int], list[tuple[Deed, Item]]] = {}
        self._finished: list[Template] = []

    def add(self, deed: Deed, item: Item) -> None:
        key = (deed.service.index, deed.instance) if deed.service.index < _DIRECT else _GATEWAY
        waiting = self._waiting.setdefault(key, [])
        waiting.append((deed, item))
        if len(waiting) == self._size:
            self._finish(self._waiting.pop(key))

    def templates(self) -> list[Template]:
        """All that are finished, and what was left over as a gateway's requests."""
        left = [entry for entries in self._waiting.values() for entry in entries]
        self._waiting = {}
        for start in range(0, len(left), self._size):
            self._finish(left[start : start + self._size])
        return self._finished

    def _finish(self, entries: list[tuple[Deed, Item]]) -> None:
        request: Any = self._signal.request()
        for _, group in groupby(sorted(entries, key=_sender), key=_sender):
            of_one = list(group)
            first = of_one[0][0]
            entry = (request.resource_spans if self._signal is TRACES else request.resource_logs).add()
            entry.resource.CopyFrom(first.service.resource(first.instance))
            scopes = self._scopes(first, [item for _, item in of_one])
            (entry.scope_spans if self._signal is TRACES else entry.scope_logs).extend(scopes)
        self._finished.append(Template(request.SerializeToString(), self._signal, len(entries)))


def _sender(entry: tuple[Deed, object]) -> tuple[int, int]:
    return entry[0].service.index, entry[0].instance
