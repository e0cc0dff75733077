"""The set of series that a process has written, in Python and native."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ares_otel.storage.rows.known import KnownSeries


def _native() -> Any:
    native = pytest.importorskip("ares_otel.storage.rows._native", reason="the native encoder was not built")
    return native.KnownSeries()


@pytest.fixture(params=[KnownSeries, _native], ids=["python", "native"])
def known(request: pytest.FixtureRequest) -> Any:
    make: Callable[[], Any] = request.param
    return make()


def test_it_holds_what_was_added_and_nothing_else(known: Any) -> None:
    source = random.Random(6)
    added = {source.randbytes(16) for _ in range(3000)} | {bytes(16), bytes(8) + b"\1" * 8}
    known.add(iter(added))
    known.add(list(added)[:10])
    assert len(known) == len(added)
    assert all(series_id in known for series_id in added)
    assert not any(source.randbytes(16) in known for _ in range(3000))


def test_forgetting_begins_a_new_generation(known: Any) -> None:
    known.add([bytes(16), b"\1" * 16])
    assert known.generation == 0
    known.forget()
    assert known.generation == 1
    assert len(known) == 0
    assert bytes(16) not in known
    assert b"\1" * 16 not in known
    known.add([b"\1" * 16])
    assert b"\1" * 16 in known


def test_an_id_of_another_length_is_not_known(known: Any) -> None:
    known.add([bytes(16)])
    assert b"" not in known
    assert bytes(15) not in known
    assert bytes(17) not in known
