"""Numbers and attribute values as text."""

from __future__ import annotations

import math
from base64 import b64encode
from decimal import Decimal
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


def value_text(value: float) -> str:
    """A sample's value; a whole number has no fraction."""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return repr(value).removesuffix(".0")
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")


def bound_text(bound: float) -> str:
    """The value of `le` or `quantile`: the shortest decimal that is this number, without an exponent."""
    if not math.isfinite(bound):
        return value_text(bound)
    text = format(Decimal(repr(bound)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def canonical_bound_text(bound: float) -> str:
    """The same of a series that came from a page: a float with a fraction (`1.0`) and, below 0.0001 and from 1,000,000
    on, an exponent (`1e+06`). So a Prometheus 3 has it, however the page wrote it.

    Source: OpenMetrics 1.0, "Considerations: Canonical Numbers", which are Go's `FormatFloat(bound, 'g', -1, 64)`.
    """
    if not math.isfinite(bound):
        return value_text(bound)
    sign, digits, exponent = Decimal(repr(bound)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = exponent + len(digits) - 1  # of the first digit
    if not bound or -4 <= power < 6:
        text = bound_text(bound)
        return text if "." in text else f"{text}.0"
    first, *rest = (str(digit) for digit in digits)
    return f"{'-' * sign}{first}{'.' if rest else ''}{''.join(rest)}e{power:+03d}"


def seconds_text(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as seconds, all digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{seconds}.{rest:09d}".rstrip("0").rstrip(".") if rest else str(seconds)


def attribute_text(value: Any) -> str:
    """The text of an attribute's value out of JSON: strings as they are, numbers and booleans as in JSON, lists and
    maps as JSON, nothing as the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return orjson.dumps(value).decode()


def any_value_text(value: AnyValue) -> str:
    """The same for a value of OTLP. Bytes are base64, NaN and infinities as in OTLP's JSON."""
    return attribute_text(_json(value))


def _json(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "bytes_value":
        return b64encode(value.bytes_value).decode()
    if kind == "array_value":
        return [_json(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _json(pair.value) for pair in value.kvlist_value.values}
    plain = getattr(value, kind)
    if isinstance(plain, float) and not math.isfinite(plain):
        return "NaN" if math.isnan(plain) else ("Infinity" if plain > 0 else "-Infinity")
    return plain
