"""JSON of senders → Python values."""

from __future__ import annotations

import gc
import re
from typing import Any

import orjson

from ares_otel.model.errors import Rejected

_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair: stays
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"  # half of one: replaced
    rb"|\\."  # any other escape, an escaped backslash above all: stays
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_COLLECTED_BYTES = 64 * 1024


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Of a name that comes twice the last one counts; half a surrogate pair (`\\ud800`)
    becomes U+FFFD.

    Raises:
        Rejected: not JSON in UTF-8 without a byte order mark, or nested deeper than a thousand levels.
    """
    try:
        return _loads(body)
    except orjson.JSONDecodeError as error:
        if _SURROGATE.search(body):
            try:
                return _loads(_ESCAPE.sub(_whole_surrogates, body))
            except orjson.JSONDecodeError:
                pass
        raise Rejected(f"The body is not valid JSON: {error.msg} at character {error.pos}.") from error


def memory_estimate(body: bytes) -> int:
    """How many bytes of memory the parsed JSON and its message may take, at most about, from its punctuation alone: a
    body of empty objects takes thirty times its size, and must not get in at the price of its size."""
    return len(body) + 250 * body.count(b"{") + 100 * body.count(b"[") + 100 * body.count(b",")


def _loads(body: bytes) -> Any:
    """orjson makes millions of lists and objects without a pause, all of them alive: the garbage collector, which runs
    meanwhile, finds nothing and takes most of the time."""
    if len(body) < _COLLECTED_BYTES or not gc.isenabled():
        return orjson.loads(body)
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        gc.enable()


def _whole_surrogates(found: re.Match[bytes]) -> bytes:
    text = found[0]
    return b"\\ufffd" if len(text) == 6 and text[1:2] == b"u" else text
