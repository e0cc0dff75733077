"""The thread with a loop on which the SDK works beside the application."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Iterator
from concurrent.futures import CancelledError, Future

import pytest
from opentelemetry.context import attach, detach, set_value
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from ares_otel.sdk.background import Background


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background("beside")
    yield made
    assert made.stop(5)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "beside"]


async def value() -> int:
    return 7


def test_the_thread_is_there_when_it_is_needed_and_gone_after_stop() -> None:
    background = Background("beside")
    assert threads() == []
    assert background.submit(value).result(5) == 7
    assert threads() == ["beside"]
    assert background.stop(5)
    assert background.stop(5)
    assert threads() == []
    assert background.submit(value).result(5) == 7
    assert background.stop(5)


def test_work_on_it_is_not_traced_and_does_not_see_the_callers_context(background: Background) -> None:
    async def look() -> tuple[bool, object]:
        from opentelemetry.context import get_value

        return is_instrumentation_enabled(), get_value("of the caller")

    token = attach(set_value("of the caller", 1))
    try:
        assert background.submit(look).result(5) == (False, None)
    finally:
        detach(token)
    assert is_instrumentation_enabled()


def test_stop_cancels_what_begins_while_it_cancels() -> None:
    background = Background("beside")
    waiting, begun = threading.Event(), list[asyncio.Task[None]]()

    async def work() -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            begun.append(asyncio.create_task(asyncio.sleep(60)))

    future = background.submit(work)
    assert waiting.wait(5)
    assert background.stop(5)
    assert future.cancelled()
    assert [task.cancelled() for task in begun] == [True]


def test_stop_leaves_no_coroutine_that_was_never_awaited() -> None:
    background = Background("beside")
    begun = threading.Event()

    async def inner() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def outer(awaitable: Awaitable[None]) -> None:  # as anyio wraps what its groups of tasks begin
        await awaitable

    async def work() -> None:
        background.stop(0.0)
        await asyncio.sleep(0)  # until the loop stops, which is now
        ended.set_result(threading.current_thread())
        await asyncio.create_task(outer(inner()))

    ended = Future[threading.Thread]()
    background.submit(work)
    ended.result(5).join(5)
    assert begun.is_set()


def test_stop_cancels_what_runs(background: Background) -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = background.submit(forever)
    assert background.submit(value).result(5) == 7
    assert background.stop(5)
    assert ended.is_set()
    with pytest.raises(CancelledError):
        future.result(5)


def test_who_debugs_an_application_does_not_debug_this(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")

    async def debug() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert not background.submit(debug).result(5)


def test_call_soon_does_nothing_where_there_is_no_loop(background: Background) -> None:
    called = threading.Event()
    background.call_soon(called.set)
    background.submit(value).result(5)
    assert not called.is_set()
    background.call_soon(called.set)
    assert called.wait(5)


def test_it_knows_its_own_thread(background: Background) -> None:
    async def here() -> bool:
        return background.here

    assert not background.here
    assert background.submit(here).result(5)


def test_what_the_loop_cannot_do_itself_runs_in_daemon_threads_of_no_pool(background: Background) -> None:
    """The threads of a pool take nothing on once the interpreter's end has begun."""

    def where() -> bool:
        return threading.current_thread().daemon

    async def ask() -> bool:
        return await asyncio.get_running_loop().run_in_executor(None, where)

    async def fail() -> None:
        await asyncio.to_thread(lambda: 1 // 0)

    assert background.submit(ask).result(5)
    with pytest.raises(ZeroDivisionError):
        background.submit(fail).result(5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the child of a process with threads only looks, and ends
def test_the_child_of_a_fork_has_no_thread_until_it_needs_one() -> None:
    forgotten: list[int] = []
    background = Background("beside", on_fork=lambda: forgotten.append(os.getpid()))
    assert background.submit(value).result(5) == 7
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert forgotten == [os.getpid()]
            assert background.submit(value).result(5) == 7
            assert background.stop(5)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert forgotten == []
    assert background.submit(value).result(5) == 7
    assert background.stop(5)
