"""Marks that several files of cases use."""

from __future__ import annotations

import pytest

both_spools = pytest.mark.parametrize(
    "spool",
    [pytest.param(True, id="spool on"), pytest.param(False, id="spool off", marks=pytest.mark.long_faults)],
)
"""Every case in which the database is away: with the spool it is accepted and replayed, without it refused. The short
form tries the first."""


def long_faults(value: object, *, seconds: float, id: str) -> object:
    """The long form of a case: a value of `parametrize` that only `make test-faults` uses. `seconds`: its time-out."""
    return pytest.param(value, marks=[pytest.mark.long_faults, pytest.mark.timeout(seconds)], id=id)
