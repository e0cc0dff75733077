"""The values of a Zipkin span's fields, checked."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from ares_otel.model.zipkin.span import Endpoint, WrongSpan

MAX_MICROSECONDS = (2**64 - 1) // 1000
"""OTLP counts nanoseconds in 64 bits: until the year 2554."""

_ADDRESS_LENGTH = 100
"""An address with a zone is shorter."""


def trace_id(value: bytes) -> bytes:
    """16 bytes of an id of up to 16. Raises WrongSpan for one that is empty, longer, or zero."""
    if not 1 <= len(value) <= 16 or not any(value):
        raise WrongSpan("traceId is not an id of 8 or 16 bytes that are not all zero")
    return value.rjust(16, b"\0")


def span_id(value: bytes) -> bytes:
    """8 bytes of an id of up to 8. Raises WrongSpan for one that is empty, longer, or zero."""
    if not 1 <= len(value) <= 8 or not any(value):
        raise WrongSpan("id is not an id of 8 bytes that are not all zero")
    return value.rjust(8, b"\0")


def parent_id(value: bytes, own: bytes) -> bytes:
    """8 bytes, or none for a root. Zipkin reads a parent that is zero, or the span itself, as none.

    Raises:
        WrongSpan: it is longer than 8 bytes.
    """
    if len(value) > 8:
        raise WrongSpan("parentId is not an id of 8 bytes")
    whole = value.rjust(8, b"\0")
    return whole if any(value) and whole != own else b""


def microseconds(field: str, value: int) -> int:
    """A time or a duration. Raises WrongSpan for one that nanoseconds in 64 bits cannot hold."""
    if not 0 <= value <= MAX_MICROSECONDS:
        raise WrongSpan(f"{field} is not a number of microseconds from 0 to {MAX_MICROSECONDS}")
    return value


def times(timestamp: int, duration: int) -> tuple[int, int]:
    """Both, checked, and also that the end can be told."""
    microseconds("timestamp", timestamp)
    microseconds("duration", duration)
    microseconds("timestamp + duration", timestamp + duration)
    return timestamp, duration


def port(value: int) -> int:
    """A port; 0 is none. Raises WrongSpan for a number that is none."""
    if not 0 <= value <= 65535:
        raise WrongSpan("port is not a number from 0 to 65535")
    return value


def put_address(into: Endpoint, text: str) -> None:
    """The address in the field of its kind, as it is usually written; IPv4 within IPv6 is IPv4. As in Zipkin's own
    reader either kind may come in either field. Text that is no address, which Zipkin forgets, stays as it is."""
    ipv4, ipv6 = _address(text) if len(text) <= _ADDRESS_LENGTH else ("", "")
    if ipv6:
        into.ipv6 = ipv6
    else:
        into.ipv4 = ipv4 or into.ipv4 or text


@lru_cache(maxsize=1024)
def _address(text: str) -> tuple[str, str]:
    """The address as IPv4 or as IPv6; neither for what is none. The same few come again and again."""
    try:
        address = ip_address(text)
    except ValueError:
        return "", ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return "", str(address)
        address = address.ipv4_mapped
    return str(address), ""
