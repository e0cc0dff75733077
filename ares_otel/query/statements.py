"""SQL from `.sql` files: named statements with named parameters and optional conditions.

A file holds statements, each after a line `-- name: NAME`. `:word` is a parameter and becomes a bound `$n`. A line that
ends in `-- when WORD` is part of the statement only when the parameter WORD has a value: an absent filter leaves no
`$1 IS NULL OR …` behind, which would keep the planner from using an index once it plans without the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)\s*$")
_WHEN = re.compile(r"\s*-- when (\w+)\s*$")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


class Statement:
    """One named statement of a file."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines: list[tuple[str | None, str]] = []
        for line in text.splitlines():
            when = _WHEN.search(line)
            code = line[: when.start()] if when else line
            if code.strip() and not code.lstrip().startswith("--"):
                self._lines.append((when[1] if when else None, code))
        conditions = {condition for condition, _ in self._lines if condition}
        self.parameters = frozenset(conditions | {p for _, code in self._lines for p in _PARAMETER.findall(code)})
        self._render = lru_cache(maxsize=256)(self._rendered)

    def bind(self, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """The text with `$1…` and the values in that order.

        Args:
            values: exactly the statement's parameters; None for an optional one leaves its lines out.

        Raises:
            TypeError: a parameter is missing or unknown.
        """
        if values.keys() != self.parameters:
            difference = ", ".join(sorted(self.parameters ^ values.keys()))
            raise TypeError(f"The statement {self.name} has other parameters; look at: {difference}.")
        text, order = self._render(frozenset(name for name, value in values.items() if value is not None))
        return text, [values[name] for name in order]

    def _rendered(self, given: frozenset[str]) -> tuple[str, tuple[str, ...]]:
        numbers: dict[str, int] = {}

        def number(match: re.Match[str]) -> str:
            return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

        kept = [code for condition, code in self._lines if condition is None or condition in given]
        return _PARAMETER.sub(number, "\n".join(kept)), tuple(numbers)


def parse_statements(text: str) -> dict[str, Statement]:
    """The statements of a file's text, by name.

    Raises:
        ValueError: two statements have one name, or SQL stands before the first name.
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        if match := _NAME.match(line):
            if match[1] in found:
                raise ValueError(f"Two statements are named {match[1]}; names must differ.")
            current = found[match[1]] = []
        elif current is not None:
            current.append(line)
        elif line.strip() and not line.startswith("--"):
            raise ValueError("A statement has no name; put a line '-- name: NAME' before it.")
    return {name: Statement(name, "\n".join(lines)) for name, lines in found.items()}


def load_statements(file: str) -> dict[str, Statement]:
    """The statements of `sql/FILE`, by name. Raises OSError when the file is missing."""
    return parse_statements((_FOLDER / file).read_text(encoding="utf-8"))
