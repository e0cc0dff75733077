"""The settings of an application that its SDK obeys, and what each may hold.

Everything else under the service's name is the application's own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind

from ares_otel.control.config_values import as_float

LEVEL = "logging.level"
LEVEL_OF = "logging.level."
"""Followed by a logger's name."""
RATIO = "sampling.ratio"
RULES = "sampling.rules"
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
MAX_RULES = 100
MAX_OPERATION = 500
"""Characters of a rule's pattern."""
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
    if key == RATIO:
        return None if _is_ratio(value) else "a number from 0 to 1"
    if key == RULES:
        return _expected_rules(value)
    if key == INTERVAL:
        seconds = as_float(value)
        good = seconds is not None and MIN_INTERVAL <= seconds <= MAX_INTERVAL
        return None if good else f"a number of seconds from {MIN_INTERVAL:g} to {MAX_INTERVAL:g}"
    return None


def _is_ratio(value: Any) -> bool:
    ratio = as_float(value)
    return ratio is not None and 0.0 <= ratio <= 1.0


def _expected_rules(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) > MAX_RULES:
        return f'a list of at most {MAX_RULES} rules such as {{"operation": "GET /health*", "ratio": 0}}'
    for place, rule in enumerate(value):
        if not isinstance(rule, dict) or not {"operation", "ratio"} <= rule.keys() <= {"operation", "ratio", "kind"}:
            return f"a list of objects with operation, ratio and, where wanted, kind; number {place + 1} is none"
        operation, kind = rule["operation"], rule.get("kind")
        unlike = f"unlike that of number {place + 1}"
        if not isinstance(operation, str) or not 1 <= len(operation) <= MAX_OPERATION:
            return f"rules whose operation is a text of 1 to {MAX_OPERATION} characters, {unlike}"
        if not _is_ratio(rule["ratio"]):
            return f"rules whose ratio is a number from 0 to 1, {unlike}"
        if kind is not None and not (isinstance(kind, str) and kind in KINDS):
            return f"rules whose kind is one of {', '.join(KINDS)}, {unlike}"
    return None
