"""A whole trace, and what can be asserted about its shape."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ares_otel.testing.captured_span import CapturedSpan
from ares_otel.testing.failing import failure
from ares_otel.testing.one_capture import Capture
from ares_otel.testing.shown import listed, shown_name
from ares_otel.testing.waterfall import draw

if TYPE_CHECKING:
    from typing import Self

_INDENT = "  "
_LINES = 200


class CapturedTrace:
    """The captured spans of one trace."""

    def __init__(self, trace_id: str, capture: Capture) -> None:
        self.trace_id = trace_id
        """In hex."""
        self._capture = capture

    @property
    def spans(self) -> list[CapturedSpan]:
        """Those that have ended, in the order of their start."""
        return [span for span in map(self._of, self._capture.spans()) if span.trace_id == self.trace_id]

    @property
    def names(self) -> list[str]:
        """Of the spans, in the order of their start."""
        return [span.name for span in self.spans]

    @property
    def root(self) -> CapturedSpan:
        """The one span whose parent is not among them. Raises AssertionError when there are several."""
        __tracebackhide__ = True
        tops = self._tops()
        if len(tops) != 1:
            raise failure(
                f"the trace has {len(tops)} spans without a parent here: {listed([span.name for span in tops])}",
                self._drawn(),
            )
        return tops[0]

    def looks_like(self, shape: str) -> Self:
        """Asserts the names and who is whose parent: one name a line, children below their parent and indented by two
        more blanks, in the order of their start. Empty lines and the indentation of the whole do not count.

            otel.trace().looks_like('''
                GET /orders
                  SELECT orders
                  charge card
            ''')
        """
        __tracebackhide__ = True
        expected, there = _dedented(shape), self._shape()
        if expected != there:
            changes = list(difflib.ndiff(expected[:_LINES], there[:_LINES]))
            lines = ["- expected, + there:", *(line for line in changes if not line.startswith("?"))]
            raise failure("the trace does not look like that", lines, self._drawn())
        return self

    def tree(self) -> str:
        """The picture."""
        return "\n".join(self._drawn())

    def print(self) -> None:
        """Writes the picture to standard output."""
        import sys

        sys.stdout.write(self.tree() + "\n")

    def __len__(self) -> int:
        return len(self.spans)

    def __repr__(self) -> str:
        return f"<trace {self.trace_id[:8]}…: {listed(self.names)}>"

    def _of(self, raw: object) -> CapturedSpan:
        return CapturedSpan(raw, self._capture)  # type: ignore[arg-type]

    def _tops(self) -> list[CapturedSpan]:
        here = {span.span_id for span in self.spans}
        return [span for span in self.spans if span.parent_id not in here]

    def _shape(self) -> list[str]:
        """One name a line. Depth first, without recursion."""
        below: dict[str | None, list[CapturedSpan]] = {}
        spans = self.spans
        here = {span.span_id for span in spans}
        for span in spans:
            below.setdefault(span.parent_id if span.parent_id in here else None, []).append(span)
        lines: list[str] = []
        waiting = [(span, 0) for span in reversed(below.get(None, []))]
        while waiting:
            span, depth = waiting.pop()
            lines.append(_INDENT * depth + shown_name(span.name))
            waiting += [(child, depth + 1) for child in reversed(below.get(span.span_id, []))]
        return lines

    def _drawn(self) -> list[str]:
        everything = map(self._of, (*self._capture.spans(), *self._capture.open_spans()))
        return draw([span.raw for span in everything if span.trace_id == self.trace_id])


def _dedented(shape: str) -> list[str]:
    lines = [line.expandtabs(len(_INDENT)).rstrip() for line in shape.splitlines() if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return [line[margin:] for line in lines]
