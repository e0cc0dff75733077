"""Times to the nanosecond are read as RFC 3339 has them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ares_otel.query.instant import Instant, from_micros, to_micros


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", Instant(datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ("2026-01-31t12:00:00z", Instant(datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ("2026-01-31 12:00:00+02:30", Instant(datetime(2026, 1, 31, 9, 30, tzinfo=UTC))),
        ("2026-01-31T12:00:00 02:00", Instant(datetime(2026, 1, 31, 10, tzinfo=UTC))),
        ("2026-01-31T12:00:00-00:00", Instant(datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ("2026-01-31T12:00:00.5Z", Instant(datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC))),
        ("2026-01-31T12:00:00.123456789Z", Instant(datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC), 789)),
    ],
)
def test_an_rfc_3339_time_is_read_to_the_nanosecond(text: str, expected: Instant) -> None:
    assert Instant.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1706702400",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00.1234567890Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="for example 2026-01-31T12:00:00Z"):
        Instant.parse(text)


def test_microseconds_come_back_exactly() -> None:
    for micros in (0, -1, 1, 1_769_860_800_123_456, -(10**15)):
        assert to_micros(from_micros(micros)) == micros
