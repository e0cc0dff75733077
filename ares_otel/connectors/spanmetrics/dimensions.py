"""Dimensions that somebody configured, and their values."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ares_otel.connectors.series import Key
from ares_otel.connectors.spanmetrics.config import Dimension
from ares_otel.connectors.spanmetrics.globs import Globs

Found = Mapping[str, AnyValue]


class Dimensions:
    """The dimensions of a metric beside the built-in ones."""

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        self._named = [
            (one.name, None if one.default is None else AnyValue(string_value=one.default))
            for one in dimensions
            if one.name
        ]
        self._names = frozenset(name for name, _ in self._named)
        self._globs = Globs(one.glob for one in dimensions if one.glob)

    def __bool__(self) -> bool:
        return bool(self._named or self._globs)

    def __contains__(self, name: object) -> bool:
        """Whether somebody asks for the attribute."""
        return name in self._names or (isinstance(name, str) and self._globs.match(name))

    @property
    def wanted(self) -> Container[str]:
        """The attributes that somebody asks for; false for none."""
        return self if self._globs else self._names  # a set answers many times faster

    def find(self, *places: Found) -> list[tuple[str, AnyValue | None]]:
        """The value of each dimension: from the first place that has it, else its default, else None. Those of globs
        follow, by their names."""
        found: list[tuple[str, AnyValue | None]] = []
        for name, value in self._named:
            for place in places:
                if name in place:
                    value = place[name]
                    break
            found.append((name, value))
        if self._globs:
            matched: dict[str, AnyValue] = {}
            for place in reversed(places):
                matched |= {name: value for name, value in place.items() if self._globs.match(name)}
            found += sorted(matched.items(), key=lambda item: item[0])
        return found

    def key(self, found: Sequence[tuple[str, AnyValue | None]]) -> Key:
        """Equal for equal values only: 1, 1.0, true and "1" are four."""
        named = len(self._named)
        key = [None if value is None else _bytes(value) for _, value in found[:named]]
        return (*key, *(part for name, value in found[named:] if value is not None for part in (name, _bytes(value))))


def attributes(found: Iterable[tuple[str, AnyValue | None]]) -> list[KeyValue]:
    """Those that have a value."""
    return [KeyValue(key=name, value=value) for name, value in found if value is not None]


def _bytes(value: AnyValue) -> bytes:
    return value.SerializeToString(deterministic=True)
