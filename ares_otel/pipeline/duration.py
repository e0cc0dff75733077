"""Durations as the Collector writes them: `300ms`, `5s`, `1m30s`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "μs": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "h": "3600"}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_SECONDS = 10 * 365 * 24 * 3600


def parse_duration(value: object) -> object:
    """Seconds from a string in the format of Go's `time.ParseDuration`, the one that the Collector uses.

    A number is taken only when it is 0 or a float that was parsed before (a default): the Collector would read a bare
    5 as five nanoseconds, which nobody means.

    Raises:
        ValueError: not a duration, negative, or longer than ten years.
    """
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and value == 0):
        return _bounded(float(value), value)
    text = str(value).strip()[:100]
    if not isinstance(value, str):
        raise ValueError(f"a duration needs a unit, for example {text}s or {text}ms")
    if text in ("0", "+0"):
        return 0.0
    seconds, position = Decimal(0), 0
    for part in _PART.finditer(text):
        if part.start() != position:
            break
        seconds += Decimal(part[1]) * Decimal(_UNITS[part[2]])
        position = part.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} is not a duration; write for example 300ms, 5s or 1m30s")
    return _bounded(float(seconds), text)


def _bounded(seconds: float, shown: object) -> float:
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ValueError(f"{shown} is not a duration between 0 and ten years")
    return seconds


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str)]
"""Seconds in the program, `5s` or `1m30s` in the configuration file."""
