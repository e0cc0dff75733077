"""The row encoder that Ares is to use: native, python, or both after one another."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec

from ares_otel.model.errors import StartError


class Implementation(StrEnum):
    """What `--implementation` takes."""

    AUTO = "auto"
    NATIVE = "native"
    PYTHON = "python"
    BOTH = "both"


def chosen(wanted: Implementation) -> list[str | None]:
    """Values of `ARES_OTEL_IMPL` to measure; None where this version has no choice.

    Raises:
        StartError: the native encoder is asked for, and there is none.
    """
    native = find_spec("ares_otel.storage.rows._native") is not None
    can_choose = find_spec("ares_otel.storage.rows.implementation") is not None
    if wanted in (Implementation.NATIVE, Implementation.BOTH) and not (native and can_choose):
        raise StartError(
            f"--implementation {wanted} needs the native row encoder, and this installation has none. "
            "Use --implementation python, or install Ares where there is a C compiler."
        )
    if not can_choose:
        return [None]
    if wanted is Implementation.BOTH:
        return ["native", "python"]
    if wanted is Implementation.AUTO:
        return ["native" if native else "python"]
    return [str(wanted)]


def chosen_one(wanted: Implementation) -> str | None:
    """The same for what is measured with one encoder. Raises StartError."""
    if wanted is Implementation.BOTH:
        raise StartError("--implementation both is for `ares-otel bench ingest`; choose native or python here.")
    return chosen(wanted)[0]


def shown(implementation: str | None) -> str:
    """For people: what encodes the rows."""
    return implementation or "python"
