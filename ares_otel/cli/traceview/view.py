"""A trace as its picture needs it: a tree of spans, each with its part of the critical path and what is said there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import orjson

from ares_otel.cli.traceview.clocks import clock_shifts
from ares_otel.cli.traceview.notes import Note, event_note, link_note, log_note
from ares_otel.query.critical_path import critical_path
from ares_otel.query.rows import LogRow, SpanRow
from ares_otel.query.trace_tree import TreeSpan
from ares_otel.query.traces import Trace, start_unix_nano

_GAP_SHARE = 0.05
"""Part of the trace from which on a time without a child is worth a line."""


@dataclass(slots=True)
class Node:
    """A span. Times in nanoseconds."""

    row: SpanRow
    parent: int | None
    depth: int
    start: int
    end: int
    shift: int = 0
    """By how much it is shown later than its clock said."""
    self_ns: int = 0
    """Its time in which no child ran."""
    children: list[int] = field(default_factory=list)
    """By start."""
    path: list[tuple[int, int]] = field(default_factory=list)
    """Its sections of the critical path, by time."""
    notes: list[Note] = field(default_factory=list)
    """By time."""

    @property
    def failed(self) -> bool:
        return self.row.status == "error"

    @property
    def path_ns(self) -> int:
        """Its part of the critical path."""
        return sum(end - start for start, end in self.path)

    @property
    def duration(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class View:
    """A trace. Times in nanoseconds."""

    trace_id: UUID
    nodes: list[Node]
    """In tree order: a parent before its children, siblings by start."""
    main: int | None
    """The root whose duration the critical path explains."""
    start: int
    end: int
    services: list[str]
    loose: list[Note]
    """Log records that belong to no span that is here."""
    warnings: list[str]

    @property
    def roots(self) -> list[int]:
        return [index for index, node in enumerate(self.nodes) if node.parent is None]

    @property
    def errors(self) -> int:
        return sum(node.failed for node in self.nodes)

    @property
    def moved(self) -> int:
        """Spans that are not shown where their clocks had them."""
        return sum(node.shift != 0 for node in self.nodes)

    @property
    def late(self) -> int:
        """How long the trace went on after its main root had ended."""
        return 0 if self.main is None else max(0, self.end - self.nodes[self.main].end)


def view_of(trace: Trace, *, logs: bool = True, raw: bool = False) -> View:
    """The picture's content.

    Args:
        logs: whether log records are in it; events and links always are.
        raw: times are as the senders' clocks had them, also where clocks of several machines cannot both be right.
    """
    nodes = _nodes(trace, [0] * len(trace.spans) if raw else clock_shifts(trace))
    main = _main_root(nodes)
    if main is not None:
        _lay_path(nodes, main)
    for node in nodes:
        node.notes += _own_notes(node)
    loose = _lay_logs(nodes, trace.logs) if logs else []
    start = min((node.start for node in nodes), default=min((note.at for note in loose), default=0))
    end = max((node.end for node in nodes), default=max((note.at for note in loose), default=start))
    for node in nodes:
        if node.shift and (node.parent is None or nodes[node.parent].shift != node.shift):
            node.notes.append(Note("clock", node.start, length=node.shift))
        node.notes += _gaps(nodes, node, (end - start) * _GAP_SHARE)
        node.notes.sort(key=lambda note: note.at)
    return View(trace.trace_id, nodes, main, start, end, trace.services, loose, trace.warnings)


def _nodes(trace: Trace, shifts: Sequence[int]) -> list[Node]:
    nodes: list[Node] = []
    above: list[int] = []
    for index, (placed, shift) in enumerate(zip(trace.spans, shifts, strict=True)):
        del above[placed.depth :]
        start = start_unix_nano(placed.row) + shift
        parent = above[-1] if above else None
        if parent is not None:
            nodes[parent].children.append(index)
        nodes.append(Node(placed.row, parent, placed.depth, start, start + placed.row.duration_ns, shift))
        above.append(index)
    for node in nodes:
        node.children.sort(key=lambda child: (nodes[child].start, child))
        node.self_ns = _self_time(nodes, node)
    return nodes


def _self_time(nodes: Sequence[Node], node: Node) -> int:
    covered, reached = 0, node.start
    for child in node.children:  # by start
        left, right = max(nodes[child].start, reached), min(nodes[child].end, node.end)
        if right > left:
            covered += right - left
            reached = right
    return node.duration - covered


def _main_root(nodes: list[Node]) -> int | None:
    """The earliest span that has no parent; where every root lost its parent, the longest of them."""
    tops = [index for index, node in enumerate(nodes) if node.parent is None]
    true = [index for index in tops if nodes[index].row.parent_span_id is None]
    if true:
        return min(true, key=lambda index: (nodes[index].start, -nodes[index].duration, index))
    return min(tops, key=lambda index: (-nodes[index].duration, nodes[index].start, index), default=None)


def _lay_path(nodes: list[Node], main: int) -> None:
    spans = [
        TreeSpan(node.row.span_id, node.row.parent_span_id, node.row.service_name, node.start, node.duration)
        for node in nodes
    ]
    # A consumer works on a message whose sender went on at once; that it ends later shows it.
    detached = {
        index
        for index, node in enumerate(nodes)
        if node.row.kind == "consumer" and node.parent is not None and node.end > nodes[node.parent].end
    }
    for section in critical_path(spans, [node.children for node in nodes], main, detached):
        nodes[section.index].path.append((section.start_ns, section.end_ns))


def _own_notes(node: Node) -> Iterable[Note]:
    """What the span itself says: its links and events."""
    for link in orjson.loads(node.row.links):
        yield link_note(link, node.row, node.start)
    for event in orjson.loads(node.row.events):
        note = event_note(event, node.row.status_message)
        yield replace(note, at=note.at + node.shift)


def _lay_logs(nodes: list[Node], logs: Iterable[LogRow]) -> list[Note]:
    """Gives each log record to its span (of twins, to the one of its service). Returns those of no span here."""
    homes: dict[bytes, Node] = {}
    own: dict[tuple[bytes, str], Node] = {}
    for node in nodes:
        homes.setdefault(node.row.span_id, node)
        own.setdefault((node.row.span_id, node.row.service_name), node)
    loose: list[Note] = []
    for row in logs:
        home = None if row.span_id is None else own.get((row.span_id, row.service_name)) or homes.get(row.span_id)
        note = log_note(row, None if home is None else home.row.service_name)
        if home is None:
            loose.append(note)
        else:
            home.notes.append(replace(note, at=note.at + home.shift))
    return loose


def _gaps(nodes: list[Node], node: Node, least: float) -> Iterable[Note]:
    """Times in which the trace waited for this span and none of its children ran."""
    if not node.children or not node.path:
        return
    covered, end = node.path[0][0], node.path[-1][1]
    for child in node.children:  # by start
        upto = min(nodes[child].start, end)
        if upto - covered >= max(least, 1):
            yield Note("gap", covered, length=upto - covered)
        covered = max(covered, nodes[child].end)
        if covered >= end:
            return
    if end - covered >= max(least, 1):
        yield Note("gap", covered, length=end - covered)
