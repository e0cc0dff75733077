"""Trace ids are read in every form that Jaeger's clients send."""

from __future__ import annotations

import base64
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.api.jaeger.trace_ids import parse_trace_id, show_trace_id

LONG = UUID("4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
SHORT = UUID(int=0xA3CE929D0E0E4736)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4bf92f3577b34da6a3ce929d0e0e4736", LONG),
        ("4BF92F3577B34DA6A3CE929D0E0E4736", LONG),
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", LONG),
        (" 4bf92f3577b34da6a3ce929d0e0e4736\n", LONG),
        ("a3ce929d0e0e4736", SHORT),
        ("0000000000000000a3ce929d0e0e4736", SHORT),
        ("1", UUID(int=1)),
        ("S/kvNXezTaajzpKdDg5HNg==", LONG),
        ("S/kvNXezTaajzpKdDg5HNg", LONG),
        ("S_kvNXezTaajzpKdDg5HNg==", LONG),
        ("o86SnQ4ORzY=", SHORT),
    ],
)
def test_a_trace_id_is_read_from_hex_with_dashes_and_from_base64(text: str, expected: UUID) -> None:
    assert parse_trace_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-",
            "0",
            "0" * 32,
            "0" * 16,
            "AAAAAAAAAAA=",
            "xyz",
            "4bf92f3577b34da6a3ce929d0e0e47361",
            "é" * 8,
            "１２",
        ),
        *("S/kvNXezTaajzpKdDg5H", "%20", "\0", "S/kvNXezTaajzpKdDg5HNg==" * 100, "4bf92f3577b34da6 a3ce929d0e0e4736"),
    ],
)
def test_what_is_no_trace_id_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a trace id"):
        parse_trace_id(text)


@given(st.integers(1, 2**128 - 1))
def test_an_id_survives_every_form(number: int) -> None:
    trace_id = UUID(int=number)
    for text in (show_trace_id(trace_id), str(trace_id), f"{number:x}", trace_id.hex.upper()):
        assert parse_trace_id(text) == trace_id
    assert parse_trace_id(base64.b64encode(trace_id.bytes).decode()) == trace_id


@given(st.text())
def test_any_text_is_an_id_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_trace_id(text).int
