"""Captures beside and after each other: what belongs to which test, what code does to its providers, and bounds."""

from __future__ import annotations

import gc
import logging
import os
import warnings

import pytest
from opentelemetry import _logs, context, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from ares_otel.testing import CapturedSpan, Otel, capture
from ares_otel.testing.providers import the_providers
from tests.support.shop_telemetry import log, orders, place_order, tracer


def test_what_an_earlier_test_began_is_not_seen_and_is_named() -> None:
    with capture() as earlier:
        parent = tracer.start_span("earlier")
        assert [span.name for span in earlier.unfinished] == ["earlier"]

    with capture() as later:
        parent.end()
        below = trace.set_span_in_context(parent)
        child = tracer.start_span("late child", context=below)
        tracer.start_span("late grandchild", context=trace.set_span_in_context(child)).end()
        child.end()
        _logs.get_logger("x").emit(body="late words", context=below)
        tracer.start_span("mine").end()

        assert [span.name for span in later.spans()] == ["mine"]
        assert later.logs() == []
        with pytest.raises(AssertionError, match="earlier test: 'late child', 'late grandchild' and 'log record: late"):
            later.span("late child")


def test_a_context_that_an_earlier_test_left_behind_is_no_parent() -> None:
    with capture():
        token = context.attach(trace.set_span_in_context(tracer.start_span("left behind")))
    try:
        with capture() as later:
            tracer.start_span("mine").end()
            later.span("mine").is_root()
    finally:
        context.detach(token)


def test_a_generator_of_ids_that_begins_anew_is_no_earlier_test() -> None:
    class Counting(IdGenerator):
        last = 0

        def generate_span_id(self) -> int:
            self.last += 1
            return self.last

        generate_trace_id = generate_span_id

    for _ in range(3):
        with capture() as recorded:
            provider = TracerProvider(id_generator=Counting(), shutdown_on_exit=False)
            recorded.attach(provider)
            with provider.get_tracer("x").start_as_current_span("a"):
                provider.get_tracer("x").start_span("b").end()
            recorded.span("b").is_child_of("a")


def test_an_outer_capture_sees_what_an_inner_one_sees(otel: Otel) -> None:
    with capture() as inner:
        place_order()
        assert len(inner.spans()) == 2
    with tracer.start_as_current_span("after"):
        pass

    assert len(otel.spans()) == 3
    assert len(otel.logs()) == 1
    assert len(inner.spans()) == 2


def test_providers_that_the_code_makes_itself_are_recorded_too(otel: Otel) -> None:
    """An application's factory, called in the test: OpenTelemetry keeps the global provider that was set first."""
    tracers = TracerProvider(shutdown_on_exit=False)
    meters = MeterProvider(shutdown_on_exit=False)
    loggers = LoggerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    _logs.set_logger_provider(loggers)

    tracers.get_tracer("own").start_span("own").end()
    meters.get_meter("own").create_counter("own").add(1)
    loggers.get_logger("own").emit(body="own")
    trace.get_tracer("global").start_span("global").end()

    assert {span.name for span in otel.spans()} == {"own", "global"}
    assert otel.metric("own", scope="own").value == 1
    assert [one.message for one in otel.logs()] == ["own"]


def test_an_application_that_shuts_its_telemetry_down_can_be_tested_twice() -> None:
    for _ in range(2):
        with capture() as recorded:
            place_order()
            trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]
            metrics.get_meter_provider().shutdown()  # type: ignore[attr-defined]
            _logs.get_logger_provider().shutdown()  # type: ignore[attr-defined]
            metrics.get_meter("late").create_counter("late").add(1)
            assert len(recorded.spans()) == 2
            assert recorded.metric("orders").value == recorded.metric("late").value == 1


def test_a_meter_provider_that_was_shut_down_is_said(otel: Otel) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    otel.attach(provider)
    provider.shutdown()
    provider.get_meter("late").create_counter("late").add(1)

    with pytest.raises(AssertionError, match="has shut its meter provider down"):
        otel.metric("late")


def test_another_sdk_is_refused_with_a_sentence(otel: Otel) -> None:
    with pytest.raises(RuntimeError, match=r"builtins\.object is not one of opentelemetry-sdk"):
        otel.attach(object())


def test_what_exporters_complain_about_is_no_error_of_the_code(otel: Otel) -> None:
    logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").error("nobody listens")
    logging.getLogger("ares_otel.sdk.direct").error("nobody listens")
    otel.no_errors()
    logging.getLogger("opentelemetry.sdk.trace").error("called wrongly")
    with pytest.raises(AssertionError, match="1 log record with the level ERROR"):
        otel.no_errors()


def test_handlers_that_the_code_replaces_are_said(otel: Otel) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        for handler in before:
            root.removeHandler(handler)
        log.error("unseen")
        with pytest.raises(AssertionError, match="handlers of the root logger were replaced"):
            otel.log("unseen")
    finally:
        for handler in before:
            if handler not in root.handlers:
                root.addHandler(handler)


def test_clear_forgets_and_goes_on(otel: Otel) -> None:
    with tracer.start_as_current_span("around"):
        place_order()
        otel.clear()
        assert (otel.spans(), otel.logs(), otel.metrics()) == ([], [], [])
        orders.add(4)
    otel.span("around")
    assert otel.metric("orders").value == 4


def test_many_tests_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares_otel.testing.recorder.MOST_PAST", 50)
    recorder = the_providers().recorder
    recorder._past.clear()  # those of the tests before

    def a_test() -> None:
        with capture() as recorded:
            for _ in range(10):
                tracer.start_span("x").end()
            orders.add(1)
            assert len(recorded.spans("x")) == 10

    a_test()
    gc.collect()
    readers = len(MeterProvider._all_metric_readers)
    for _ in range(20):
        a_test()

    gc.collect()
    assert len(recorder._past) == 50
    assert len(MeterProvider._all_metric_readers) == readers
    assert recorder.handler not in logging.getLogger().handlers
    assert recorder.active == ()
    assert not [one for one in gc.get_objects() if isinstance(one, CapturedSpan)]


def test_a_test_that_records_without_end_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares_otel.testing.one_capture.MOST_SPANS", 10)
    monkeypatch.setattr("ares_otel.testing.one_capture.MOST_LOGS", 5)
    with capture() as recorded:
        for _ in range(25):
            tracer.start_span("x").end()
            log.error("again")
        assert (len(recorded.spans()), len(recorded.logs())) == (10, 5)
        assert "15 spans and 20 log records came later" in recorded.tree()


def test_a_fork_records_nothing_and_blocks_nowhere(otel: Otel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the run are alive
        pid = os.fork()
    if pid == 0:
        try:
            place_order()
            os._exit(len(otel.spans()))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert otel.spans() == []


def test_a_child_of_what_was_cleared_belongs_to_the_same_test() -> None:
    with capture() as earlier:
        parent = tracer.start_span("cleared")
        parent.end()
        earlier.clear()
        below = trace.set_span_in_context(parent)
        tracer.start_span("child", context=below).end()
        earlier.span("child")

    with capture() as later:
        tracer.start_span("late child", context=below).end()
        assert later.spans() == []
