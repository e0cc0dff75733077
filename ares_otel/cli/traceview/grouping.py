"""Siblings that are alike, told in one line: nobody reads five hundred queries one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ares_otel.cli.traceview.view import Node

ALIKE = 6
"""From so many siblings of one kind on, most of them are told together."""
_FIRST = 2
_WORSE = ("WARN", "ERROR")
_ALARMING = 3
"""Of those that hold a failed span or a warning, so many are shown too."""


@dataclass(frozen=True, slots=True)
class Together:
    """Siblings of one service, operation and outcome that are not shown, with everything below them."""

    members: tuple[int, ...]
    start: int
    """Of the first."""
    duration: int
    """Sum over the members, nanoseconds."""
    longest: int
    path_ns: int
    """Their part of the critical path, with what is below them."""
    below: int
    """Spans below them."""
    errors: int
    """Failed spans among them and below."""
    notes: int
    """Log records, events and links among them and below."""


def grouped(nodes: Sequence[Node], siblings: Sequence[int], *, everything: bool = False) -> list[int | Together]:
    """Siblings (by start) as they are shown: of many that are alike the first two, the longest, and the first that
    hold something alarming; the others as one, at the place of the first of these. `everything`: each by itself."""
    if everything or len(siblings) < ALIKE:
        return list(siblings)
    kinds: dict[tuple[str, str, str], list[int]] = {}
    for index in siblings:
        row = nodes[index].row
        kinds.setdefault((row.service_name, row.operation_name, row.status), []).append(index)
    instead: dict[int, Together] = {}
    hidden: set[int] = set()
    for alike in kinds.values():
        if len(alike) < ALIKE:
            continue
        alarming = [index for index in alike if _is_alarming(nodes, index)]
        shown = {*alike[:_FIRST], *alarming[:_ALARMING], max(alike, key=lambda index: nodes[index].duration)}
        members = tuple(index for index in alike if index not in shown)
        if len(members) < 2:
            continue
        instead[members[0]] = _together(nodes, members)
        hidden.update(members)
    items: list[int | Together] = []
    for index in siblings:
        if index in instead:
            items.append(instead[index])
        elif index not in hidden:
            items.append(index)
    return items


def _is_alarming(nodes: Sequence[Node], index: int) -> bool:
    """Whether something failed below a span, or a log record in or below it is a warning or an error."""
    waiting = [index]
    while waiting:
        place = waiting.pop()
        node = nodes[place]
        if (node.failed and place != index) or any(note.kind == "log" and note.level in _WORSE for note in node.notes):
            return True
        waiting += node.children
    return False


def _together(nodes: Sequence[Node], members: tuple[int, ...]) -> Together:
    path_ns = errors = spans = notes = 0
    waiting = list(members)
    while waiting:
        node = nodes[waiting.pop()]
        spans += 1
        path_ns += node.path_ns
        errors += node.failed
        notes += sum(note.kind in ("log", "event", "link") for note in node.notes)
        waiting += node.children
    durations = [nodes[index].duration for index in members]
    return Together(
        members, nodes[members[0]].start, sum(durations), max(durations), path_ns, spans - len(members), errors, notes
    )
