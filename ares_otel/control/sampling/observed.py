"""What came of a service in a time, and what that says about one of its operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.control.sampling.calculate import (
    SLICES,
    Group,
    Rate,
    chance_told,
    hasty_probability,
    next_probability,
    rate_of,
)
from ares_otel.control.sampling.facts import STATEMENTS, Measured

SECONDS = 20
"""The longest time that one statement may take."""
COMMITTING = 2.0
"""Seconds after which what was received is committed."""
ARRIVING = 10.0
"""Seconds from the beginning of a root span until it has come, for most of them."""
LONGEST_ROOT = 60.0
"""A root span that came may have begun so many seconds before the time in which roots are counted."""
AHEAD = 60.0
"""Seconds by which clocks of clients may be ahead."""
LEAST_SHARE = 0.25
"""Part of the interval in which clients must have followed, for their roots to tell something."""


@dataclass(slots=True)
class Counted:
    """What a round has found of one service."""

    since: datetime
    until: datetime
    told: dict[str, dict[float, list[int]]] = field(default_factory=dict)
    """Operation → the chance that was told → roots in each part of the time."""
    untold: dict[str, list[int]] = field(default_factory=dict)
    """Operation → roots in each part of the time that tell no chance."""
    followed: dict[str, int] = field(default_factory=dict)
    """Operation → those of them that began when every client had followed the last change."""
    kinds: dict[str, set[str]] = field(default_factory=dict)


async def count(
    connection: asyncpg.Connection,
    service: str,
    since: datetime,
    until: datetime,
    follow: dict[str, datetime],
    begin: datetime | None,
    most: int,
) -> Counted:
    """The root spans of a service that came in a time. Where there are too many spans for that, those of a part of
    it, by their beginning, up to a moment of which all have come."""
    for by_start in (False, True):
        until -= timedelta(seconds=ARRIVING + COMMITTING) if by_start else timedelta(0)
        rows = await fetch(
            connection,
            "observed",
            service=service,
            by_start=by_start,
            first=since - timedelta(seconds=0 if by_start else LONGEST_ROOT),
            last=until + timedelta(seconds=0 if by_start else AHEAD),
            since=since,
            until=until,
            most=most,
            slices=SLICES,
            names=list(follow),
            at=list(follow.values()),
            otherwise_at=begin or datetime(1970, 1, 1, tzinfo=UTC),
            arriving=timedelta(seconds=0 if by_start else ARRIVING),
        )
        if not rows[0]["is_part"]:
            break
    counted = Counted(min(rows[0]["since"], until), until)
    for row in rows:
        name = row["operation_name"]
        if name is None:
            continue
        chance = chance_told(row["sampler"], row["parameter"], row["threshold"])
        if chance == 0.0:
            continue
        counted.kinds.setdefault(name, set()).update(row["kinds"])
        if chance is None:
            slices = counted.untold.setdefault(name, [0] * SLICES)
            counted.followed[name] = counted.followed.get(name, 0) + row["roots"] * row["followed"]
        else:
            slices = counted.told.setdefault(name, {}).setdefault(chance, [0] * SLICES)
        slices[row["slice"] - 1] += row["roots"]
    return counted


def decide(
    counted: Counted, name: str, probability: float, one: Measured | None, follows: datetime | None, target: float
) -> tuple[float, Rate, bool] | None:
    """The probability of an operation from now on, the rate that it follows from, and whether every client had followed
    the last change; None where it is too early to tell."""
    whole = (counted.until - counted.since).total_seconds()
    if whole <= 0:
        return None
    groups = [Group(chance, whole, tuple(slices)) for chance, slices in counted.told.get(name, {}).items()]
    untold = counted.untold.get(name)
    if groups and untold is None:
        rate = rate_of(groups)
        return next_probability(probability, rate, target), rate, True
    slices = tuple(untold or [0] * SLICES)
    followed = whole
    if follows is not None and follows + timedelta(seconds=ARRIVING) > counted.since:
        followed = (counted.until - follows).total_seconds() - ARRIVING
    if followed >= LEAST_SHARE * whole:
        # After a change the parts are not those of the whole time.
        known = Group(probability, followed, slices if followed >= whole else (counted.followed.get(name, 0),))
        rate = rate_of([*groups, known])
        return next_probability(probability, rate, target), rate, True
    if one is None:
        return None
    rate = rate_of([*groups, Group(probability, whole, slices)])
    return hasty_probability(probability, one.least_in_use, one.most_in_use, rate, target), rate, False


async def fetch(connection: asyncpg.Connection, name: str, **values: Any) -> list[Any]:
    text, arguments = STATEMENTS[name].bind(values)
    rows: list[Any] = await connection.fetch(text, *arguments, timeout=SECONDS)
    return rows
