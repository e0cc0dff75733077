"""Trace ids as people and Jaeger's clients write them."""

from __future__ import annotations

import base64
import binascii
import re
from uuid import UUID

_HEX = re.compile(r"[0-9A-Fa-f]{1,32}")
_MAX_TEXT = 64
"""Characters that any of the forms can have, dashes included."""


def parse_trace_id(text: str) -> UUID:
    """Reads a trace id.

    Taken are hex digits, at most 32 and with dashes anywhere (what is shorter is filled with zeros on the left, as
    Jaeger does: a trace of 64 bits is found with and without them), and base64 of 8 or 16 bytes, as JSON made from
    protobuf has it. What can be read as hex is hex.

    Raises:
        ValueError: it is none of these, or all zeros, which is no id (W3C Trace Context, 3.2.2.3). The message is a
            sentence without a subject, to be put after the parameter's name.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError("must be a trace id of at most 32 hex digits")
    digits = text.strip().replace("-", "")
    if _HEX.fullmatch(digits):
        value = UUID(int=int(digits, 16))
    else:
        value = UUID(bytes=_from_base64(text.strip()).rjust(16, b"\0"))
    if not value.int:
        raise ValueError("must be a trace id; all zeros are none")
    return value


def _from_base64(text: str) -> bytes:
    """8 or 16 bytes from base64 of either alphabet, padded or not."""
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) not in (8, 16):
        raise ValueError("must be a trace id: 16 or 32 hex digits, for example 4bf92f3577b34da6a3ce929d0e0e4736")
    return data


def show_trace_id(trace_id: UUID) -> str:
    """Always 32 hex digits: Jaeger 2 shows the ids of 64 bits with leading zeros, too."""
    return trace_id.hex
