"""Durations and sizes as Prometheus's configuration writes them: `1m30s`, `1d`, `10MB`.

Source: prometheus.io, "Configuration", the placeholders `<duration>` and `<size>`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = re.compile(
    r"(?:(\d{1,9})y)?(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?"
)
_MILLISECONDS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_LONGEST = 366 * 86_400.0
_SIZE = re.compile(r"(\d{1,15})(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)")
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_duration(value: object) -> object:
    """Seconds from text such as `15s`, `1m30s` or `1d`; the largest unit comes first.

    Raises:
        ValueError: it is no duration, or longer than a year.
    """
    if isinstance(value, float):
        return value  # a default
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None or not value:
        raise ValueError(f"{str(value)[:50]!r} is not a duration; write for example 15s, 1m30s or 500ms")
    parts = zip(match.groups(), _MILLISECONDS, strict=True)
    seconds = sum(int(number) * unit for number, unit in parts if number) / 1000
    if seconds > _LONGEST:
        raise ValueError(f"{str(value)[:50]} is longer than a year")
    return seconds


def parse_size(value: object) -> object:
    """Bytes from text such as `10MB`; K, M, G and T are powers of 1024, as in Prometheus. 0 is 0.

    Raises:
        ValueError: it is no size.
    """
    if value == 0 or value == "0":
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{str(value)[:50]!r} is not a size; write for example 500KB or 32MB")
    return int(match[1]) * 1024 ** _POWERS[match[2][0]]


PrometheusDuration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str)]
"""Seconds in the program, `15s` or `1m30s` in the configuration file."""
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=str)]
"""Bytes in the program, `32MB` in the configuration file."""
