"""What the database knows of services: their operations, and what was computed for these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import asyncpg

from ares_otel.control.sampling.strategy import MAX_OPERATIONS
from ares_otel.query.reader import reading
from ares_otel.query.statements import parse_statements

STATEMENTS = parse_statements((Path(__file__).parent / "sampling.sql").read_text(encoding="utf-8"))
MOST_KINDS = 3 * MAX_OPERATIONS
"""Rows of a service: an operation may have several kinds."""


@dataclass(slots=True)
class Facts:
    """What is known of one service."""

    kinds: dict[str, set[str]] = field(default_factory=dict)
    """Operation → its kinds, the operations that were heard of last first."""
    computed: dict[str, float] = field(default_factory=dict)
    """Operation → the probability that follows its load."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of `sampling_operations`. Rates are root spans a second."""

    operation_name: str
    probability: float
    changed_at: datetime
    least_in_use: float
    most_in_use: float
    sampled_per_second: float | None
    offered_per_second: float | None
    measured_at: datetime | None
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `sampling_changes`."""

    id: int
    operation_name: str
    old_probability: float | None
    new_probability: float
    sampled_per_second: float
    offered_per_second: float
    target_per_second: float
    changed_at: datetime


async def find(pool: asyncpg.Pool, services: Collection[str]) -> Mapping[str, Facts]:
    """What is known of these services.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    names = list(services)
    found: dict[str, Facts] = {name: Facts() for name in names}
    if not names:
        return found
    async with reading(pool) as reader:
        for row in await reader.fetch(STATEMENTS["kinds"], services=names, most=MOST_KINDS):
            found[row["service_name"]].kinds.setdefault(row["operation_name"], set()).add(row["kind"])
        for row in await reader.fetch(STATEMENTS["computed"], services=names, most=MAX_OPERATIONS):
            found[row["service_name"]].computed[row["operation_name"]] = row["probability"]
    return found


async def find_measured(pool: asyncpg.Pool, service: str) -> list[Measured]:
    """The operations of a service whose probabilities follow the load, those that were heard of last first.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        rows = await reader.fetch(STATEMENTS["operations"], service=service, most=MAX_OPERATIONS)
    return [Measured(**row) for row in rows]


async def find_changes(pool: asyncpg.Pool, service: str, most: int) -> list[Change]:
    """The latest changes, newest first.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        rows = await reader.fetch(STATEMENTS["changes"], service=service, most=most)
    return [Change(**row) for row in rows]
