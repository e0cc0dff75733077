"""What a trace's duration is made of: the spans that its root waited for, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ares_otel.query.trace_tree import TreeSpan


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of time that belongs to one span of the path. Never empty."""

    index: int
    """Of the span in the sequence that was given."""
    start_ns: int
    end_ns: int


def critical_path(
    spans: Sequence[TreeSpan],
    children: Sequence[Sequence[int]],
    root: int,
    detached: Collection[int] = frozenset(),
) -> list[Section]:
    """The sections of the path, by time. Together they are exactly the time of the root, without gaps.

    Read from the end of the root backwards: of its children that had ended by then, the one that ended last is what it
    waited for; what lies between is the root's own time. The same holds inside this child, and before its start for
    the root again. This is the critical path of CRISP (Zhang et al., USENIX ATC 2022) and of Jaeger's UI:

    * Of children that overlap, only the one that ended last counts: those that were still running when it started
      were not what its start waited for.
    * A child counts only within the time of its parent. A clock that is off, or work that goes on after the parent's
      answer, does not make the path longer than the root; a child that lies outside altogether is not on it.

    Takes O(n log n) and no recursion.

    Args:
        children: by index of a span, the indexes of its children: a tree, without cycles.
        root: where the path begins.
        detached: spans that their parents do not wait for, whatever the times say.
    """
    first = spans[root]
    sections: list[Section] = []
    frames = [_Frame(root, first.start_ns, first.start_ns + first.duration_ns)]
    frames[0].wait_for(spans, children[root], detached)
    while frames:
        frame = frames[-1]
        child = frame.last_finished()
        if child is None:
            if frame.start_ns < frame.reached:
                sections.append(Section(frame.index, frame.start_ns, frame.reached))
            frames.pop()
            continue
        if child.reached < frame.reached:
            sections.append(Section(frame.index, child.reached, frame.reached))
        frame.reached = child.start_ns
        child.wait_for(spans, children[child.index], detached)
        frames.append(child)
    sections.reverse()
    return sections


class _Frame:
    """A span of the path while it is walked, within the time of its parent."""

    __slots__ = ("_waiting", "index", "reached", "start_ns")

    def __init__(self, index: int, start_ns: int, end_ns: int) -> None:
        self.index = index
        self.start_ns = start_ns
        self.reached = end_ns
        """What is later is done."""
        self._waiting: list[tuple[int, int, int]] = []

    def wait_for(self, spans: Sequence[TreeSpan], children: Sequence[int], detached: Collection[int]) -> None:
        """Takes the children, those that end last to the end; of two that end together the longer one."""
        for child in children:
            start = max(spans[child].start_ns, self.start_ns)
            end = min(spans[child].start_ns + spans[child].duration_ns, self.reached)
            if start < end and child not in detached:
                self._waiting.append((end, -start, child))
        self._waiting.sort()

    def last_finished(self) -> _Frame | None:
        """The child that ended last before what is done, taken away; None when there is none."""
        while self._waiting:
            end, start, child = self._waiting.pop()
            if end <= self.reached:
                return _Frame(child, -start, end)
        return None
