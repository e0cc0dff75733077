"""Matchers are tried for a while, and only as long as somebody waits."""

from __future__ import annotations

import pytest

from ares_otel.query.prometheus.patience import Patience
from ares_otel.query.reader import QueryTooSlow


def test_work_goes_on_while_there_is_time_and_somebody_waits() -> None:
    with Patience() as patience:
        patience.check()


def test_work_ends_when_it_takes_too_long_and_the_error_says_what_to_do() -> None:
    with Patience(0) as patience, pytest.raises(QueryTooSlow, match="make expressions shorter"):
        patience.check()


def test_work_in_a_thread_ends_when_nobody_waits_for_it_any_more() -> None:
    with Patience() as patience:
        pass
    with pytest.raises(QueryTooSlow):
        patience.check()
