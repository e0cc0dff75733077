"""Which row encoder a process uses: the native one where it is there, else the reference in pure Python.

Both give the same bytes. `ARES_OTEL_IMPL=python|native` forces one; a process that cannot have it does not start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

from ares_otel.model.errors import StartError
from ares_otel.storage.rows import reference
from ares_otel.storage.rows.encoded import EncodedBatch
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.rows.native_sources import SOURCES, digest_of_sources

VARIABLE = "ARES_OTEL_IMPL"
PYTHON, NATIVE = "python", "native"
IMPLEMENTATIONS = (PYTHON, NATIVE)

_EXTENSION = "ares_otel.storage.rows._native"
_AGAIN = (
    "In a checkout `make native` builds it; elsewhere install again with ARES_OTEL_BUILD_NATIVE=1, which says why not."
)


@dataclass(frozen=True, slots=True)
class Implementation:
    """A row encoder and how it came to be the one."""

    name: str
    encode: Callable[..., EncodedBatch]
    """Called as `encode.encode_batch` is."""
    why: str
    """In one sentence."""
    forced: bool = False
    """Whether `ARES_OTEL_IMPL` asked for it."""
    native: ModuleType | None = None
    """The module `ares_otel.storage.rows.native`, where that is the one."""

    def known_series(self) -> KnownSeries:
        """An empty set of series, of the kind that this encoder looks up fastest."""
        made: KnownSeries = self.native.NativeKnownSeries() if self.native is not None else KnownSeries()
        return made

    @property
    def expected(self) -> bool:
        """Whether it is the one that should be there."""
        return self.name == NATIVE or self.forced

    @property
    def sentence(self) -> str:
        """For logs and people."""
        return f"Rows are encoded by the {self.name} encoder: {self.why}"


class NativeMissing(Exception):
    """The native encoder cannot be used; the message is a sentence that says why."""


@cache
def active() -> Implementation:
    """The encoder of this process. Raises StartError, see `choose`."""
    return choose(os.environ.get(VARIABLE, ""))


def choose(wanted: str) -> Implementation:
    """The encoder for a value of `ARES_OTEL_IMPL`.

    Raises:
        StartError: the value is none of `IMPLEMENTATIONS`, or the native encoder is asked for and missing or broken.
    """
    if wanted not in ("", *IMPLEMENTATIONS):
        raise StartError(f"{VARIABLE} is {wanted!r}; it must be python, native, or not set.")
    if wanted == PYTHON:
        return Implementation(PYTHON, reference.encode_batch, f"{VARIABLE} asks for it.", forced=True)
    try:
        module = native()
    except NativeMissing as error:
        if wanted:
            raise StartError(f"{VARIABLE} is native, but {_lower(str(error))} {_AGAIN}") from error
        return Implementation(PYTHON, reference.encode_batch, f"{error} {_AGAIN}")
    if wanted:
        return Implementation(NATIVE, module.encode_batch, f"{VARIABLE} asks for it.", forced=True, native=module)
    return Implementation(NATIVE, module.encode_batch, "it is there.", native=module)


def native() -> ModuleType:
    """The module `ares_otel.storage.rows.native`.

    Raises:
        NativeMissing: it was not built, cannot be loaded, or was built from other sources than those beside it.
    """
    try:
        extension = import_module(_EXTENSION)
    except ModuleNotFoundError as error:
        if error.name != _EXTENSION:
            raise NativeMissing(f"The native encoder cannot be loaded ({error}).") from error
        raise NativeMissing("The native encoder was not built when Ares was installed.") from error
    except Exception as error:  # a file from another machine or another Python, half a file
        raise NativeMissing(f"The native encoder cannot be loaded ({error}).") from error
    built = extension.SOURCES
    if built and SOURCES.is_dir() and built != digest_of_sources(SOURCES):
        raise NativeMissing("The native encoder was built from older sources.")
    return import_module("ares_otel.storage.rows.native")


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
