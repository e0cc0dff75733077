"""Options that the Collector's connectors have and Ares's do not need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refuse(values: Any, reasons: Mapping[str, str]) -> Any:
    """The options as they are.

    Args:
        reasons: why there is no such option, and what to do, by its name.

    Raises:
        ValueError: one of these is among them.
    """
    if isinstance(values, dict):
        for name, reason in reasons.items():
            if name in values:
                raise ValueError(f"{name} is an option of the Collector's connector only: {reason}")
    return values
