"""Names for a scraper that does not take every name: the schemes of `escaping=` in Accept.

https://prometheus.io/docs/instrumenting/escaping_schemes/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Escaping(StrEnum):
    UNDERSCORES = "underscores"
    """Each illegal character is an underscore."""
    ALLOW_UTF8 = "allow-utf-8"
    """Names stay as they are, and are quoted."""
    DOTS = "dots"
    """A dot is `_dot_`, an underscore `__`, any other illegal character `__`."""
    VALUES = "values"
    """`U__`, then each illegal character as its code point; can be undone."""


def is_legacy_metric_name(name: str) -> bool:
    """Whether the name needs no quotes."""
    return _METRIC.fullmatch(name) is not None


def is_legacy_label_name(name: str) -> bool:
    """Whether the label's name needs no quotes."""
    return _LABEL.fullmatch(name) is not None


def escape_metric_name(name: str, scheme: Escaping) -> str:
    """The name of a metric under a scheme; `name` is not empty."""
    return _escaped(name, scheme, _METRIC, ":")


def escape_label_name(name: str, scheme: Escaping) -> str:
    """The name of a label under a scheme; `name` is not empty. A colon is illegal here."""
    return _escaped(name, scheme, _LABEL, "")


def escape_labels(labels: Mapping[str, str], scheme: Escaping) -> dict[str, str]:
    """Labels under a scheme, sorted by name. Those that become one have their values joined by `;`, and what becomes
    `__name__` is left out."""
    named: dict[str, str] = {}
    for name in sorted(labels):
        escaped = escape_label_name(name, scheme)
        if escaped != "__name__":
            named[escaped] = f"{named[escaped]};{labels[name]}" if escaped in named else labels[name]
    return dict(sorted(named.items()))


def _escaped(name: str, scheme: Escaping, legal: re.Pattern[str], extra: str) -> str:
    if scheme is Escaping.ALLOW_UTF8 or (scheme is not Escaping.DOTS and legal.fullmatch(name)):
        return name
    pieces = []
    for place, char in enumerate(name):
        if char == "_" and scheme is not Escaping.UNDERSCORES:
            pieces.append("__")
        elif char == "_" or (char.isascii() and (char.isalpha() or (place and char.isdigit()))) or char in extra:
            pieces.append(char)
        elif scheme is Escaping.UNDERSCORES:
            pieces.append("_")
        elif scheme is Escaping.DOTS:
            pieces.append("_dot_" if char == "." else "__")
        else:
            pieces.append(f"_{ord(char):x}_")
    return ("U__" if scheme is Escaping.VALUES else "") + "".join(pieces)
