"""Names and values of the code under test as text for a terminal: one line, bounded, and nothing in it steers it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

NAME_WIDTH = 60
VALUE_WIDTH = 80
_ITEMS = 8
_DEPTH = 3


def shown_name(text: object, width: int = NAME_WIDTH) -> str:
    """The text itself where it is printable; control characters, line breaks and lone surrogates as escapes."""
    raw = as_text(text)
    cut = raw[: width + 1]
    safe = cut if cut.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in cut)
    if len(raw) <= width and len(safe) <= width:
        return safe
    return safe[: width - 1] + "…"


def shown_value(value: object, width: int = VALUE_WIDTH) -> str:
    """`repr` of an attribute value, cut before it is made: a text of megabytes costs nothing."""
    return _cut(_repr(value, width, _DEPTH), width)


def as_text(value: object) -> str:
    """The text itself, or `str`, which an object of the code under test may fail to give."""
    try:
        return value if isinstance(value, str) else str(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose str raised {type(error).__name__}>"


def cells(text: str) -> int:
    """How many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(one) for one in text)


def padded(text: str, width: int) -> str:
    """The text with blanks up to `width` cells."""
    return text + " " * (width - cells(text))


def listed(names: Sequence[str], at_most: int = 8) -> str:
    """`'a', 'b' and 3 more`."""
    few = [f"'{shown_name(name)}'" for name in names[:at_most]]
    if len(names) > at_most:
        few.append(f"{len(names) - at_most} more")
    return few[0] if len(few) == 1 else ", ".join(few[:-1]) + " and " + few[-1] if few else ""


def _repr(value: object, width: int, depth: int) -> str:
    if isinstance(value, str | bytes | bytearray):
        return repr(value) if len(value) <= width else repr(value[:width]) + "…"
    if isinstance(value, Mapping):
        if depth == 0:
            return "{…}"
        items = [
            f"{_repr(k, width, depth - 1)}: {_repr(v, width, depth - 1)}" for k, v in islice(value.items(), _ITEMS)
        ]
        return "{" + ", ".join(items + ["…"] * (len(value) > _ITEMS)) + "}"
    if isinstance(value, list | tuple):
        if depth == 0:
            return "[…]"
        few = [_repr(one, width, depth - 1) for one in value[:_ITEMS]]
        return "[" + ", ".join(few + ["…"] * (len(value) > _ITEMS)) + "]"
    if isinstance(value, bool | int | float | None):
        return repr(value)
    return _foreign(value)


def _foreign(value: Any) -> str:
    """Anything else may say anything, or fail to."""
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return shown_name(text, VALUE_WIDTH)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _escaped(one: str) -> str:
    return repr(one)[1:-1]


def _cells_of(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1
