"""Durations as Go writes them (`time.ParseDuration`): `1h30m`, `1.5s`, `100ms`. Jaeger takes no other form."""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MAX_TEXT = 100
MAX_NS = 2**63 - 1
"""The longest duration in Go: 292 years."""
_FORM = "must be a duration with a unit, for example 100ms, 1.5s or 2h45m"


def parse_go_duration(text: str) -> int:
    """Reads a duration. Returns nanoseconds, which may be negative; a rest below one nanosecond is dropped.

    The form is a sign or none, then numbers with a unit of `ns`, `us` (or `µs`), `ms`, `s`, `m`, `h`; only `0` needs
    none.

    Raises:
        ValueError: it is none, or longer than Go's 292 years. The message is a sentence without a subject, to be put
            after the parameter's name.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(_FORM)
    sign = -1 if text[:1] == "-" else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None or not (match[1] or match[2]):
            raise ValueError(_FORM)
        unit = _UNITS[match[3]]
        fraction = match[2] or ""
        total += int(match[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = match.end()
    if not rest:
        raise ValueError(_FORM)
    if total > MAX_NS + (sign < 0):
        raise ValueError("must be a duration of at most 292 years, about 2562047h")
    return sign * total


def show_go_duration(nanoseconds: int) -> str:
    """As Go's `Duration.String` writes it: `1h0m0.5s`, `1.5ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit in ("ns", "\N{MICRO SIGN}s", "ms"):
        if left < 1000 * _UNITS[unit]:
            return f"{sign}{_decimal(left, _UNITS[unit])}{unit}"
    minutes, left = divmod(left, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    front = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{front}{_decimal(left, _UNITS['s'])}s"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
