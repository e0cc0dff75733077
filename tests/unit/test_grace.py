"""One number for the whole stop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ares_otel.pipeline import grace as grace_module
from ares_otel.pipeline.grace import Grace, Stages
from tests.support.clock import FakeClock


def test_the_time_counts_down_from_the_beginning_of_the_stop_over_all_stages() -> None:
    clock = FakeClock()
    grace = Grace(20, clock)
    clock.advance(1000)
    assert grace.left() == 20
    grace.begin()
    clock.advance(15)
    grace.begin()  # another stage
    assert grace.left() == 5
    clock.advance(15)
    assert grace.left() == 0


async def test_a_second_signal_leaves_nothing() -> None:
    grace = Grace(600)
    over = asyncio.create_task(grace.requests_over())
    await asyncio.sleep(0)
    assert not over.done()
    grace.cut()
    await over
    assert grace.left() == 0


async def test_requests_are_over_at_once_when_there_is_no_grace() -> None:
    await Grace(0).requests_over()


async def test_a_stage_that_does_not_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grace_module, "LAST_MOMENT_SECONDS", 0.01)
    with caplog.at_level(logging.WARNING):
        await Grace(0).bounded("The writer", asyncio.Event().wait)
    assert "The writer did not stop within the grace (--shutdown-grace)" in caplog.text


async def test_what_a_stage_raises_is_not_hidden() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Grace(1).bounded("The API", fails)


async def test_a_stage_with_little_to_do_does_not_use_up_the_grace_of_those_after_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grace_module, "BRIEF_SECONDS", 0.01)
    stopped: list[str] = []

    async def stop(name: str) -> None:
        await asyncio.sleep(0.02)
        stopped.append(name)

    stages = Stages(Grace(600))
    stages.push_whole(lambda: stop("the database"))
    stages.push_bounded("The writer", lambda: stop("the writer"))
    stages.push_async_callback(asyncio.Event().wait)
    await stages.aclose()
    assert stopped == ["the writer", "the database"]
    assert "Event.wait did not stop" in caplog.text
