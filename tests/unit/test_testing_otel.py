"""The fixture `otel`: what it sees, and what it does not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.metrics import Observation
from opentelemetry.trace import Status, StatusCode

from ares_otel.testing import Otel, capture
from tests.support.shop_telemetry import log, orders, place_order, tracer

meter = metrics.get_meter("shop")
amounts = meter.create_histogram("order.amount", unit="EUR")
queue = meter.create_up_down_counter("queue.length")
temperature = meter.create_gauge("temperature")
_ticks = [10]
meter.create_observable_counter("ticks", [lambda _: [Observation(_ticks[0], {"clock": "wall"})]])


def test_spans_of_a_tracer_that_is_older_than_the_test_are_seen(otel: Otel) -> None:
    place_order(7)

    assert [span.name for span in otel.spans()] == ["POST /orders", "INSERT orders"]
    insert = otel.span("INSERT orders").is_child_of("POST /orders").has_attributes({"order.id": 7}).is_kind("client")
    assert insert.attributes["order.id"] == 7
    assert insert.scope == "shop"
    assert insert.parent == otel.span("POST /orders")
    assert otel.span("POST /orders").is_root().children == [insert]


def test_a_test_sees_nothing_of_the_one_before(otel: Otel) -> None:
    assert otel.spans() == []
    assert otel.logs() == []
    assert otel.metrics() == []


def test_spans_are_found_by_name_attributes_kind_status_and_scope(otel: Otel) -> None:
    place_order(1)
    place_order(2)

    assert len(otel.spans("INSERT orders")) == 2
    assert otel.span("INSERT orders", attributes={"order.id": 2}).attributes["order.id"] == 2
    assert len(otel.spans(kind="server")) == 2
    assert otel.spans(status="error") == []
    assert len(otel.spans(scope="shop")) == 4
    assert otel.spans(scope="other") == []


@pytest.mark.parametrize("status", ["unset", "ok", "error"])
def test_a_status_with_its_description(otel: Otel, status: str) -> None:
    with tracer.start_as_current_span("x") as span:
        span.set_status(Status(StatusCode[status.upper()], "why" if status == "error" else None))

    otel.span("x").has_status(status, "why" if status == "error" else None)


def test_an_exception_is_known_by_its_class_its_name_and_its_message(otel: Otel) -> None:
    def fail() -> None:
        with tracer.start_as_current_span("x"):
            raise KeyError("no such order")

    with pytest.raises(KeyError):
        fail()

    otel.span("x").has_error(KeyError).has_error("KeyError", message="'no such order'").has_event("exception")
    with pytest.raises(AssertionError, match="recorded no ValueError: it recorded KeyError"):
        otel.span("x").has_error(ValueError)


def test_links_resources_and_durations(otel: Otel) -> None:
    with tracer.start_as_current_span("cause") as cause:
        pass
    link = trace.Link(cause.get_span_context(), {"why": "batch"})
    tracer.start_span("effect", links=[link], start_time=1_000_000_000).end(3_000_000_000)

    effect = otel.span("effect").links_to(otel.span("cause"), why="batch").is_root()
    effect.lasted(at_least=2, at_most=timedelta(seconds=2)).has_resource({"telemetry.sdk.language": "python"})
    assert effect.duration == 2.0
    assert effect.trace_id != otel.span("cause").trace_id


def test_a_descendant_is_any_number_of_spans_below(otel: Otel) -> None:
    with tracer.start_as_current_span("a"), tracer.start_as_current_span("b"), tracer.start_as_current_span("c"):
        pass

    otel.span("c").is_descendant_of("a").is_descendant_of(otel.span("b"))
    otel.trace("c").looks_like("""
        a
          b
            c
    """)
    assert otel.trace().root.name == "a"


def test_logs_of_both_kinds_are_in_the_span_they_were_written_in(otel: Otel) -> None:
    place_order(3)
    with tracer.start_as_current_span("checkout"):
        _logs.get_logger("events").emit(
            severity_number=SeverityNumber.INFO2, body="paid", event_name="paid", attributes={"amount": 5}
        )

    record = otel.log("order 3 is large").is_in("INSERT orders").has_attributes({"order.id": 3}).has_level("warning")
    assert record.logger == "shop.orders"
    assert record.attributes["code.function.name"] == "place_order"
    assert record.span == otel.span("INSERT orders")
    assert otel.log("paid", level="INFO").is_in(otel.span("checkout")).event_name == "paid"
    assert otel.logs(in_span="checkout", logger="events", amount=5) == otel.logs("INFO") == [otel.log("paid")]
    assert [one.message for one in otel.logs(at_least="WARN", logger="shop")] == ["order 3 is large"]


def test_a_record_of_logging_that_the_application_also_exports_is_one(otel: Otel) -> None:
    handler = LoggingHandler(logger_provider=_logs.get_logger_provider())
    for first in (True, False):
        otel.clear()
        with _root_handler(handler, first=first):
            log.error("twice?")
            log.error("twice?")
        assert len(otel.logs(level="ERROR")) == 2
    assert otel.logs()[0].raw.log_record.body == "twice?"


def test_two_equal_records_of_opentelemetry_are_two(otel: Otel) -> None:
    for _ in range(2):
        _logs.get_logger("x").emit(body="again", timestamp=5, severity_number=SeverityNumber.INFO)
        _logs.get_logger("x").emit(body="untimed", severity_number=SeverityNumber.INFO)

    assert len(otel.logs(contains="again")) == len(otel.logs(contains="untimed")) == 2


def test_caplog_sees_what_it_always_sees(otel: Otel, caplog: pytest.LogCaptureFixture) -> None:
    place_order(3)
    log.info("not written")

    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [("WARNING", "order 3 is large")]
    assert [one.message for one in otel.logs()] == ["order 3 is large"]


def test_a_level_that_is_set_holds_for_the_test(otel: Otel) -> None:
    before = log.level
    with capture() as inner:
        inner.set_level("debug", "shop.orders")
        log.debug("detail")
        inner.log("detail").has_level("DEBUG")

    assert log.level == before


def test_an_exception_that_is_logged_is_known(otel: Otel) -> None:
    try:
        raise LookupError("gone")
    except LookupError:
        log.exception("failed")

    otel.log("failed").has_exception(LookupError, "gone").has_exception("LookupError")


def test_metrics_are_those_of_this_test(otel: Otel) -> None:
    orders.add(2, {"side": "buy"})
    orders.add(1, {"side": "sell", "venue": "x"})
    amounts.record(10, {"side": "buy"})
    amounts.record(30, {"side": "sell"})
    queue.add(5)
    queue.add(-2)
    temperature.set(20.5)

    counter = otel.metric("orders").has_value(2, side="buy").has_value(1, {"venue": "x"}).has_unit("{order}")
    assert counter.value == 3
    assert (counter.kind, len(counter.points)) == ("counter", 2)
    histogram = otel.metric("order.amount").has_count(1, side="buy").has_sum(30, side="sell")
    assert (histogram.count, histogram.sum, histogram.min, histogram.max) == (2, 40, 10, 30)
    assert otel.metric("queue.length").value == 3
    otel.metric("temperature").has_value(pytest.approx(20.5))


def test_an_observable_counter_counts_from_the_beginning_of_the_test(otel: Otel) -> None:
    assert otel.metrics("ticks") == []
    _ticks[0] += 3
    otel.metric("ticks").has_value(3, clock="wall")
    assert otel.metric("ticks").value == 3
    otel.clear()
    assert otel.metrics("ticks") == []


def test_metrics_of_the_test_before_are_not_seen(otel: Otel) -> None:
    orders.add(1)
    assert otel.metric("orders").value == 1
    orders.add(1)
    assert otel.metric("orders").value == 2


def test_spans_of_a_thread_are_waited_for(otel: Otel) -> None:
    go = threading.Event()

    def work() -> None:
        go.wait(10)
        with tracer.start_as_current_span("work"):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    threading.Timer(0.01, go.set).start()
    assert otel.wait_for("work", timeout=10).is_root().ended
    thread.join()
    with pytest.raises(AssertionError, match="no span named 'never' within"):
        otel.wait_for("never", timeout=0)


async def test_spans_of_tasks_are_children_of_where_they_were_made(otel: Otel) -> None:
    async def work(number: int) -> None:
        with tracer.start_as_current_span(f"task {number}"):
            await asyncio.sleep(0)

    with tracer.start_as_current_span("parent"):
        tasks = [asyncio.create_task(work(number)) for number in range(3)]
        # The loop goes on while the test waits for the last one.
        assert (await otel.wait_for_async("task 2")).parent_id is not None
    await asyncio.gather(*tasks)
    assert [span.is_child_of("parent").name for span in otel.spans() if span.name != "parent"] == [
        "task 0",
        "task 1",
        "task 2",
    ]


async def test_waiting_on_the_loop_that_has_to_work_says_so(otel: Otel) -> None:
    with pytest.raises(AssertionError, match="event loop of this thread stood still"):
        otel.wait_for("never", timeout=0)


def test_a_span_that_never_ends_is_known(otel: Otel) -> None:
    span = tracer.start_span("forgotten")

    assert otel.spans() == []
    assert [one.name for one in otel.unfinished] == ["forgotten"]
    with pytest.raises(AssertionError, match="it was started and never ended"):
        otel.span("forgotten")
    with pytest.raises(AssertionError, match="'forgotten' never ended"):
        otel.all_ended()
    span.end()
    otel.all_ended().span("forgotten")


def test_what_is_captured_says_what_it_is(otel: Otel) -> None:
    place_order(3)
    assert repr(otel) == "<otel: 2 spans, 1 log records>"
    assert repr(otel.span("INSERT orders")).startswith("<span 'INSERT orders' client unset ")
    assert repr(otel.log("order 3 is large")).startswith("<log WARN 'order 3 is large' {'order.id': 3")
    assert repr(otel.metric("orders")) == "<counter 'orders': 1 {'side': 'buy'}>"
    assert repr(otel.trace()).endswith(": 'POST /orders' and 'INSERT orders'>")


@contextmanager
def _root_handler(handler: logging.Handler, *, first: bool) -> Iterator[None]:
    root = logging.getLogger()
    if first:
        root.handlers.insert(0, handler)
    else:
        root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
