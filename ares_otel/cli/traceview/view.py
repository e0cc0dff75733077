"""A trace as its picture needs it: a tree of spans, each with its part of the critical path and what is said there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

import orjson

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
    self_ns: int
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
    def late(self) -> int:
        """How long the trace went on after its main root had ended."""
        return 0 if self.main is None else max(0, self.end - self.nodes[self.main].end)


def view_of(trace: Trace, *, logs: bool = True) -> View:
    """The picture's content. `logs`: whether log records are in it; events and links always are."""
    nodes: list[Node] = []
    above: list[int] = []
    for index, placed in enumerate(trace.spans):
        del above[placed.depth :]
        start = start_unix_nano(placed.row)
        node = Node(
            placed.row,
            above[-1] if above else None,
            placed.depth,
            start,
            start + placed.row.duration_ns,
            round(placed.self_time_ms * 1e6),
        )
        if node.parent is not None:
            nodes[node.parent].children.append(index)
        nodes.append(node)
        above.append(index)
    main = _main_root(nodes)
    if main is not None:
        _lay_path(nodes, main)
    for node in nodes:
        node.notes += _own_notes(node.row)
    loose = _lay_logs(nodes, trace.logs) if logs else []
    start = min((node.start for node in nodes), default=min((note.at for note in loose), default=0))
    end = max((node.end for node in nodes), default=max((note.at for note in loose), default=start))
    for node in nodes:
        node.notes += _gaps(nodes, node, (end - start) * _GAP_SHARE)
        node.notes.sort(key=lambda note: note.at)
    return View(trace.trace_id, nodes, main, start, end, trace.services, loose, trace.warnings)


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


def _own_notes(row: SpanRow) -> Iterable[Note]:
    """What the span itself says: its links and events."""
    for link in orjson.loads(row.links):
        yield link_note(link, row)
    for event in orjson.loads(row.events):
        yield event_note(event, row.status_message)


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
        (loose if home is None else home.notes).append(note)
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
