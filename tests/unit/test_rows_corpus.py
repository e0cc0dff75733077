"""The golden corpus: what every request of it becomes, with either encoder."""

from __future__ import annotations

import pytest

from tests.corpus.builders import BUILDERS
from tests.corpus.expected import fallback, names, read, summary
from tests.support.encoders import NATIVE_ENCODER, encode_batch, needs_native

EXPECTED = read()


@pytest.mark.parametrize("name", names())
@pytest.mark.usefixtures("encoder")
def test_a_request_becomes_what_it_always_became(name: str) -> None:
    expected = {key: value for key, value in EXPECTED[name].items() if key != "fallback"}
    assert summary(encode_batch, name) == expected


@needs_native
@pytest.mark.parametrize("name", names())
def test_the_native_encoder_takes_what_it_took_and_says_why_it_does_not(name: str) -> None:
    assert NATIVE_ENCODER is not None
    assert fallback(NATIVE_ENCODER, name) == EXPECTED[name]["fallback"]


@needs_native
def test_the_forms_in_which_exporters_write_are_all_native() -> None:
    exporters = [name for name in EXPECTED if "-as-" in name]
    assert len(exporters) >= 15
    assert [name for name in exporters if EXPECTED[name]["fallback"]] == []


def test_every_request_is_expected_and_can_be_made_again_unless_it_was_found() -> None:
    assert set(names()) == set(EXPECTED)
    found = {name for name in EXPECTED if name.split("-")[1] == "found"}
    assert found | set(BUILDERS) == set(EXPECTED)
