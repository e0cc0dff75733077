"""One arrangement for the process: what sees every span, log record and metric, and which tests it is for.

OpenTelemetry lets a process set its global providers once, and code keeps the tracers that it got when it was imported.
So the providers stay, and what changes from test to test is only who is told.
"""

from __future__ import annotations

import contextlib
import logging
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ares_otel.testing.log_translation import entry_of_logging, entry_of_otel, is_plumbing
from ares_otel.testing.one_capture import Capture, LogEntry, key_of

MOST_PAST = 20_000
"""Spans of earlier tests that are remembered, so that what comes late is not taken for this test's."""


class Sink(Protocol):
    """Where what is recorded goes besides."""

    @property
    def spans(self) -> SpanProcessor: ...
    @property
    def logs(self) -> LogRecordProcessor: ...


class Recorder:
    """Tells the captures that are active. All methods may be called on any thread."""

    def __init__(self) -> None:
        self._active: tuple[Capture, ...] = ()
        self._past: OrderedDict[int, None] = OrderedDict()
        self._sinks: tuple[Sink, ...] = ()
        self.spans = _Spans(self)
        self.logs = _Logs(self)
        self.handler = _Handler(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def active(self) -> tuple[Capture, ...]:
        return self._active

    @property
    def sinks(self) -> tuple[Sink, ...]:
        return self._sinks

    def begin(self, capture: Capture) -> None:
        self._active = (*self._active, capture)

    def end(self, capture: Capture) -> None:
        """What of this capture's spans is heard of from now on is late."""
        self._active = tuple(one for one in self._active if one is not capture)
        for key in capture.all_keys():
            if not any(one.knows(key) for one in self._active):
                self._remember(key)

    def is_past(self, context: trace.SpanContext | None) -> bool:
        """Whether a span of an earlier test has this context."""
        return context is not None and bool(self._past) and key_of(context.trace_id, context.span_id) in self._past

    def send_to(self, sink: Sink) -> None:
        """`sink` gets every span that ends and every log record of OpenTelemetry's, until `send_no_more`."""
        self._sinks = (*self._sinks, sink)

    def send_no_more(self, sink: Sink) -> None:
        self._sinks = tuple(one for one in self._sinks if one is not sink)

    def started(self, span: Span) -> None:
        context = span.get_span_context()
        key = key_of(context.trace_id, context.span_id)
        self._past.pop(key, None)  # generators of ids that begin anew in each test
        if self._is_late(span.parent):
            self._remember(key)
            for capture in self._active:
                capture.left_out(span.name)
            return
        for capture in self._active:
            capture.span_started(key, span)

    def ended(self, span: ReadableSpan) -> None:
        for sink in self._sinks:
            sink.spans.on_end(span)
        context = span.get_span_context()
        if context is not None:
            for capture in self._active:
                capture.span_ended(key_of(context.trace_id, context.span_id), span)

    def emitted(self, entry: LogEntry, *, from_logging: bool) -> None:
        if is_plumbing(entry.logger):
            return
        late = bool(self._past) and key_of(entry.trace_id, entry.span_id) in self._past
        for capture in self._active:
            if late and not capture.knows(key_of(entry.trace_id, entry.span_id)):
                said = entry.body[:100] if isinstance(entry.body, str) else type(entry.body).__name__
                capture.left_out(f"log record: {said}")
            else:
                capture.log_emitted(entry, from_logging=from_logging)

    def sent(self, record: ReadWriteLogRecord) -> None:
        for sink in self._sinks:
            sink.logs.on_emit(record)

    def _remember(self, key: int) -> None:
        self._past[key] = None
        if len(self._past) > MOST_PAST:
            with contextlib.suppress(KeyError):  # another thread has done it
                self._past.popitem(last=False)

    def _is_late(self, parent: trace.SpanContext | None) -> bool:
        if parent is None or not self._past:
            return False
        key = key_of(parent.trace_id, parent.span_id)
        return key in self._past and not any(capture.knows(key) for capture in self._active)

    def _forget(self) -> None:
        """In the child of a fork nobody reads, and a lock may be held by a thread that is not there."""
        self._active = ()
        self._sinks = ()


class _Spans(SpanProcessor):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_start(self, span: Span, parent_context: otel_context.Context | None = None) -> None:
        if self._recorder.active:
            self._recorder.started(span)

    def on_end(self, span: ReadableSpan) -> None:
        self._recorder.ended(span)


class _Logs(LogRecordProcessor):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._recorder.sent(log_record)
        if self._recorder.active:
            self._recorder.emitted(entry_of_otel(log_record), from_logging=False)

    def enabled(self, **_: Any) -> bool:
        return bool(self._recorder.active or self._recorder.sinks)

    def shutdown(self) -> None:
        """The application may shut its providers down; the next test records all the same."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class _Handler(logging.Handler):
    """On the root logger while a test records. It changes no record and no level."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._recorder.active:
                self._recorder.emitted(entry_of_logging(record), from_logging=True)
        except Exception:
            self.handleError(record)


class Attached:
    """Providers to which something was added, each once and without keeping it alive."""

    def __init__(self) -> None:
        self._providers: weakref.WeakSet[Any] = weakref.WeakSet()

    def once(self, provider: Any, add: Callable[[], None]) -> None:
        if provider not in self._providers:
            self._providers.add(provider)
            add()
