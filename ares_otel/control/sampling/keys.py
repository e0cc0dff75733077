"""The settings of a service that say which of its traces are begun, and what each may hold."""

from __future__ import annotations

from typing import Any

from ares_otel.control.config_values import as_float, as_int

PREFIX = "sampling."
RATIO = "sampling.ratio"
RULES = "sampling.rules"
MAX_RATE = "sampling.max_traces_per_second"
TARGET = "sampling.target_traces_per_second"
LOWER_BOUND = "sampling.lower_bound_traces_per_second"
KEYS = (RATIO, RULES, MAX_RATE, TARGET, LOWER_BOUND)

KINDS = ("internal", "server", "client", "producer", "consumer")
MAX_RULES = 100
MAX_OPERATION = 500
"""Characters of a rule's pattern."""
MOST_RATE = 2**31 - 1
"""The protocol has 32 bits for `maxTracesPerSecond`."""
LEAST_TARGET, MOST_TARGET = 0.001, 1_000_000.0
"""Traces a second."""


def expected(key: str, value: Any) -> str | None:
    """What the setting must be instead, as the end of a sentence that does not quote it; None when it can hold the
    value, or when the key is none of these."""
    if key == RATIO:
        return None if is_ratio(value) else "a number from 0 to 1"
    if key == RULES:
        return _expected_rules(value)
    if key == MAX_RATE:
        rate = as_int(value)
        good = rate is not None and 0 <= rate <= MOST_RATE
        return None if good else f"a whole number of traces a second from 0 to {MOST_RATE}"
    if key == TARGET:
        return _expected_rate(value, LEAST_TARGET)
    if key == LOWER_BOUND:
        return _expected_rate(value, 0.0)
    return None


def problem_of(service: str, key: str, value: Any) -> str | None:
    """Why the setting cannot hold the value, as a sentence that does not quote it; None when it can."""
    wanted = expected(key, value)
    return None if wanted is None else f"The value of {service}/{key} must be {wanted}."


def is_ratio(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    ratio = as_float(value)
    return ratio is not None and 0.0 <= ratio <= 1.0


def _expected_rate(value: Any, least: float) -> str | None:
    rate = as_float(value)
    good = rate is not None and least <= rate <= MOST_TARGET
    return None if good else f"a number of traces a second from {least:g} to {MOST_TARGET:,.0f}"


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
        if not is_ratio(rule["ratio"]):
            return f"rules whose ratio is a number from 0 to 1, {unlike}"
        if kind is not None and not (isinstance(kind, str) and kind in KINDS):
            return f"rules whose kind is one of {', '.join(KINDS)}, {unlike}"
    return None
