"""A metric as one test recorded it, and what can be asserted about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ares_otel.testing.attributes import has_all, holds, wanted
from ares_otel.testing.failing import failure
from ares_otel.testing.shown import padded, shown_name, shown_value

if TYPE_CHECKING:
    from typing import Self

_POINTS = 20


@dataclass(frozen=True, slots=True)
class CapturedPoint:
    """One combination of attributes. A histogram's `value` is None; the other signals' `count`, `sum`, … are."""

    attributes: Mapping[str, Any]
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bounds: Sequence[float] = ()
    """Upper bounds of the buckets of a histogram with explicit ones (OTLP: explicit_bounds)."""
    buckets: Sequence[int] = ()
    raw: Any = field(default=None, repr=False, compare=False)
    """The SDK's data point."""


class CapturedMetric:
    """What was recorded since the test began under one name."""

    def __init__(self, name: str, kind: str, unit: str, description: str, points: list[CapturedPoint]) -> None:
        self.name = name
        self.kind = kind
        """counter, up_down_counter, gauge, histogram or exponential_histogram."""
        self.unit = unit
        self.description = description
        self.points = points

    @property
    def value(self) -> float:
        """The sum over all attributes of a counter; of a gauge the value, which has to be a single one.

        Raises:
            AssertionError: it is a histogram, or a gauge with several values.
        """
        __tracebackhide__ = True
        return self._value(self.points, {})

    @property
    def count(self) -> int:
        """How many values a histogram recorded. Raises AssertionError for other kinds."""
        __tracebackhide__ = True
        self._needs_histogram("count")
        return sum(point.count or 0 for point in self.points)

    @property
    def sum(self) -> float:
        """Sum of the values that a histogram recorded. Raises AssertionError for other kinds."""
        __tracebackhide__ = True
        self._needs_histogram("sum")
        return sum(point.sum or 0 for point in self.points)

    @property
    def min(self) -> float:
        """The smallest value that a histogram recorded. Raises AssertionError for other kinds."""
        __tracebackhide__ = True
        self._needs_histogram("min")
        return min(point.min for point in self.points if point.min is not None)

    @property
    def max(self) -> float:
        """The largest value that a histogram recorded. Raises AssertionError for other kinds."""
        __tracebackhide__ = True
        self._needs_histogram("max")
        return max(point.max for point in self.points if point.max is not None)

    def points_with(self, attributes: Mapping[str, Any] | None = None, **more: Any) -> list[CapturedPoint]:
        """Points that have these attributes; they may have others too."""
        expected = wanted(attributes, more)
        return [point for point in self.points if has_all(expected, point.attributes)]

    def has_value(self, value: object, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts the value: of a counter the sum over the points with these attributes, of a gauge that of the one."""
        __tracebackhide__ = True
        expected = wanted(attributes, more)
        found = self._value(self._some(expected), expected)
        if not holds(value, found):
            raise failure(
                f"{self._named(expected)} is {shown_value(found)}, not {shown_value(value)}", self.table(expected)
            )
        return self

    def has_count(self, count: int, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts how many values a histogram recorded with these attributes."""
        __tracebackhide__ = True
        self._needs_histogram("count")
        expected = wanted(attributes, more)
        found = sum(point.count or 0 for point in self._some(expected))
        if not holds(count, found):
            raise failure(f"{self._named(expected)} has recorded {found} values, not {count}", self.table(expected))
        return self

    def has_sum(self, total: object, attributes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Asserts the sum of the values that a histogram recorded with these attributes."""
        __tracebackhide__ = True
        self._needs_histogram("sum")
        expected = wanted(attributes, more)
        found = sum(point.sum or 0 for point in self._some(expected))
        if not holds(total, found):
            raise failure(
                f"{self._named(expected)} has the sum {shown_value(found)}, not {shown_value(total)}",
                self.table(expected),
            )
        return self

    def has_unit(self, unit: str) -> Self:
        """Asserts the unit, as in UCUM: `s`, `By`, `{order}`."""
        __tracebackhide__ = True
        if self.unit != unit:
            raise failure(f"metric '{shown_name(self.name)}' has the unit {self.unit!r}, not {unit!r}")
        return self

    def table(self, expected: Mapping[str, Any] | None = None) -> list[str]:
        """The points, one a line; those that have the expected attributes marked, if any are expected."""
        head = f"{shown_name(self.name)}  {self.kind}{f'  {shown_name(self.unit)}' if self.unit else ''}"
        rows = [(self._reading(point), _attributes(point), point) for point in self.points[:_POINTS]]
        width = max((len(reading) for reading, _, _ in rows), default=0)
        lines = [head]
        for reading, text, point in rows:
            mark = "  ◀" if expected and has_all(expected, point.attributes) else ""
            lines.append(f"  {padded(reading, width)}  {text}{mark}")
        if len(self.points) > _POINTS:
            lines.append(f"  … and {len(self.points) - _POINTS} more")
        return lines

    def __repr__(self) -> str:
        few = "; ".join(f"{self._reading(point)} {_attributes(point)}".rstrip() for point in self.points[:3])
        more = f"; … {len(self.points)} points" if len(self.points) > 3 else ""
        return f"<{self.kind} {shown_name(self.name)!r}: {few}{more}>"

    def _some(self, expected: Mapping[str, Any]) -> list[CapturedPoint]:
        __tracebackhide__ = True
        found = [point for point in self.points if has_all(expected, point.attributes)]
        if not found:
            raise failure(f"metric '{shown_name(self.name)}' has no point with {shown_value(expected)}", self.table())
        return found

    def _value(self, points: list[CapturedPoint], expected: Mapping[str, Any]) -> float:
        __tracebackhide__ = True
        if "histogram" in self.kind:
            raise failure(
                f"metric '{shown_name(self.name)}' is a histogram: ask for its count, sum, min or max", self.table()
            )
        if self.kind == "gauge":
            if len(points) != 1:
                raise failure(
                    f"{self._named(expected)} has {len(points)} values; name the attributes of one: "
                    "has_value(value, {…}), or points_with({…})",
                    self.table(expected),
                )
            return points[0].value or 0
        return sum(point.value or 0 for point in points)

    def _needs_histogram(self, what: str) -> None:
        __tracebackhide__ = True
        if "histogram" not in self.kind:
            raise failure(
                f"metric '{shown_name(self.name)}' is a {self.kind.replace('_', '-')}, which has a value and no {what}",
                self.table(),
            )

    def _named(self, expected: Mapping[str, Any]) -> str:
        text = f"metric '{shown_name(self.name)}'"
        return f"{text} with {shown_value(dict(expected))}" if expected else text

    def _reading(self, point: CapturedPoint) -> str:
        if point.count is None:
            return f"{point.value:g}" if isinstance(point.value, float) else str(point.value)
        return f"count {point.count}, sum {point.sum:g}"


def _attributes(point: CapturedPoint) -> str:
    return shown_value(dict(point.attributes)) if point.attributes else ""
