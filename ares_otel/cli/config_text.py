"""How settings and their changes are said to a person: `ares-api/logging.level: info → debug by alice: reason`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime

from ares_otel.cli.console import printable

WIDTH = 100
"""Characters of a value in a line about it."""


def value_line(text: str | None) -> str:
    """A value (JSON text) in a line: as JSON, shortened."""
    if text is None:
        return "nothing"
    shown = printable(json.dumps(json.loads(text), ensure_ascii=False))
    return shown if len(shown) <= WIDTH else shown[: WIDTH - 1] + "…"


def change_line(old: str | None, new: str | None, who: str, why: str | None, *, secret: bool = False) -> str:
    """`2 → 3 by alice: reason`. Values are JSON text, None where there was none."""
    if old is None:
        what = f"new: {value_line(new)}"
    elif new is None:
        what = f"{value_line(old)} → deleted"
    elif secret:
        what = "a new secret"
    else:
        what = f"{value_line(old)} → {value_line(new)}"
    return f"{what} by {printable(who)}" + (f": {printable(why)}" if why else "")


def when(time: datetime) -> str:
    """To the second, in the machine's time zone: it is for the eye."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns, two spaces apart; the last one as long as it is."""
    if not rows:
        return ""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    lines = (
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def raw_value(text: str) -> str:
    """A value for `get`: text as it is, anything else as JSON. On a terminal without control characters."""
    value = json.loads(text)
    shown = value if isinstance(value, str) else text
    if sys.stdout.isatty():
        shown = "\n".join(printable(line) for line in shown.split("\n"))
    return shown
