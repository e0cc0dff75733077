"""From counted root spans to probabilities: pure arithmetic.

A probability is moved to where the counted load would have met the target, at once and not step by step: what damps it
is that a change waits until the clients have followed the one before, that a deviation must be larger than chance
makes it, and that it grows tenfold at most. So one change is answered by one measurement, and nothing swings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

LEAST = 1e-5
"""The smallest probability."""
TOLERANCE = 0.15
"""A rate that is off by no more than this part of the target stays."""
CHANCE = 2.0
"""Standard deviations of a count that are taken for chance."""
STEP = 3.0
"""Standard deviations by which the halves of a time must differ for the load to have changed in between."""
MOST_GROWTH = 10.0
"""Factor by which a probability grows at once."""
SILENT_GROWTH = 2.0
"""Factor where nothing came: nothing is known but that there is little."""
_THRESHOLDS = 1 << 56


@dataclass(frozen=True, slots=True)
class Group:
    """Root spans of one operation that had the same chance."""

    probability: float
    """The chance that they had."""
    seconds: float
    """Length of the time in which they were counted."""
    roots: int
    later: int
    """Those of the second half."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What was counted of an operation, a second."""

    sampled: float
    offered: float
    """With those that were not sampled."""
    roots: int
    seconds: float


def rate_of(groups: Sequence[Group]) -> Rate:
    """The rates of an operation; of the second half alone where the load has changed in the middle."""
    roots = sum(group.roots for group in groups)
    later = sum(group.later for group in groups)
    seconds = max(group.seconds for group in groups)
    if abs(later - (roots - later)) > STEP * sqrt(roots) and all(group.seconds == seconds for group in groups):
        return Rate(
            sum(group.later / group.seconds for group in groups) * 2,
            sum(group.later / group.probability / group.seconds for group in groups) * 2,
            later,
            seconds / 2,
        )
    return Rate(
        sum(group.roots / group.seconds for group in groups),
        sum(group.roots / group.probability / group.seconds for group in groups),
        roots,
        seconds,
    )


def next_probability(probability: float, rate: Rate, target: float, lower_bound: float = 0.0) -> float:
    """The probability from now on; the same one where there is no reason to change it.

    Args:
        probability: the one in force.
        target: wanted traces a second.
        lower_bound: traces a second that there should be at least.
    """
    expected = target * rate.seconds
    now = rate.offered * probability  # what the load gives under the probability in force
    allowed = max(TOLERANCE, min(CHANCE / sqrt(expected), 0.9))
    wanted = probability
    if abs(now - target) > allowed * target:
        if now > target:
            wanted = probability * target / now
        elif rate.roots:
            careful = now * (rate.roots + 1) / rate.roots
            wanted = probability * min(max(target / careful, 1.0), MOST_GROWTH)
        else:
            wanted = probability * SILENT_GROWTH
    if rate.offered and lower_bound:
        wanted = max(wanted, lower_bound / rate.offered)
    return float(f"{min(max(wanted, LEAST), 1.0):.6g}")


def chance_told(sampler: str | None, parameter: str | None, threshold: str | None) -> float | None:
    """The chance that a root span says it had; 0 for one that was not left to chance, None where it says nothing.

    Args:
        sampler: `sampler.type` as Jaeger's clients write it: const, probabilistic, ratelimiting, lowerbound.
        parameter: `sampler.param`.
        threshold: `th` of the tracestate's member `ot` (OpenTelemetry, probability sampling): 56 bits in hexadecimal,
            without the zeros at the end.
    """
    if threshold:
        return 1.0 - int(threshold.ljust(14, "0"), 16) / _THRESHOLDS
    if sampler == "probabilistic":
        try:
            chance = float(parameter or "")
        except ValueError:
            return None
        return chance if LEAST / 100 <= chance <= 1.0 else None
    if sampler == "const":
        return 1.0
    return 0.0 if sampler in ("ratelimiting", "lowerbound") else None
