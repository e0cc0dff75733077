"""The golden corpus: what every request of it becomes, with either encoder."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from ares_otel.model.errors import AresError
from ares_otel.storage.rows import context
from tests.corpus.builders import BUILDERS
from tests.corpus.expected import WINDOWS, batch_of, fallback, names, read, summary
from tests.support.encoders import NATIVE_ENCODER, both, encode_batch, needs_native

if NATIVE_ENCODER is not None:
    from ares_otel.storage.rows import native, native_metrics

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


@needs_native
@pytest.mark.parametrize("limit", [100, 400, 1000, 3000])
def test_both_encoders_find_the_same_requests_too_large(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (context, native, native_metrics):
        monkeypatch.setattr(module, "MAX_BYTES", limit)
    ends = Counter(_end_of(name) for name in names())
    assert ends["TooLarge"] > 10
    assert ends["Rejected"] > 10


def _end_of(name: str) -> str:
    try:
        both(batch_of(name), WINDOWS)
    except AresError as error:
        return type(error).__name__
    return "stored"


@needs_native
def test_requests_are_encoded_in_several_threads_at_once() -> None:
    assert NATIVE_ENCODER is not None
    encode = NATIVE_ENCODER
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda name: summary(encode, name), names() * 3))
    expected = [{key: value for key, value in EXPECTED[name].items() if key != "fallback"} for name in names() * 3]
    assert made == expected
