"""What one test recorded: its finished spans, those that are still open, and its log records."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Span

MOST_SPANS = 100_000
MOST_LOGS = 100_000
"""Of one test. What comes after them is counted and said, not kept."""
_NAMES_KEPT = 5


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log record as it was when it was emitted."""

    timestamp: int | None
    """Nanoseconds since 1970."""
    observed_timestamp: int | None
    severity_number: int
    severity_text: str | None
    body: Any
    attributes: dict[str, Any]
    event_name: str | None
    logger: str
    trace_id: int
    span_id: int
    resource: Any
    raw: Any
    """The SDK's ReadWriteLogRecord, or the `logging.LogRecord` of a program without a handler for OpenTelemetry."""


class Capture:
    """Filled by the recorder from any thread; read by the assertions."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._spans: dict[int, ReadableSpan] = {}
        self._open: dict[int, Span] = {}
        self._cleared: set[int] = set()
        self._logs: list[LogEntry] = []
        self._unpaired: dict[tuple[int, str, int], tuple[int, bool]] = {}
        self._listeners: list[Callable[[], None]] = []
        self.refused_spans = 0
        self.refused_logs = 0
        self.late = 0
        """Spans and log records that an earlier test is to answer for, and that were left out."""
        self.late_names: list[str] = []

    def knows(self, key: int) -> bool:
        """Whether a span with this key was started here, also one that was cleared."""
        return key in self._open or key in self._spans or key in self._cleared

    def span_started(self, key: int, span: Span) -> None:
        with self._changed:
            if len(self._open) + len(self._spans) >= MOST_SPANS:
                self.refused_spans += 1
                return
            self._spans.pop(key, None)  # ids that a generator of the test gives twice
            self._open[key] = span

    def span_ended(self, key: int, span: ReadableSpan) -> None:
        with self._changed:
            if self._open.pop(key, None) is None:
                return  # started before this test, or beyond the bound
            self._spans[key] = span
            self._tell()

    def log_emitted(self, entry: LogEntry, *, from_logging: bool) -> None:
        """Notes a log record. A program with a handler of its own sends each record of `logging` here twice, once from
        its handler and once from the recorder's: its own is kept. The time, of a float's precision, tells which."""
        key = (entry.timestamp or 0, entry.logger, entry.severity_number)
        with self._changed:
            twin = self._unpaired.get(key) if entry.timestamp else None
            if twin is not None and twin[1] != from_logging:
                del self._unpaired[key]
                if not from_logging:
                    self._logs[twin[0]] = entry
            elif len(self._logs) >= MOST_LOGS:
                self.refused_logs += 1
            else:
                self._unpaired[key] = (len(self._logs), from_logging)
                self._logs.append(entry)
            self._tell()

    def left_out(self, name: str) -> None:
        with self._changed:
            self.late += 1
            if len(self.late_names) < _NAMES_KEPT:
                self.late_names.append(name)

    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order of their start."""
        with self._changed:
            found = list(self._spans.values())
        return sorted(found, key=lambda span: span.start_time or 0)

    def open_spans(self) -> list[Span]:
        """Those that have not ended, in the order of their start."""
        with self._changed:
            found = list(self._open.values())
        return sorted(found, key=lambda span: span.start_time or 0)

    def logs(self) -> list[LogEntry]:
        """In the order in which they were emitted."""
        with self._changed:
            return list(self._logs)

    def all_keys(self) -> list[int]:
        with self._changed:
            return [*self._cleared, *self._spans, *self._open]

    def clear(self) -> None:
        """Forgets what has ended; what is still open is seen when it ends."""
        with self._changed:
            if len(self._cleared) > MOST_SPANS:
                self._cleared.clear()
            self._cleared.update(self._spans)
            self._spans.clear()
            self._logs.clear()
            self._unpaired.clear()
            self.refused_spans = self.refused_logs = self.late = 0
            self.late_names.clear()

    def wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Waits until `ready` is true, which is asked whenever something was recorded. `timeout` in seconds."""
        with self._changed:
            return self._changed.wait_for(ready, timeout)

    def listen(self, listener: Callable[[], None]) -> None:
        """`listener` is called, on whatever thread, whenever something was recorded; it must not block."""
        with self._changed:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        with self._changed:
            self._listeners.remove(listener)

    def _tell(self) -> None:
        self._changed.notify_all()
        for listener in self._listeners:
            listener()


def key_of(trace_id: int, span_id: int) -> int:
    """A span's identity as one number."""
    return trace_id << 64 | span_id
