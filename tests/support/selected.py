"""What `select` gives, in a form that tests can compare."""

from __future__ import annotations

import time
from typing import Any

import asyncpg

from ares_otel.model.prometheus.selector import parse_selector
from ares_otel.query.prometheus.select import Selected, select

HOUR_MS = 3_600_000
_ABOUT_SENDER = ("instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def chosen(pool: asyncpg.Pool, *selectors: str, **options: Any) -> Selected:
    """What selectors choose in the last hour, unless it is said otherwise."""
    now = now_ms()
    limits = {"start_ms": now - HOUR_MS, "end_ms": now, "max_series": 10_000, "max_samples": 1_000_000}
    return await select(pool, [parse_selector(text) for text in selectors], **(limits | options))


def named(selected: Selected) -> dict[str, list[float]]:
    """The values of each series by its name and labels as PromQL writes them, but those that say who sent it."""
    found = {}
    for number, pairs in enumerate(selected.labels):
        labels = {name: value for name, value in pairs if name not in _ABOUT_SENDER}
        name = labels.pop("__name__")
        shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
        part = slice(selected.offsets[number], selected.offsets[number + 1])
        found[f"{name}{{{shown}}}"] = selected.values[part].tolist()
    assert len(found) == len(selected.labels)
    return found


def samples(selected: Selected, number: int = 0) -> list[tuple[int, float]]:
    """Times and values of one series."""
    part = slice(selected.offsets[number], selected.offsets[number + 1])
    return list(zip(selected.timestamps[part].tolist(), selected.values[part].tolist(), strict=True))
