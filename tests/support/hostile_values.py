"""Values that somebody hands to a logger by mistake or on purpose: they raise, never end, or are far too large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any


class Angry:
    """Every question is answered with an exception."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 7

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


class AngryMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class AngryText(str):
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class Endless(list[int]):
    """A list that never ends."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


class EndlessMapping(dict[str, int]):
    """One key, without end."""

    def items(self) -> Any:
        while True:
            yield "again", 1


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


def round_and_round() -> dict[str, Any]:
    value: dict[str, Any] = {"name": "snake"}
    value["tail"] = [value, value]
    return value


HOSTILE = [
    Angry(),
    Angry,
    AngryMapping(),
    AngryText("x"),
    Endless([1]),
    EndlessMapping(again=1),
    deep(500),
    round_and_round(),
    "x" * 1_000_000,
    b"x" * 1_000_000,
    memoryview(b"x" * 1_000_000)[::2],
    "\ud800 half a pair, \ud83d\ude00 a whole one",
    {"\ud800": 1, "": 2, None: 3, (1, 2): 4, Angry(): 5, "k" * 10_000: 6},
    [0] * 1_000_000,
    {str(number): number for number in range(10_000)},
    10**5_000,
    -(10**20),
    float("nan"),
    Decimal("NaN"),
    Fraction(10**400),
    RuntimeError(Angry()),
    (lambda: None),
    range(10**18),
    iter([1, 2]),
    object(),
]
