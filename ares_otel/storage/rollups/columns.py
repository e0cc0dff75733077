"""Many rows in one statement: a list for each column, as `unnest` takes them; and arrays, which the driver reads and
writes slowly, and on the event loop.

Statements read arrays as `array_send(…)`, in the binary form of PostgreSQL (`rows/copy_format.py`): after a head of 20
bytes each element has 4 bytes for its length. They write them as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

_HEAD = 20
_INT2 = Struct(">4xh").iter_unpack
_INT8 = Struct(">4xq").iter_unpack


def columns_of(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows, as a list for each column; an empty list for no rows."""
    return [list(column) for column in zip(*rows, strict=True)]


def as_array(values: Sequence[float]) -> str:
    """An array as PostgreSQL reads it from text."""
    return f"{{{str(values)[1:-1]}}}"


def int2_array(sent: bytes) -> list[int]:
    """The elements of a smallint[], none NULL, from what `array_send` gives."""
    return [value for (value,) in _INT2(sent[_HEAD:])]


def int8_array(sent: bytes) -> list[int]:
    """The elements of a bigint[], none NULL, from what `array_send` gives."""
    return [value for (value,) in _INT8(sent[_HEAD:])]
