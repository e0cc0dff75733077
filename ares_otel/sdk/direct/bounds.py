"""What an exporter may keep and how long it tries."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, fields
from typing import Any, TypedDict

log = logging.getLogger("ares_otel.sdk.direct")


class Limits(TypedDict, total=False):
    """The options of an exporter; what is not given, or None, comes from its variable, else it is the default."""

    queue_mib: float | None
    """MiB of encoded telemetry that may wait; more is dropped. `ARES_OTEL_SDK_QUEUE_MIB`, 16."""
    queue_items: int | None
    """Spans, log records or data points that may wait. `ARES_OTEL_SDK_QUEUE_ITEMS`, 100,000."""
    retry_seconds: float | None
    """Age at which what the database does not take is given up. `ARES_OTEL_SDK_RETRY_SECONDS`, 300."""
    shutdown_seconds: float | None
    """Most that `shutdown` waits, whatever longer time-out it is given. `ARES_OTEL_SDK_SHUTDOWN_SECONDS`, 5."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one exporter, as `Limits` describes them."""

    queue_mib: float = 16.0
    queue_items: int = 100_000
    retry_seconds: float = 300.0
    shutdown_seconds: float = 5.0

    @property
    def queue_bytes(self) -> int:
        return int(self.queue_mib * 1024 * 1024)

    @classmethod
    def of(cls, given: Limits) -> Bounds:
        """What is given, else what the environment says, else the default.

        A variable that holds no positive number is said and passed over, as the SDK does with its own.

        Raises:
            ValueError: an option is unknown, or no positive number.
        """
        names = [limit.name for limit in fields(cls)]
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"There is no option {unknown[0]}; there are {', '.join(names)}.")
        found: dict[str, Any] = {}
        for name in names:
            value = given.get(name)
            if value is None:
                value = _of_environment(f"ARES_OTEL_SDK_{name.upper()}")
            elif not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, not {value!r}.")
            if value is not None:
                found[name] = value
        return cls(**found)


def _of_environment(variable: str) -> float | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0
    if 0 < value < float("inf"):
        return value
    log.warning("%s must be a positive number, not %r; the default holds.", variable, text)
    return None
