"""From counted root spans to probabilities: pure arithmetic.

A probability is moved to where the counted load would have met the target, at once and not step by step: what damps it
is that a change waits until the clients have followed the one before, that a deviation must be larger than chance
makes it, and that it grows tenfold at most. So one change is answered by one measurement, and nothing swings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, sqrt

LEAST = 1e-5
"""The smallest probability."""
TOLERANCE = 0.15
"""A rate that is off by no more than this part of the target stays."""
CHANCE = 2.0
"""Standard deviations of a count that are taken for chance."""
SLICES = 6
"""Parts of the time in which root spans are counted: where the load has changed in between, the last ones count."""
STEP = 9.0
"""How much better (2 log of the likelihoods) two loads must explain the counts than one for that."""
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
    slices: tuple[int, ...]
    """Root spans in each part of it; one number where the parts are not known."""

    @property
    def roots(self) -> int:
        """All of them."""
        return sum(self.slices)


@dataclass(frozen=True, slots=True)
class Rate:
    """What was counted of an operation, a second."""

    sampled: float
    offered: float
    """With those that were not sampled."""
    roots: int
    seconds: float


def rate_of(groups: Sequence[Group]) -> Rate:
    """The rates of an operation, as they are at the end: where the load has changed, what was before does not count."""
    begin = 0
    if all(len(group.slices) == SLICES for group in groups):
        begin = _last_step([sum(group.slices[place] for group in groups) for place in range(SLICES)])
    part = (SLICES - begin) / SLICES
    counts = [(sum(group.slices[begin:]), group) for group in groups]
    return Rate(
        sum(count / (group.seconds * part) for count, group in counts),
        sum(count / group.probability / (group.seconds * part) for count, group in counts),
        sum(count for count, _ in counts),
        max(group.seconds for group in groups) * part,
    )


def _last_step(counts: Sequence[int]) -> int:
    """From which slice on the load is another one than before; 0 where it seems to be the same all the time."""
    best, begin = STEP, 0
    for place in range(1, len(counts)):
        gain = 2 * (_fit(counts[:place]) + _fit(counts[place:]) - _fit(counts))
        if gain > best:
            best, begin = gain, place
    return begin


def _fit(counts: Sequence[int]) -> float:
    """Logarithm of how likely these counts are under their own mean (Poisson), without what all ways have in common."""
    total = sum(counts)
    return total * log(total / len(counts)) if total else 0.0


def allowed(target: float, seconds: float) -> float:
    """The part of the target by which a rate counted in this time may be off."""
    return max(TOLERANCE, min(CHANCE / sqrt(target * seconds), 0.9))


def next_probability(probability: float, rate: Rate, target: float) -> float:
    """The probability from now on; the same one where there is no reason to change it.

    Args:
        probability: the one in force.
        target: wanted traces a second.
    """
    now = rate.offered * probability  # what the load gives under the probability in force
    wanted = probability
    if abs(now - target) > allowed(target, rate.seconds) * target:
        if now > target:
            wanted = probability * target / now
        elif rate.roots:
            careful = now * (rate.roots + 1) / rate.roots
            wanted = probability * min(max(target / careful, 1.0), MOST_GROWTH)
        else:
            wanted = probability * SILENT_GROWTH
    if wanted == probability:
        return probability
    return float(f"{min(max(wanted, LEAST), 1.0):.6g}")


def hasty_probability(probability: float, least: float, most: float, rate: Rate, target: float) -> float:
    """The probability from now on, while some clients may not have followed the last change: changed only where the
    load is off the target whichever probability they use, and only as far as that is sure.

    Args:
        least, most: between these are the probabilities in use.
        rate: counted as if clients used `probability`.
    """
    low, high = rate.offered * probability / most, rate.offered * probability / least
    off = allowed(target, rate.seconds) * target
    if low * probability > target + off:
        return next_probability(probability, replace(rate, offered=low), target)
    if rate.roots and high * probability < target - off:
        return next_probability(probability, replace(rate, offered=high), target)
    return probability


def chance_told(sampler: str | None, parameter: str | None, threshold: str | None) -> float | None:
    """The chance that a root span says it had; 0 for one that was not left to chance, None where it says nothing.

    Args:
        sampler: `sampler.type` as Jaeger's clients write it: const, probabilistic, ratelimiting, lowerbound;
            in Python also traceidratio.
        parameter: `sampler.param`.
        threshold: `th` of the tracestate's member `ot` (OpenTelemetry, probability sampling): 56 bits in hexadecimal,
            without the zeros at the end.
    """
    if threshold:
        return 1.0 - int(threshold.ljust(14, "0"), 16) / _THRESHOLDS
    if sampler in ("probabilistic", "traceidratio"):
        try:
            chance = float(parameter or "")
        except ValueError:
            return None
        return chance if LEAST / 100 <= chance <= 1.0 else None
    if sampler == "const":
        return 1.0
    return 0.0 if sampler in ("ratelimiting", "lowerbound") else None
