"""A timer: how long something took, as a point of a histogram."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any

from ares_otel.sdk.values import type_name

ERROR_TYPE = "error.type"


class Timer:
    """Runs from the moment it was made until it is called, or until the end of its `with` or `async with` block; then
    the seconds are recorded, once. A block that ends with an exception adds the label `error.type`."""

    __slots__ = ("_began", "_labels", "_record", "_seconds")

    def __init__(
        self, record: Callable[[float, Mapping[str, Any] | None], None], labels: Mapping[str, Any] | None
    ) -> None:
        """
        Args:
            record: takes the seconds and the labels.
        """
        self._record = record
        self._labels = labels
        self._seconds: float | None = None
        self._began = perf_counter()

    def __call__(self, labels: Mapping[str, Any] | None = None) -> float:
        """Stops the timer and gives the seconds; once stopped, the same seconds again.

        Args:
            labels: in addition to those of the start, known only now.
        """
        if self._seconds is None:
            self._seconds = perf_counter() - self._began
            try:
                both = {**(self._labels or {}), **labels} if labels else self._labels
            except Exception:  # one of them is no mapping: whoever records it says so
                both = labels
            self._record(self._seconds, both)
        return self._seconds

    def __enter__(self) -> Timer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self({ERROR_TYPE: type_name(error)} if error is not None and not self._labelled() else None)

    async def __aenter__(self) -> Timer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _labelled(self) -> bool:
        """Whether the application said itself what went wrong."""
        return isinstance(self._labels, Mapping) and ERROR_TYPE in self._labels
