"""Part of a request: some of its items, with the resources and scopes around them.

Used where the database refuses something in a request: parts of it are tried until what is left is the item itself,
which is then a request of its own that can be shown, kept and sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal

_LEVELS: dict[Signal, tuple[str, ...]] = {
    TRACES: ("resource_spans", "scope_spans", "spans"),
    LOGS: ("resource_logs", "scope_logs", "log_records"),
    METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}
"""The repeated fields on the way to the items; a metric holds its points one level deeper."""


def piece(signal: Signal, request: Any, start: int, stop: int) -> Any:
    """The items `start <= number < stop` of a request, counted in the order of the wire, as a request."""
    out = signal.request()
    points = _copy_points if signal is METRICS else None
    _copy(request, out, _LEVELS[signal], start, stop, points)
    return out


def _copy(
    source: Any,
    target: Any,
    levels: Sequence[str],
    start: int,
    stop: int,
    points: Callable[[Any, Any, int, int], int] | None,
) -> int:
    """Copies the wanted items below `source` to `target`; returns how many items `source` holds, or `stop` or more when
    it did not look at all of them."""
    name, rest = levels[0], levels[1:]
    here, there = getattr(source, name), getattr(target, name)
    if not rest and points is None:
        there.extend(here[max(start, 0) : max(stop, 0)])
        return len(here)
    seen = 0
    for child in here:
        made = type(child)()
        if rest:
            count = _copy(child, made, rest, start - seen, stop - seen, points)
        else:
            assert points is not None
            count = points(child, made, start - seen, stop - seen)
        if count and seen < stop and seen + count > start:
            _copy_envelope(child, made, rest[0] if rest else "")
            there.append(made)
        seen += count
        if seen >= stop:
            break  # whoever asked adds at least `stop` and looks no further either
    return seen


def _copy_envelope(source: Message, target: Any, repeated: str) -> None:
    """Everything of `source` but the repeated field that holds the items, and but a metric's data."""
    for field, value in source.ListFields():
        if field.name == repeated or field.containing_oneof is not None:
            continue
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _copy_points(metric: Any, target: Any, start: int, stop: int) -> int:
    """The points of one metric."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return 0
    data, made = getattr(metric, kind), getattr(target, kind)
    made.SetInParent()
    _copy_envelope(data, made, "data_points")
    made.data_points.extend(data.data_points[max(start, 0) : max(stop, 0)])
    return len(data.data_points)
