"""The settings that Ares knows, and what each may hold.

The table below checks what comes by REST and by the command line. An edit by plain SQL is not stopped; whoever reads a
setting holds it against the same table and keeps the value that it had.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from ares_otel.model.prometheus.config import Strategy
from ares_otel.model.prometheus.units import UNIT_TABLES

ARES = "ares-api"
"""The service that is Ares itself."""


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """One setting: what it may hold, in words and as a check."""

    expects: str
    """What follows "must be"."""
    accepts: Callable[[Any], bool]


def _one_of(*texts: str) -> KnownSetting:
    return KnownSetting(f"one of {', '.join(texts)}", lambda value: isinstance(value, str) and value in texts)


def _whole(least: int, most: int) -> KnownSetting:
    return KnownSetting(
        f"a whole number from {least} to {most}",
        # JSON has one kind of number: 30.0 is 30.
        lambda value: (
            isinstance(value, int | float | Decimal)
            and not isinstance(value, bool)
            and value == int(value)
            and least <= value <= most
        ),
    )


def _number(least: str, most: str) -> KnownSetting:
    low, high = Decimal(least), Decimal(most)
    return KnownSetting(
        f"a number from {least} to {most}",
        lambda value: (
            isinstance(value, int | float | Decimal)
            and not isinstance(value, bool)
            and low <= Decimal(str(value)) <= high
        ),
    )


def _is_directory(value: Any) -> bool:
    """An absolute path, or nothing."""
    return isinstance(value, str) and len(value) <= 4096 and (value == "" or value[0] == "/") and "\0" not in value


def _is_days_by_service(value: Any) -> bool:
    """service.name → days, a hundred thousandth (about a second) at least."""
    return (
        isinstance(value, dict)
        and len(value) <= 1000
        and all(0 < len(name) <= 255 and _DAYS_OF_SERVICE.accepts(days) for name, days in value.items())
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 1000 and all(isinstance(name, str) and name for name in value)


_NAMES = KnownSetting('a list of names of attributes, such as ["k8s.pod.name"]', _is_names)
_SWITCH = KnownSetting("true or false", lambda value: isinstance(value, bool))
_DAYS = _number("0", "36500")
_DAYS_OF_SERVICE = _number("0.00001", "36500")


def _is_redis_url(value: Any) -> bool:
    """`HOST[:PORT]`, or a `redis://`, `rediss://` or `unix://` URL."""
    if not isinstance(value, str) or not 1 <= len(value) <= 2048 or re.search(r"[\s\x00-\x1f]", value):
        return False
    try:
        parts = urlsplit(value if "://" in value else f"redis://{value}")
        if parts.scheme == "unix":
            return bool(parts.path)
        return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


KNOWN: Mapping[tuple[str, str], KnownSetting] = MappingProxyType(
    {
        (ARES, "eventbus.type"): _one_of("memory", "redis"),
        (ARES, "eventbus.redis_url"): KnownSetting("HOST:PORT or a redis://, rediss:// or unix:// URL", _is_redis_url),
        (ARES, "service.heartbeat_interval"): _whole(1, 3600),
        (ARES, "service.health_check_timeout"): _number("0.1", "60"),
        (ARES, "logging.level"): _one_of("debug", "info", "warn", "error"),
        (ARES, "logging.trace_enabled"): KnownSetting("true or false", lambda value: isinstance(value, bool)),
        (ARES, "retention.days"): _DAYS,
        (ARES, "retention.traces.days"): _DAYS,
        (ARES, "retention.logs.days"): _DAYS,
        (ARES, "retention.metrics.days"): _DAYS,
        (ARES, "retention.max_bytes"): _whole(0, 10**18),
        (ARES, "retention.pinned.max_bytes"): _whole(0, 10**18),
        (ARES, "retention.pinned.max_traces"): _whole(0, 1_000_000),
        (ARES, "retention.services"): KnownSetting(
            'an object of at most 1000 service names and days, such as {"noisy": 3}', _is_days_by_service
        ),
        (ARES, "retention.disk_percent"): _number("1", "100"),
        (ARES, "retention.archive_directory"): KnownSetting("an absolute path, or empty", _is_directory),
        (ARES, "rejected.days"): _DAYS,
        (ARES, "rejected.max_rows"): _whole(0, 10**9),
        (ARES, "receipts.hours"): _number("1", "8760"),
        (ARES, "seal.enabled"): KnownSetting("true or false", lambda value: isinstance(value, bool)),
        (ARES, "seal.grace_hours"): _number("0", "8760"),
        (ARES, "seal.memory_mb"): _whole(1, 65_536),
        (ARES, "seal.rebuild"): KnownSetting("true or false", lambda value: isinstance(value, bool)),
        (ARES, "seal.pack"): KnownSetting("true or false", lambda value: isinstance(value, bool)),
        (ARES, "seal.pack_mib"): _whole(0, 1_048_576),
        (ARES, "seal.workers"): _whole(0, 8),
        (ARES, "seal.pause_seconds"): _number("0", "3600"),
        (ARES, "seal.timeout_minutes"): _number("0.1", "1440"),
        (ARES, "rollups.interval_seconds"): _number("0.1", "3600"),
        (ARES, "prometheus.translation_strategy"): _one_of(*Strategy),
        (ARES, "prometheus.promote_resource_attributes"): _NAMES,
        (ARES, "prometheus.promote_all_resource_attributes"): _SWITCH,
        (ARES, "prometheus.ignore_resource_attributes"): _NAMES,
        (ARES, "prometheus.keep_identifying_resource_attributes"): _SWITCH,
        (ARES, "prometheus.promote_scope_metadata"): _SWITCH,
        (ARES, "prometheus.label_name_underscore_sanitization"): _SWITCH,
        (ARES, "prometheus.label_name_preserve_multiple_underscores"): _SWITCH,
        (ARES, "prometheus.type_and_unit_labels"): _SWITCH,
        (ARES, "prometheus.unit_table"): _one_of(*UNIT_TABLES),
        (ARES, "sampling.default_ratio"): _number("0", "1"),
        (ARES, "sampling.interval_seconds"): _number("1", "3600"),
        (ARES, "sampling.client_poll_seconds"): _number("0", "3600"),
        ("agent-coordinator", "task.max_concurrent"): _whole(1, 10_000),
        ("agent-coordinator", "task.retry_count"): _whole(0, 1000),
        ("agent-coordinator", "polling_interval"): _number("0.1", "86400"),
    }
)
"""(service, key) → what it may hold."""


def problem_of(service: str, key: str, value: Any) -> str | None:
    """Why the setting cannot hold the value, as a sentence that does not quote it; None when it can.

    Args:
        value: JSON as `json.loads` gives it; numbers may be Decimal.
    """
    known = KNOWN.get((service, key))
    if known is None or known.accepts(value):
        return None
    return f"The value of {service}/{key} must be {known.expects}."
