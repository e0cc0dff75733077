"""Numbers, times and foreign text as a terminal can show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

from ares_otel.cli.shown import printable


@dataclass(frozen=True, slots=True)
class Symbols:
    """What lines and bars are drawn with."""

    branch: str
    last: str
    through: str
    on_path: str
    off_path: str
    mark: str
    """Beside a span of the critical path."""
    event: str
    link: str
    gap: str
    more: str
    dot: str
    """Between facts on a line."""
    dash: str


UNICODE = Symbols("├ ", "└ ", "│ ", "█", "░", "●", "◆", "↗", "┄", "…", " · ", "–")
ASCII = Symbols("|-", "`-", "| ", "#", "-", "*", "+", "@", "~", "...", ", ", "-")


@dataclass(frozen=True, slots=True)
class Script:
    """What the terminal can write."""

    encoding: str = "utf-8"

    @property
    def unicode(self) -> bool:
        return self.encoding.lower().replace("-", "").replace("_", "").startswith("utf")

    @property
    def symbols(self) -> Symbols:
        return UNICODE if self.unicode else ASCII

    def shown(self, text: str, limit: int = 500) -> str:
        """A sender's text on one line: control characters, and what the terminal cannot write, are escaped."""
        safe = printable(text, limit)
        if self.unicode:
            # A lone surrogate is printable to nobody; PostgreSQL has none, a test's trace may.
            return safe.encode("utf-8", "backslashreplace").decode("utf-8")
        safe = safe.removesuffix("…") + "..." if len(text) > limit else safe
        return safe.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def cut(self, text: str, cells: int) -> str:
        """The text in at most so many columns, with a mark where something was cut off."""
        if cell_len(text) <= cells:
            return text
        more = self.symbols.more
        if cells <= len(more):
            return set_cell_size(text, max(0, cells))
        return set_cell_size(text, cells - len(more)).rstrip() + more

    def fitted(self, text: str, cells: int) -> str:
        """The text in exactly so many columns."""
        return set_cell_size(self.cut(text, cells), max(0, cells))


def duration_text(ns: int) -> str:
    """`850 ns`, `12.3 ms`, `1.24 s`, `2 m 05 s`, `3 h 02 m`: nine columns at most below a thousand hours."""
    if ns < 0:
        return "-" + duration_text(-ns)
    if ns < 1000:
        return f"{ns} ns"
    for unit, size in (("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        value = ns / size
        if value < 9.995:
            return f"{value:.2f} {unit}"
        if value < (59.95 if unit == "s" else 99.95):
            return f"{value:.1f} {unit}"
        if unit != "s" and value < 999.5:
            return f"{value:.0f} {unit}"
    seconds = round(ns / 1e9)
    if seconds < 3600:
        return f"{seconds // 60} m {seconds % 60:02} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60:02} m"


def time_text(unix_nano: int) -> str:
    """In UTC, to the millisecond."""
    seconds, rest = divmod(unix_nano, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}Z"
    except (OverflowError, ValueError, OSError):
        return f"{unix_nano} ns after 1970"


def counted(number: int, noun: str) -> str:
    """`1 span`, `2 spans`."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"
