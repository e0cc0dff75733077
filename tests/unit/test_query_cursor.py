"""A cursor comes back as it was given, or is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.query.cursor import Cursor
from ares_otel.query.span_cursor import SpanCursor

_TIMES = st.datetimes(timezones=st.just(UTC))


@given(
    st.sampled_from(["logs", "metrics"]),
    _TIMES,
    st.integers(0, 999),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | _TIMES,
)
def test_a_cursor_survives_the_way_through_a_url(
    of: str, time: datetime, ns: int, row: int, since: datetime | None
) -> None:
    cursor = Cursor(of, time, ns, row, since)
    text = cursor.encode()
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()
    assert Cursor.decode(text, of) == cursor


@given(st.text(max_size=80) | st.text("abcdefABCDEF0189-_", min_size=40, max_size=44))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="earlier page"):
        Cursor.decode(text, "logs")


def test_a_cursor_of_another_list_and_a_mangled_one_are_refused() -> None:
    text = Cursor("logs", datetime(2026, 1, 31, tzinfo=UTC), 7, 42).encode()
    other = "B" if text[5] != "B" else "C"
    for wrong in (text[:-1], text + "A", text + "=", text[:5] + other + text[6:], text.swapcase()):
        with pytest.raises(ValueError, match="earlier page"):
            Cursor.decode(wrong, "logs")
    with pytest.raises(ValueError, match="earlier page"):
        Cursor.decode(text, "metrics")


@given(_TIMES, st.integers(0, 999), st.uuids(), st.binary(max_size=16), st.none() | _TIMES)
def test_a_cursor_of_spans_survives_the_way_through_a_url(
    time: datetime, ns: int, trace: UUID, span: bytes, since: datetime | None
) -> None:
    cursor = SpanCursor(time, ns, trace, span, since)
    text = cursor.encode()
    assert len(text) <= 100
    assert text.replace("-", "").replace("_", "").isalnum()
    assert SpanCursor.decode(text) == cursor


@given(st.text(max_size=80) | st.text("abcdefABCDEF0189-_", min_size=50, max_size=80))
def test_garbage_is_no_cursor_of_spans(text: str) -> None:
    with pytest.raises(ValueError, match="earlier page"):
        SpanCursor.decode(text)
    with pytest.raises(ValueError, match="earlier page"):
        SpanCursor.decode(Cursor("logs", datetime(2026, 1, 31, tzinfo=UTC), 7, 42).encode())
