"""Anything as metadata of a log record: it never fails, stays within bounds, and is found again in the row."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.sdk import values
from ares_otel.sdk.caller import CODE_FILE_PATH, CODE_FUNCTION_NAME, CODE_LINE_NUMBER
from ares_otel.sdk.logger import METADATA_CUT, Logger
from ares_otel.sdk.values import MAX_ATTRIBUTES, MAX_LABELS, MAX_TEXT, MAX_VALUES, Converter, labels_of, type_name
from ares_otel.storage.rows.encoded import LOGS
from tests.support.hostile_values import HOSTILE
from tests.support.otel_memory import Memory, otel_memory
from tests.support.rows_encoding import only_row

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=20).filter(lambda text: text != "(empty)")
TEXT_AND_MORE = st.text(st.characters(), max_size=20)
"""Surrogates too."""
CALLER = {CODE_FILE_PATH, CODE_FUNCTION_NAME, CODE_LINE_NUMBER}
JSON_LIKE = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | INT64 | st.floats() | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with otel_memory() as memory:
        yield memory


def row_of(memory: Memory, metadata: Any) -> dict[str, Any]:
    """The metadata of the row that a record with this metadata becomes, without what is said about the caller."""
    memory.forget_records()
    Logger("shop", logger_provider=memory.loggers).error(None, "paid", metadata)
    found: dict[str, Any] = json.loads(only_row(memory.request(), LOGS)["metadata"])
    given = metadata if isinstance(metadata, dict) else {}
    return {key: value for key, value in found.items() if key not in CALLER or key in given}


def as_stored(value: Any) -> Any:
    """What the tables' own rules make of a JSON-like value."""
    if isinstance(value, dict):
        return {as_stored(key) or "(empty)": as_stored(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_stored(inner) for inner in value]
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


@settings(max_examples=30)
@given(JSON_LIKE)
def test_json_like_metadata_is_found_again_in_the_row(memory: Memory, metadata: dict[str, Any]) -> None:
    assert row_of(memory, metadata) == as_stored(metadata)


def hostile_number(index: int) -> Any:
    """One of them; a strategy that had them itself would show them."""
    return HOSTILE[index]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: type(value).__name__)
def test_hostile_metadata_becomes_something_that_can_be_stored(memory: Memory, hostile: Any) -> None:
    assert "value" in row_of(memory, {"value": hostile})
    row_of(memory, {"in": {"a": [hostile, hostile]}})
    row_of(memory, hostile)
    assert len(memory.request().SerializeToString()) < 1_500_000


@settings(max_examples=30)
@given(
    st.recursive(
        st.integers(0, len(HOSTILE) - 1).map(hostile_number) | st.integers() | st.binary(max_size=50) | TEXT_AND_MORE,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT_AND_MORE, inner),
        max_leaves=10,
    )
)
def test_no_mixture_fails_or_passes_the_bounds(hostile: Any) -> None:
    converter = Converter()
    counted: list[int] = []

    def count(value: Any, depth: int = 0) -> None:
        assert depth <= values.MAX_DEPTH + 1
        if isinstance(value, dict):
            counted.append(len(value))
            for key, inner in value.items():
                assert key
                key.encode()
                count(inner, depth + 1)
        elif isinstance(value, list):
            counted.append(len(value))
            for inner in value:
                count(inner, depth + 1)
        elif type(value) is str:
            value.encode()
            assert len(value) < MAX_TEXT + 50
        else:
            assert value is None or type(value) in (bool, int, float, bytes)
            assert type(value) is not int or -(2**63) <= value < 2**63

    count(converter.attributes({"value": hostile}))
    assert sum(counted) <= MAX_VALUES + MAX_ATTRIBUTES + len(counted)


class Side(enum.Enum):
    BUY = "buy"


class Size(enum.IntEnum):
    SMALL = 1


def test_common_objects_become_what_a_reader_expects() -> None:
    metadata = {
        "enum": Side.BUY,
        "number enum": Size.SMALL,
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "date": date(2026, 1, 2),
        "decimal": Decimal("1.10"),
        "fraction": Fraction(1, 2),
        "uuid": UUID(int=1),
        "path": PurePosixPath("/srv/a"),
        "tuple": (1, 2),
        "set": {"one"},
        "deque": deque([1]),
        "ordered": OrderedDict(a=1),
        "bytes": bytearray(b"\0\1"),
        "error": ValueError("too much"),
        "large": 2**63,
    }
    assert Converter().attributes(metadata) == {
        "enum": "buy",
        "number enum": 1,
        "time": "2026-01-02T03:04:05+00:00",
        "date": "2026-01-02",
        "decimal": "1.10",
        "fraction": 0.5,
        "uuid": "00000000-0000-0000-0000-000000000001",
        "path": "/srv/a",
        "tuple": [1, 2],
        "set": ["one"],
        "deque": [1],
        "ordered": {"a": 1},
        "bytes": b"\0\1",
        "error": "ValueError: too much",
        "large": "9223372036854775808",
    }


def test_what_was_cut_is_counted_in_the_record(memory: Memory) -> None:
    assert METADATA_CUT not in row_of(memory, {"text": "x" * MAX_TEXT})
    row = row_of(memory, {"text": "x" * (MAX_TEXT + 1), "list": list(range(2_000))})
    assert row[METADATA_CUT] == 2
    assert row["text"] == "x" * MAX_TEXT + f"… ({MAX_TEXT + 1} characters)"
    assert row["list"][-1] == "…"
    row = row_of(memory, dict.fromkeys(map(str, range(MAX_ATTRIBUTES + 1)), 0))
    assert (row[METADATA_CUT], len(row)) == (1, MAX_ATTRIBUTES + 1)


def test_a_large_value_takes_no_other_away(memory: Memory) -> None:
    row = row_of(
        memory, {"list": [0] * 10_000, **{f"text {number}": "x" * 20_000 for number in range(20)}, "order_id": "1"}
    )
    assert row["order_id"] == "1"
    assert row["text 19"] == "x" * 64 + "… (20000 characters)"
    assert row[METADATA_CUT] == 21


def test_the_pair_of_a_surrogate_is_the_letter_it_means() -> None:
    assert Converter().value("\ud83d\ude00 \ud800!") == "😀 \ufffd!"


def test_metadata_that_is_no_mapping_is_kept_as_one_attribute() -> None:
    assert Converter().attributes(["a", 1]) == {"metadata": ["a", 1]}
    assert Converter().attributes(None) == {}


def test_labels_keep_simple_values_and_make_text_of_the_others() -> None:
    labels = {
        "text": "a",
        "yes": True,
        "int": 1,
        "double": 1.5,
        "none": None,
        "list": [1],
        "nan": math.nan,
        "big": 2**70,
    }
    assert labels_of(labels) == {
        "text": "a",
        "yes": True,
        "int": 1,
        "double": 1.5,
        "list": "[1]",
        "nan": "nan",
        "big": str(2**70),
    }
    assert len(labels_of({str(number): number for number in range(1_000)})) == MAX_LABELS


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: type(value).__name__)
def test_a_hostile_label_is_text_within_bounds(hostile: Any) -> None:
    label = labels_of({"label": hostile})["label"]
    assert not isinstance(label, str) or len(label.encode()) < 4 * values.MAX_LABEL_TEXT + 10
    hash(label)


def test_a_class_of_exceptions_is_named_with_its_module() -> None:
    assert type_name(ValueError()) == "ValueError"
    assert type_name(json.JSONDecodeError("", "", 0)) == "json.decoder.JSONDecodeError"
