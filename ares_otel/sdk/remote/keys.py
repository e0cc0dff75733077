"""The settings of an application that its SDK obeys, and what each may hold.

Everything else under the service's name is the application's own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind

from ares_otel.control.config_values import as_float
from ares_otel.control.sampling import keys as sampling

LEVEL = "logging.level"
LEVEL_OF = "logging.level."
"""Followed by a logger's name."""
RATIO = sampling.RATIO
RULES = sampling.RULES
MAX_RATE = sampling.MAX_RATE
TARGET = sampling.TARGET
INTERVAL = "metrics.interval"

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
KINDS: Mapping[str, SpanKind] = {kind.name.lower(): kind for kind in SpanKind}
SECRET = "it is encrypted, and applications are not given it"
"""Why an encrypted setting is not to be had."""
MIN_INTERVAL, MAX_INTERVAL = 0.1, 86_400.0
"""Seconds between two collections of metrics."""


def problem_of(service: str, key: str, value: Any) -> str | None:
    """Why the setting cannot hold the value, as a sentence that does not quote it; None when it can, or when the key is
    the application's own."""
    expected = _expected(key, value)
    return None if expected is None else f"The value of {service}/{key} must be {expected}."


def _expected(key: str, value: Any) -> str | None:
    if key == LEVEL or key.startswith(LEVEL_OF):
        if key in (LEVEL_OF, f"{LEVEL_OF}root"):
            return f"under {LEVEL}, which is that of the root logger"
        return None if isinstance(value, str) and value in LEVELS else f"one of {', '.join(LEVELS)}"
    if key in sampling.KEYS:
        return sampling.expected(key, value)
    if key == INTERVAL:
        seconds = as_float(value)
        good = seconds is not None and MIN_INTERVAL <= seconds <= MAX_INTERVAL
        return None if good else f"a number of seconds from {MIN_INTERVAL:g} to {MAX_INTERVAL:g}"
    return None
