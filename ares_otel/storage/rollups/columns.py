"""Many rows in one statement: a list for each column, as `unnest` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def columns_of(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows, as a list for each column; an empty list for no rows."""
    return [list(column) for column in zip(*rows, strict=True)]


def as_array(values: Sequence[float]) -> str:
    """An array as PostgreSQL reads it from text: the driver needs five times as long for lists of numbers."""
    return f"{{{str(values)[1:-1]}}}"
