"""UCUM units and the words that Prometheus's names have for them.

The tables have versions: a word that is corrected renames metrics. "1.0.0" is that of otlptranslator v1.0.0, which
Prometheus uses; "2" is its later correction (TiBy, kBy).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIRST = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
UNIT_TABLES: Mapping[str, Mapping[str, str]] = {
    "1.0.0": _FIRST,
    "2": {**_FIRST, "TiBy": "tebibytes", "kBy": "kilobytes"},
}
"""By version: unit → word. A unit that is missing stands for itself."""
PER_UNITS: Mapping[str, str] = {
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
"""The same behind a slash: `By/s` is bytes per second. `m` is meters before it and minute behind it."""

_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What may stand around a unit: Unicode's white space, without the control characters that `str.strip` takes too."""
_INVALID = re.compile(r"[^a-zA-Z0-9:]")
_UNDERSCORES = re.compile(r"__+")


def unit_words(unit: str, table: str) -> tuple[str, str]:
    """The words for what stands before and behind the first slash, `("bytes", "per_second")`; "" where there is none.
    A part with a brace is an annotation and left out whole."""
    main, _, per = (part.strip(_SPACE) for part in unit.partition("/"))
    if "{" in main or "}" in main:
        main = ""
    if "{" in per or "}" in per:
        per = ""
    return UNIT_TABLES[table].get(main, main), f"per_{PER_UNITS.get(per, per)}" if per else ""


def legal_unit(word: str) -> str:
    """A word with nothing but letters, digits, colons and single underscores."""
    return _UNDERSCORES.sub("_", _INVALID.sub("_", word)).removeprefix("_")
