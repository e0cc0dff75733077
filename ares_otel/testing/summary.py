"""Everything that a test recorded, as the lines of a failure message."""

from __future__ import annotations

import logging

from ares_otel.testing.captured_log import CapturedLog, log_lines
from ares_otel.testing.captured_metric import CapturedMetric
from ares_otel.testing.captured_span import CapturedSpan
from ares_otel.testing.meters import Meters
from ares_otel.testing.metric_translation import captured
from ares_otel.testing.one_capture import Capture
from ares_otel.testing.shown import listed
from ares_otel.testing.waterfall import draw

_METRICS = 20


class Summary:
    """Pictures of a capture."""

    def __init__(self, capture: Capture, meters: Meters, handler: logging.Handler) -> None:
        self._capture = capture
        self._meters = meters
        self._handler = handler

    def everything(self) -> list[str]:
        """The traces, the log records, the metrics, and what a reader should know about them."""
        lines = self.spans() or ["no spans"]
        logs = [CapturedLog(entry, self._capture) for entry in self._capture.logs()]
        if logs:
            lines += ["", *log_lines(logs)]
        metrics = metric_lines(captured(self._meters))
        if metrics:
            lines += ["", *metrics]
        notes = [*self.notes(), *(self.log_notes() if logs else [])]
        return [*lines, "", *notes] if notes else lines

    def spans(self, marked: list[CapturedSpan] | None = None, mark: str = "") -> list[str]:
        """The traces, with some spans marked."""
        every = (*self._capture.spans(), *self._capture.open_spans())
        return draw(every, {span.key: mark for span in marked or []})

    def notes(self) -> list[str]:
        """What is missing, and why."""
        capture = self._capture
        notes = []
        if capture.late:
            more = f", {capture.late} in all." if capture.late > len(capture.late_names) else "."
            notes.append(f"Left out, because it belongs to an earlier test: {listed(capture.late_names)}{more}")
        if capture.refused_spans or capture.refused_logs:
            notes.append(
                f"Too many to keep: {capture.refused_spans} spans and {capture.refused_logs} log records came later "
                "and are not here."
            )
        return notes

    def log_notes(self) -> list[str]:
        """Why a log record may be missing."""
        root = logging.getLogger()
        notes = []
        if self._handler not in root.handlers:
            notes.append("The handlers of the root logger were replaced: what was logged after that is missing.")
        if root.level > logging.INFO:
            level = logging.getLevelName(root.level)
            notes.append(f"The root logger writes from {level} on; otel.set_level('INFO') lets it write more.")
        return notes


def metric_lines(metrics: list[CapturedMetric]) -> list[str]:
    """Their tables."""
    lines = [line for metric in metrics[:_METRICS] for line in metric.table()]
    return lines + [f"⋮ {len(metrics) - _METRICS} more"] * (len(metrics) > _METRICS)
