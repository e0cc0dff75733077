"""Unexpected errors in the log."""

from __future__ import annotations

import logging

import pytest

from ares_otel.pipeline.error_log import INTERVAL_SECONDS, ErrorLog


class Hands:
    """A clock that is set by hand."""

    now = 1000.0

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now


def raised(kind: type[Exception]) -> Exception:
    try:
        raise kind("a bug")
    except Exception as error:
        return error


def test_the_same_error_is_logged_again_only_after_a_minute_with_what_was_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Hands()
    errors = ErrorLog(logging.getLogger("ares_otel.test"), clock)
    for _ in range(1000):
        errors.unexpected(raised(ValueError), "This")
    assert len(caplog.records) == 1
    errors.unexpected(raised(KeyError), "This")
    assert len(caplog.records) == 2
    clock.now += INTERVAL_SECONDS
    errors.unexpected(raised(ValueError), "This")
    assert len(caplog.records) == 3
    assert "999 more like this" in caplog.records[-1].getMessage()


def test_errors_of_ever_new_kinds_do_not_fill_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    errors = ErrorLog(logging.getLogger("ares_otel.test"), Hands())
    for number in range(300):
        errors.unexpected(raised(type(f"Error{number}", (Exception,), {})), "This")
    assert len(errors._seen) <= 100
