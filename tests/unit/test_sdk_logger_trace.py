"""The traces of the logger: `with_trace` makes a root span or keeps the one that is there, in every thread and task."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import INVALID_SPAN, NoOpTracerProvider, get_current_span, set_span_in_context

from ares_otel.sdk import logger as module
from ares_otel.sdk.logger import Logger
from ares_otel.sdk.once import Once
from tests.support.otel_memory import Failing, Memory, otel_memory


@pytest.fixture
def memory() -> Iterator[Memory]:
    with otel_memory() as memory:
        yield memory


@pytest.fixture
def logger(memory: Memory) -> Logger:
    return Logger("shop.orders", logger_provider=memory.loggers, tracer_provider=memory.tracers)


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_once", Once(logging.getLogger("ares_otel.sdk.logger")))


@pytest.fixture(autouse=True)
def _standard_levels() -> Iterator[None]:
    """The level that a test sets is put back."""
    standard = logging.getLogger("shop.orders")
    standard.setLevel(logging.DEBUG)
    yield
    standard.setLevel(logging.NOTSET)


def line_of(call: str) -> int:
    """The line of this file that holds the call."""
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if call in line and "line_of" not in line)


def test_a_new_trace_holds_its_records_and_spans(memory: Memory, logger: Logger) -> None:
    ctx, trace_id = logger.with_trace(None)
    logger.info(ctx, "started")
    memory.tracers.get_tracer("shop").start_span("pay", ctx).end()
    root, span = memory.spans
    assert root.parent is None
    assert span.parent is not None
    assert root.context is not None
    assert span.context is not None
    assert span.parent.span_id == root.context.span_id
    assert {f"{one.context.trace_id:032x}" for one in memory.spans if one.context} == {trace_id}
    assert f"{memory.record.trace_id:032x}" == trace_id
    assert memory.record.span_id == root.context.span_id


def test_the_root_span_is_named_after_the_logger_or_the_operation(memory: Memory, logger: Logger) -> None:
    logger.with_trace()
    logger.with_trace(None, operation="execute trade")
    first, second = memory.spans
    assert (first.name, second.name) == ("shop.orders", "execute trade")
    assert first.attributes is not None
    assert first.attributes["code.line.number"] == line_of("logger.with_trace()")
    assert first.context is not None
    assert second.context is not None
    assert first.context.trace_id != second.context.trace_id


def test_a_context_with_a_trace_is_given_back_as_it_is(memory: Memory, logger: Logger) -> None:
    span = memory.tracers.get_tracer("shop").start_span("request")
    given = set_span_in_context(span)
    ctx, trace_id = logger.with_trace(given)
    assert ctx is given
    assert trace_id == f"{span.get_span_context().trace_id:032x}"
    assert memory.spans == []
    assert logger.with_trace(ctx) == (ctx, trace_id)


def test_none_is_the_current_context(memory: Memory, logger: Logger) -> None:
    with memory.tracers.get_tracer("shop").start_as_current_span("request") as span:
        ctx, trace_id = logger.with_trace(None)
        logger.info(None, "inside")
    assert trace_id == f"{span.get_span_context().trace_id:032x}"
    assert get_current_span(ctx) is span
    assert memory.record.span_id == span.get_span_context().span_id


def test_a_context_without_a_span_stays_without_where_one_is_current(memory: Memory, logger: Logger) -> None:
    with memory.tracers.get_tracer("shop").start_as_current_span("request") as span:
        logger.info(Context(), "beside it")
        _, trace_id = logger.with_trace(Context())
    assert memory.record.trace_id == 0
    assert trace_id != f"{span.get_span_context().trace_id:032x}"


def test_what_else_is_in_the_context_stays_there(logger: Logger) -> None:
    ctx, _ = logger.with_trace(Context({"tenant": "a"}))
    assert ctx["tenant"] == "a"


def test_the_current_context_is_not_changed(logger: Logger) -> None:
    before = get_current()
    logger.with_trace(None)
    assert get_current() is before


def test_a_trace_that_the_sampler_leaves_out_keeps_its_records(logger: Logger) -> None:
    with otel_memory(ALWAYS_OFF) as memory:
        quiet = Logger("shop", logger_provider=memory.loggers, tracer_provider=memory.tracers)
        ctx, trace_id = quiet.with_trace(None)
        quiet.error(ctx, "written")
        memory.tracers.get_tracer("shop").start_span("pay", ctx).end()
        assert memory.spans == []
        assert f"{memory.record.trace_id:032x}" == trace_id
        assert not memory.record.trace_flags.sampled


@pytest.mark.parametrize("broken", [True, False], ids=["a broken processor", "no SDK"])
def test_a_trace_has_an_id_also_where_nobody_makes_spans(memory: Memory, broken: bool) -> None:
    if broken:
        memory.tracers.add_span_processor(Failing())
    tracers = memory.tracers if broken else NoOpTracerProvider()
    logger = Logger("shop.orders", logger_provider=memory.loggers, tracer_provider=tracers)
    ctx, trace_id = logger.with_trace(None)
    logger.info(ctx, "written")
    assert int(trace_id, 16) == memory.record.trace_id != 0
    assert not memory.record.trace_flags.sampled
    assert logger.with_trace(ctx) == (ctx, trace_id)


def test_tasks_and_threads_keep_their_own_traces(memory: Memory, logger: Logger) -> None:
    async def task(number: int) -> tuple[str, str]:
        ctx, trace_id = logger.with_trace(None)
        token = attach(ctx)
        try:
            await asyncio.sleep(0)
            logger.info(None, f"task {number}")
        finally:
            detach(token)
        return f"task {number}", trace_id

    async def tasks() -> list[tuple[str, str]]:
        return await asyncio.gather(*(task(number) for number in range(5)))

    expected = dict(asyncio.run(tasks()))

    def thread(number: int) -> None:
        ctx, trace_id = logger.with_trace(set_span_in_context(INVALID_SPAN))
        expected[f"thread {number}"] = trace_id
        logger.info(ctx, f"thread {number}")

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {record.log_record.body: f"{record.log_record.trace_id:032x}" for record in memory.records} == expected
    assert len(set(expected.values())) == 10
