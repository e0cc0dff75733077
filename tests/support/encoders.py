"""Both row encoders, for tests that have to hold for each: the fixture `encoder` says which one `encode_batch` is here.

The native one is compared with the reference at every call, so that each test is one of their equality too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest

from ares_otel.model.batch import Batch
from ares_otel.model.errors import AresError
from ares_otel.storage.rows import reference
from ares_otel.storage.rows.encoded import EncodedBatch, Windows
from ares_otel.storage.rows.implementation import IMPLEMENTATIONS, NATIVE, PYTHON, NativeMissing, native
from ares_otel.storage.rows.known import KnownSeries

Encode = Callable[..., EncodedBatch]
try:
    NATIVE_ENCODER: Encode | None = native().encode_batch
    WHY_MISSING = ""
except NativeMissing as error:
    NATIVE_ENCODER, WHY_MISSING = None, str(error)

needs_native = pytest.mark.skipif(NATIVE_ENCODER is None, reason=f"needs the native encoder: {WHY_MISSING}")
PARAMETERS = [pytest.param(name, marks=needs_native if name == NATIVE else ()) for name in IMPLEMENTATIONS]

_NOT_OUTPUT = ("source", "windows", "told", "fallback")
_current = PYTHON


@contextmanager
def encoding_with(name: str) -> Iterator[None]:
    """`encode_batch` is this encoder inside."""
    global _current
    before, _current = _current, name
    try:
        yield
    finally:
        _current = before


def encode_batch(batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch:
    """What `ares_otel.storage.rows.encode.encode_batch` is, with the encoder of the fixture."""
    if _current == PYTHON:
        return reference.encode_batch(batch, windows, known)
    return both(batch, windows, known)


def both(batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch:
    """The native encoder's answer, after it was compared with the reference's. Raises what both raise."""
    assert NATIVE_ENCODER is not None, WHY_MISSING
    expected = outcome(reference.encode_batch, batch, windows, known)
    made = outcome(NATIVE_ENCODER, batch.undecoded(), windows, known)
    assert shown(made) == shown(expected)
    if isinstance(made, AresError):
        raise made
    return made


def outcome(encode: Encode, batch: Batch, windows: Windows, known: KnownSeries | None) -> EncodedBatch | AresError:
    """The rows, or the error that is a proper answer."""
    try:
        return encode(batch, windows, known)
    except AresError as error:
        return error


def left_to_the_reference(metrics: str) -> dict[str, float]:
    """From the text of `/metrics`: why requests were not encoded natively, and how many were not."""
    found = re.findall(r'^ares_otel_encoder_fallbacks_total\{reason="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
    return {reason: float(count) for reason, count in found}


def shown(result: EncodedBatch | AresError) -> dict[str, Any]:
    """All that an encoder puts out, in a form that can be compared: an error by its class and message."""
    if isinstance(result, AresError):
        return {"error": type(result).__name__, "message": result.message}
    values = {field.name: getattr(result, field.name) for field in fields(result) if field.name not in _NOT_OUTPUT}
    values["tables"] = {name: (rows.count, bytes(rows.data)) for name, rows in result.tables.items()}
    values["tables in order"] = list(result.tables)
    values["definitions in order"] = {name: list(defined) for name, defined in result.definitions.items()}
    values["reasons in order"] = list(result.reasons.items())
    return values
