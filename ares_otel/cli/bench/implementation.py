"""The row encoder that Ares is to use: native, python, or both after one another."""

from __future__ import annotations

from enum import StrEnum

from ares_otel.model.errors import StartError


class Implementation(StrEnum):
    """What `--implementation` takes."""

    AUTO = "auto"
    NATIVE = "native"
    PYTHON = "python"
    BOTH = "both"


def chosen(wanted: Implementation) -> list[str]:
    """Values of `ARES_OTEL_IMPL` to measure.

    Raises:
        StartError: the native encoder is asked for, and cannot be used here.
    """
    from ares_otel.storage.rows.implementation import NATIVE, PYTHON, NativeMissing, native

    if wanted is Implementation.PYTHON:
        return [PYTHON]
    try:
        native()
    except NativeMissing as error:
        if wanted is Implementation.AUTO:
            return [PYTHON]
        raise StartError(
            f"--implementation {wanted}: {error} In a checkout `make native` builds it; "
            "--implementation python measures without it."
        ) from error
    return [NATIVE, PYTHON] if wanted is Implementation.BOTH else [NATIVE]


def chosen_one(wanted: Implementation) -> str:
    """The same for what is measured with one encoder. Raises StartError."""
    if wanted is Implementation.BOTH:
        raise StartError("--implementation both is for `ares-otel bench ingest`; choose native or python here.")
    return chosen(wanted)[0]
