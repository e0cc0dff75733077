"""The logger: what a call becomes, in which trace, at which level, and that nothing comes back to the caller."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ares_otel
from ares_otel.sdk import logger as module
from ares_otel.sdk.logger import Logger, get_logger
from ares_otel.sdk.once import MAX_SENTENCES, Once
from tests.support.otel_memory import Failing, Memory, otel_memory
from tests.support.reference import ROOT


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


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger as Python makes it; pytest has handlers there while a test runs."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    root.setLevel(logging.WARNING)
    try:
        yield root
    finally:
        root.handlers = handlers
        root.setLevel(level)


def line_of(call: str) -> int:
    """The line of this file that holds the call."""
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if call in line and "line_of" not in line)


# What a call becomes


@pytest.mark.parametrize(("call", "number"), [("debug", 5), ("info", 9), ("warn", 13), ("error", 17)])
def test_a_call_is_a_record_with_severity_body_and_attributes(
    memory: Memory, logger: Logger, call: str, number: int
) -> None:
    getattr(logger, call)(None, "order paid", {"order_id": "12345", "amount": 1.5, "items": [{"sku": 1}]})
    record = memory.record
    assert (record.severity_number.value, record.severity_text, record.body) == (number, call.upper(), "order paid")
    assert (record.attributes["order_id"], record.attributes["amount"]) == ("12345", 1.5)
    assert record.attributes["items"] == ({"sku": 1},)
    assert 0 < record.timestamp <= record.observed_timestamp
    scope = memory.records[0].instrumentation_scope
    assert scope is not None
    assert scope.name == "shop.orders"


def test_a_record_names_file_line_and_function_of_the_caller(memory: Memory, logger: Logger) -> None:
    logger.info(None, "directly")
    assert memory.record.attributes == {
        "code.file.path": __file__,
        "code.line.number": line_of('logger.info(None, "directly")'),
        "code.function.name": f"{__name__}.test_a_record_names_file_line_and_function_of_the_caller",
    }


def test_a_function_around_the_logger_says_how_far_its_caller_is(memory: Memory, logger: Logger) -> None:
    class Audit:
        def note(self, message: str) -> None:
            logger.warn(None, message, stacklevel=2)

    Audit().note("wrapped")
    assert memory.record.attributes["code.line.number"] == line_of('Audit().note("wrapped")')
    memory.forget_records()
    logger.warn(None, "too far", stacklevel=10_000)
    assert memory.record.attributes["code.line.number"] > 0


def test_what_the_caller_says_about_the_code_wins(memory: Memory, logger: Logger) -> None:
    logger.info(None, "generated", {"code.file.path": "orders.tmpl"})
    assert memory.record.attributes["code.file.path"] == "orders.tmpl"


def test_an_exception_is_written_with_class_message_and_stack_trace(memory: Memory, logger: Logger) -> None:
    try:
        raise asyncio.InvalidStateError("paid twice")
    except asyncio.InvalidStateError as error:
        logger.error(None, "failed", exception=error)
        logger.error(None, "failed again", exception=True)
    first, second = (dict(record.log_record.attributes or {}) for record in memory.records)
    assert first["exception.type"] == "asyncio.exceptions.InvalidStateError"
    assert first["exception.message"] == "paid twice"
    assert "raise asyncio.InvalidStateError" in str(first["exception.stacktrace"])
    assert second["exception.stacktrace"] == first["exception.stacktrace"]
    memory.forget_records()
    logger.error(None, "nothing is being handled", exception=True)
    assert "exception.type" not in memory.record.attributes


def test_a_long_stack_trace_keeps_its_end(memory: Memory, logger: Logger) -> None:
    logger.error(None, "failed", exception=ValueError("x" * 100_000 + " the end"))
    assert str(memory.record.attributes["exception.stacktrace"]).endswith(" the end\n")


# Levels


def test_the_standard_logger_of_the_name_has_the_level(memory: Memory, logger: Logger) -> None:
    logging.getLogger("shop.orders").setLevel(logging.WARNING)
    for call in (logger.debug, logger.info, logger.warn, logger.error):
        call(None, "said")
    assert [record.log_record.severity_text for record in memory.records] == ["WARN", "ERROR"]


def test_the_level_of_a_parent_counts_and_changes_at_once(memory: Memory, logger: Logger) -> None:
    logging.getLogger("shop.orders").setLevel(logging.NOTSET)
    parent = logging.getLogger("shop")
    try:
        parent.setLevel(logging.ERROR)
        logger.warn(None, "too low")
        parent.setLevel(logging.DEBUG)
        logger.debug(None, "high enough")
    finally:
        parent.setLevel(logging.NOTSET)
    assert memory.record.body == "high enough"


def test_a_root_that_nobody_configured_lets_info_through(memory: Memory, logger: Logger) -> None:
    logging.getLogger("shop.orders").setLevel(logging.NOTSET)
    with bare_root() as root:
        logger.info(None, "wanted")
        logger.debug(None, "not wanted")
        root.setLevel(logging.ERROR)
        logger.info(None, "somebody wants errors only")
        root.setLevel(logging.WARNING)
        root.addHandler(logging.NullHandler())
        logger.info(None, "somebody configured it")
        root.handlers.clear()
        logging.getLogger("shop.orders").setLevel(logging.WARNING)
        logger.info(None, "somebody configured this one")
    assert memory.record.body == "wanted"


def test_logging_that_is_switched_off_is_off(memory: Memory, logger: Logger) -> None:
    logging.getLogger("shop.orders").setLevel(logging.NOTSET)
    with bare_root():
        logging.disable(logging.CRITICAL)
        try:
            logger.info(None, "no")
            logger.error(None, "no")
        finally:
            logging.disable(logging.NOTSET)
    assert memory.records == []


def test_what_is_below_the_level_is_not_looked_at(memory: Memory, logger: Logger) -> None:
    class Costly(dict[str, Any]):
        def items(self) -> Any:
            raise AssertionError("looked at")

    logging.getLogger("shop.orders").setLevel(logging.WARNING)
    logger.debug(None, "no", Costly(a=1))
    assert memory.records == []


# Nothing comes back to the caller


def test_an_error_of_a_processor_is_said_once(memory: Memory, logger: Logger, caplog: pytest.LogCaptureFixture) -> None:
    memory.loggers.add_log_record_processor(Failing())
    for _ in range(3):
        logger.error(None, "said")
    (said,) = caplog.records
    assert said.getMessage() == "Logger 'shop.orders' could not write a record: RuntimeError: broken processor"
    assert said.name == "ares_otel.sdk.logger"


def test_a_first_argument_that_is_no_context_is_said_once(
    memory: Memory, logger: Logger, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Any = "a message where the context belongs"
    logger.info(wrong, "message")
    logger.info(wrong, "message")
    assert logger.with_trace(wrong)[1]
    (said,) = caplog.records
    assert "The first argument of info of logger 'shop.orders' has to be a context" in said.getMessage()
    assert [record.log_record.body for record in memory.records] == ["message", "message"]


def test_a_body_that_is_no_text_keeps_its_kind(memory: Memory, logger: Logger) -> None:
    wrong: Any = {"event": "paid", "by": [1, None]}
    logger.info(None, wrong)
    assert memory.record.body == wrong


def test_an_exception_that_cannot_be_shown_is_written(memory: Memory, logger: Logger) -> None:
    class Angry(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        def __bool__(self) -> bool:
            raise RuntimeError("no")

    logger.error(None, "failed", exception=Angry())
    assert memory.record.attributes["exception.type"].endswith("Angry")
    assert memory.record.attributes["exception.message"] == "<exception whose message cannot be shown>"


def test_at_most_so_many_different_things_are_said(caplog: pytest.LogCaptureFixture) -> None:
    once = Once(logging.getLogger("ares_otel.sdk.logger"))
    for number in range(2 * MAX_SENTENCES):
        once.say(number, "number %d", number)
    assert len(caplog.records) == MAX_SENTENCES + 1
    assert "More is wrong" in caplog.records[-1].getMessage()


PROGRAM = """
import sys
import ares_otel
logger = ares_otel.get_logger("shop")
ctx, trace_id = logger.with_trace(None)
for _ in range(2):
    logger.info(ctx, "nobody hears")
    ares_otel.MetricsCollector("shop").record_counter("c")
print(len(trace_id), [name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""


def test_an_application_without_an_sdk_runs_and_is_told_once() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "32 []\n"
    logger, metrics = done.stderr.splitlines()
    assert logger.startswith("Logger 'shop' was called and OpenTelemetry is not set up")
    assert metrics.startswith("MetricsCollector 'shop' was called and OpenTelemetry is not set up")


# Everywhere


def test_a_name_has_one_logger() -> None:
    assert get_logger("shop.orders") is get_logger("shop.orders") is ares_otel.get_logger("shop.orders")
    assert get_logger("shop.orders").name == "shop.orders"
    assert ares_otel.Logger is Logger
