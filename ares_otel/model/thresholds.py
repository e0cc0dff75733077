"""Consistent probability sampling: 56-bit thresholds and randomness, and where they stand in a trace state.

An item is kept when its randomness R is not below the threshold T; the probability of that is 1 - T / 2**56. Source:
OpenTelemetry specification, "TraceState: Probability Sampling" and "TraceState handling".
"""

from __future__ import annotations

import math
import re

BITS = 56
DIGITS = 14
ALWAYS = 0
NEVER = 1 << BITS
MIN_PROBABILITY = 2.0**-BITS

_MAX_TRACE_STATE = 8192
_MEMBER_VALUE = re.compile(r"[a-z][a-z0-9]*:[A-Za-z0-9._\-]*")
_THRESHOLD = re.compile(r"[0-9a-f]{1,14}")
_RANDOMNESS = re.compile(r"[0-9a-f]{14}")


class SamplingError(ValueError):
    """Sampling information of an item that contradicts itself or cannot be read."""


def threshold_of(probability: float, precision: int) -> int:
    """The threshold of a probability, rounded to `precision` hexadecimal digits, more of them near 0 and 1, where the
    first digits say nothing (the specification's "Converting floating-point probability to threshold value")."""
    if probability >= 1:
        return ALWAYS
    if probability < MIN_PROBABILITY:
        return NEVER
    leading = max(-math.frexp(probability)[1] // 4, -math.frexp(1 - probability)[1] // 4, 0)
    digits = min(DIGITS, precision + leading)
    threshold = NEVER - round(probability * NEVER)
    shift = 4 * (DIGITS - digits)
    if shift:
        threshold = (threshold + (1 << (shift - 1))) >> shift << shift
    return min(threshold, NEVER - 1)


def probability_of(threshold: int) -> float:
    """The probability that an item passes the threshold."""
    return (NEVER - threshold) / NEVER


def encode_threshold(threshold: int) -> str:
    """As in `th`: hexadecimal digits without zeros at the end; "0" for always."""
    return f"{threshold:014x}".rstrip("0") or "0"


def encode_randomness(randomness: int) -> str:
    """As in `rv`: 14 hexadecimal digits."""
    return f"{randomness:014x}"


def decode_threshold(text: str) -> int:
    """Raises SamplingError for anything but 1 to 14 lower-case hexadecimal digits."""
    if not _THRESHOLD.fullmatch(text):
        raise SamplingError("the sampling threshold is not 1 to 14 hexadecimal digits")
    return int(text.ljust(DIGITS, "0"), 16)


def decode_randomness(text: str) -> int:
    """Raises SamplingError for anything but 14 lower-case hexadecimal digits."""
    if not _RANDOMNESS.fullmatch(text):
        raise SamplingError("the sampling randomness is not 14 hexadecimal digits")
    return int(text, 16)


def trace_randomness(trace_id: bytes) -> int:
    """The last 56 bits of a trace id, random by W3C Trace Context Level 2."""
    return int.from_bytes(trace_id[-7:], "big")


class TraceState:
    """A W3C trace state, split into the `ot` member and the rest. Other members, and other fields of `ot`, stay as they
    are and in their order; a changed `ot` moves to the front, as W3C wants it.

    Raises:
        SamplingError: it is too long, or its `ot` member cannot be read.
    """

    __slots__ = ("_extra", "_others", "randomness", "threshold")

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_TRACE_STATE:
            raise SamplingError(f"the trace state is longer than {_MAX_TRACE_STATE} characters")
        self.threshold: int | None = None
        self.randomness: int | None = None
        self._others: list[str] = []
        self._extra: list[str] = []
        for member in filter(None, (member.strip(" \t") for member in text.split(","))):
            key, separator, value = member.partition("=")
            if key == "ot" and separator:
                self._read(value)
            else:
                self._others.append(member)

    def _read(self, value: str) -> None:
        for part in value.split(";"):
            if not _MEMBER_VALUE.fullmatch(part):
                raise SamplingError("the ot member of the trace state cannot be read")
            key, _, content = part.partition(":")
            if key == "th":
                self.threshold = decode_threshold(content)
            elif key == "rv":
                self.randomness = decode_randomness(content)
            else:
                self._extra.append(part)

    def __str__(self) -> str:
        parts = [] if self.threshold is None else [f"th:{encode_threshold(self.threshold)}"]
        if self.randomness is not None:
            parts.append(f"rv:{encode_randomness(self.randomness)}")
        parts += self._extra
        return ",".join(([f"ot={';'.join(parts)}"] if parts else []) + self._others)
