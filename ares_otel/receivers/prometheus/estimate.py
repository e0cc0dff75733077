"""How much memory a page takes when it is read, before it is: from what can be counted in it quickly."""

from __future__ import annotations

import re
from itertools import islice

from ares_otel.receivers.prometheus.page import MAX_SAMPLES, WrongPage

_LINE_BYTES = 700
"""A sample and its data point, beside the text, about."""
_LABEL_BYTES = 300
"""A label of a series that was not on the page before, about."""
_SAMPLE_BYTES = 40
"""The least that a sample takes in protobuf, about."""
_MESSAGE_BYTES = 100
"""A message of protobuf that holds nothing, about."""
_SHORT = re.compile(rb"[\x0a\x12\x1a\x22\x2a\x32\x3a\x4a\x62\x7a\x82][\x00-\x05]")
"""A field that may be a message, with a length that says that next to nothing is in it."""
_MOST_SHORT = 4 * MAX_SAMPLES


def text_memory(body: bytes, known: int) -> int:
    """Bytes for a page of text, at most about.

    Args:
        known: how many of its series were read before.
    """
    lines = body.count(b"\n") + 1
    new = max(0.0, 1 - known / lines)
    return 3 * len(body) + _LINE_BYTES * lines + int(_LABEL_BYTES * body.count(b"=") * new)


def protobuf_memory(body: bytes, known: int) -> int:
    """The same for protobuf, where a message of two bytes takes fifty times that when it is read.

    Raises:
        WrongPage: it holds more of those than a page has.
    """
    short = sum(1 for _ in islice(_SHORT.finditer(body), _MOST_SHORT + 1))
    if short > _MOST_SHORT:
        raise WrongPage("it holds too many messages without content")
    return 8 * len(body) + _LINE_BYTES * (len(body) // _SAMPLE_BYTES) + _MESSAGE_BYTES * short
