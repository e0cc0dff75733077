"""What is wrong in a configuration file, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ares_otel.model.errors import StartError

Path = tuple[str | int, ...]
"""The way to a value in the file: `("processors", "filter/noise", "error_mode")`; list items by number from 0."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the file, both numbers from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem; several are sorted by their place in the file."""

    place: Place
    message: str
    warning: bool = False

    def show(self, file: str) -> str:
        """`FILE:LINE:COLUMN: message`, which editors and terminals make a link of."""
        kind = "warning: " if self.warning else ""
        return f"{file}:{self.place.line}:{self.place.column}: {kind}{self.message}"


class ConfigError(StartError):
    """The pipeline configuration is wrong. `problems` holds all of it, sorted by line, warnings included."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems: Sequence[Problem] = sorted(set(problems))
        super().__init__("\n".join(problem.show(file) for problem in self.problems))


def dotted(path: Path) -> str:
    """`service.pipelines.traces.receivers[0]`"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def suggestion(wrong: str, known: Iterable[str], what: str) -> str:
    """The end of an error message: the nearest valid name, or all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(wrong[:100], names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return f"there are no {what}."
    return f"{what}: {', '.join(names[:30])}."
