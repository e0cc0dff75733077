"""A few hundred damaged requests through both encoders. `make fuzz` does the same for minutes."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ares_otel.model.signal import SIGNALS
from tests.fuzz.cases import case, compare, seeds
from tests.fuzz.tree import parsed
from tests.support.encoders import needs_native

SEEDS = seeds()


@needs_native
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64 - 1))
@example(0)
def test_both_encoders_make_the_same_of_a_damaged_request(seed: int) -> None:
    random = Random(seed)
    compare(random, *case(random, SEEDS))


@needs_native
def test_much_of_what_the_fuzzer_makes_is_native() -> None:
    random = Random(2)
    counts = Counter(compare(random, *case(random, SEEDS)) for _ in range(300))
    assert counts["native"] > 0.3 * (counts.total() - counts["error"])
    assert len(counts) > 6  # and the rest goes back for many reasons


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=list(SIGNALS))
def test_a_request_that_is_not_damaged_is_written_as_it_was(signal: object) -> None:
    for tree in [tree for kind, trees in SEEDS.items() if kind is signal for tree in trees]:
        data = tree.written()
        assert parsed(data, tree.type).written() == data
