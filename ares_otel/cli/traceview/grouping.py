"""Siblings that are alike, told in one line: nobody reads five hundred queries one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ares_otel.cli.traceview.view import Node

ALIKE = 6
"""From so many siblings of one kind on, most of them are told together."""
_FIRST = 2


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
    """Siblings (by start) as they are shown: of many that are alike the first two and the longest, the others as one,
    at the place of the first of these. `everything`: each by itself."""
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
        shown = {*alike[:_FIRST], max(alike, key=lambda index: nodes[index].duration)}
        members = tuple(index for index in alike if index not in shown)
        instead[members[0]] = _together(nodes, members)
        hidden.update(members)
    items: list[int | Together] = []
    for index in siblings:
        if index in instead:
            items.append(instead[index])
        elif index not in hidden:
            items.append(index)
    return items


def _together(nodes: Sequence[Node], members: tuple[int, ...]) -> Together:
    path_ns = errors = spans = notes = 0
    waiting = list(members)
    while waiting:
        node = nodes[waiting.pop()]
        spans += 1
        path_ns += node.path_ns
        errors += node.failed
        notes += sum(note.kind != "gap" for note in node.notes)
        waiting += node.children
    durations = [nodes[index].duration for index in members]
    return Together(
        members, nodes[members[0]].start, sum(durations), max(durations), path_ns, spans - len(members), errors, notes
    )
