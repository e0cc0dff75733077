"""A trace as lines for a terminal: a tree of spans, each with a bar on one time axis, and what happened inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ares_otel.cli.traceview.bars import bar
from ares_otel.cli.traceview.grouping import Together, grouped
from ares_otel.cli.traceview.notes import Note, attribute_lines
from ares_otel.cli.traceview.text import Script, counted, duration_text
from ares_otel.cli.traceview.view import Node, View

_MARKS = 2
_TIME = 9
_LEAST = 40
_WIDE = 110
"""Columns from which on self time is shown."""
_NOTES = 8
"""Log records and events of a span that are shown; the worst of them, where there are more."""
_NAME = 20
"""Columns that a name has at the least, however deep its span is."""
_LINES = 3
"""Lines that a warning or an error may take."""
_SEVERITY = {"ERROR": 0, "WARN": 1, "INFO": 2, "": 2, "DEBUG": 3}
_OURS = ("gap", "clock")
_STYLES = {"ERROR": "bold red", "WARN": "yellow", "DEBUG": "dim"}


@dataclass(frozen=True, slots=True)
class Options:
    """How it is drawn."""

    width: int = 80
    """Columns; lines are wider only where this is less than 40."""
    script: Script = Script()  # noqa: RUF009 - frozen
    everything: bool = False
    """Every sibling and every log record, however many."""
    attributes: bool = False
    """Attributes under each span."""

    @property
    def columns(self) -> int:
        return max(_LEAST, self.width)


class Waterfall:
    """Draws one view. Its lines are never wider than asked for, but for 40 columns at the least."""

    def __init__(self, view: View, options: Options) -> None:
        self._view = view
        self._options = options
        self._script = options.script
        self._symbols = options.script.symbols
        width = options.columns
        self._width = width
        self._self = _TIME + 1 if width >= _WIDE else 0
        self._bar = max(8, min(width * 3 // 10, width - _MARKS - _TIME - _NAME - 4))
        self._name = width - _MARKS - _TIME - self._self - self._bar - 3
        self._deepest = max(1, (self._name - _NAME) // 2)

    def lines(self) -> Iterator[Text]:
        """The axis, then every span with what is under it."""
        if not self._view.nodes:
            return
        yield self._axis()
        # Depth first without recursion: a trace may be a chain of ten thousand spans.
        stack: list[Iterator[tuple[int | Together | Note, str, str]]] = [
            iter([(item, "", "") for item in grouped(self._view.nodes, self._view.roots, everything=self._everything)])
        ]
        while stack:
            item, first, below = next(stack[-1], (None, "", ""))
            if item is None:
                stack.pop()
            elif isinstance(item, Note):
                yield from self._note(item, first)
            elif isinstance(item, Together):
                yield self._together(item, first)
            else:
                node = self._view.nodes[item]
                yield self._span(node, first)
                yield from self._reasons(node, below + self._stem(node))
                stack.append(iter(self._under(node, below)))

    @property
    def _everything(self) -> bool:
        return self._options.everything

    def _under(self, node: Node, below: str) -> list[tuple[int | Together | Note, str, str]]:
        """What stands under a span, by time, with what is drawn before it and before what is under that."""
        nodes = self._view.nodes
        children = grouped(nodes, node.children, everything=self._everything)
        notes, left_out = _chosen(node.notes, len(node.notes) if self._everything else _NOTES)
        timed: list[tuple[int, int, int | Together | Note]] = [(note.at, 0, note) for note in notes]
        timed += [(nodes[one].start if isinstance(one, int) else one.start, 1, one) for one in children]
        timed.sort(key=lambda entry: entry[:2])
        if left_out:
            timed.append((0, 0, Note("event", -1, f"{left_out} more of log records, events and links (--all)")))
        last = max((place for place, entry in enumerate(timed) if not isinstance(entry[2], Note)), default=-1)
        symbols = self._symbols
        deep = node.depth >= self._deepest
        found: list[tuple[int | Together | Note, str, str]] = []
        for place, (_, _, item) in enumerate(timed):
            stem = below + ("  " if place > last or deep else symbols.through)
            if isinstance(item, Note):
                found.append((item, stem, stem))
            elif deep:
                found.append((item, below, below))
            elif place == last:
                found.append((item, below + symbols.last, below + "  "))
            else:
                found.append((item, below + symbols.branch, below + symbols.through))
        return found

    def _stem(self, node: Node) -> str:
        return self._symbols.through if node.children and node.depth < self._deepest else "  "

    def _axis(self) -> Text:
        total = self._view.end - self._view.start
        middle = duration_text(total // 2) if self._bar >= 24 else ""
        end = duration_text(total)
        axis = "0"
        if middle:
            axis = axis.ljust(self._bar // 2 - len(middle) // 2) + middle
        axis = axis.ljust(self._bar - len(end)) + end
        head = f"{'':{_MARKS}}{'service operation':{self._name}} {'time':>{_TIME}} "
        if self._self:
            head += f"{'self':>{_TIME}} "
        return Text(f"{head} {axis}", style="dim")

    def _span(self, node: Node, first: str) -> Text:
        row = node.row
        line = self._marks(node.failed, bool(node.path))
        deeper = node.depth - self._deepest
        if deeper > 0:
            first += f"+{deeper:,} "
        room = self._name - cell_len(first)
        service = self._script.cut(self._script.shown(row.service_name), max(room // 2, room - 1 - 60))
        operation = self._script.cut(self._script.shown(row.operation_name), max(1, room - 1 - cell_len(service)))
        line.append(first, "dim")
        line.append(service, "cyan")
        line.append(f" {operation}", "bold red" if node.failed else "bold" if node.path else "")
        line.append(" " * max(0, room - cell_len(service) - 1 - cell_len(operation)))
        line.append(f" {duration_text(node.duration):>{_TIME}} ")
        if self._self:
            line.append(f"{duration_text(node.self_ns):>{_TIME}} ", "dim")
        line.append(" ")
        axis = (self._view.start, self._view.end)
        line.append(bar(node.start, node.end, node.path, axis, self._bar, self._symbols, failed=node.failed))
        return line

    def _together(self, group: Together, first: str) -> Text:
        nodes = self._view.nodes
        row = nodes[group.members[0]].row
        line = self._marks(bool(group.errors), group.path_ns > 0)
        line.append(first, "dim")
        spans = f" ({counted(group.below, 'span')} below)" if group.below else ""
        facts = [
            f"{self._symbols.more} {len(group.members):,} more {self._script.shown(row.operation_name, 60)}{spans}",
            f"{duration_text(group.duration)} together",
        ]
        if group.path_ns:
            facts.append(f"{duration_text(group.path_ns)} of the path")
        if group.errors and row.status != "error":
            facts.append(counted(group.errors, "error"))
        facts.append(f"longest {duration_text(group.longest)}")
        if group.notes:
            facts.append(f"{group.notes:,} log records, events and links")
        text = ", ".join(facts)
        line.append(
            self._script.cut(text, self._width - _MARKS - cell_len(first)), "italic red" if group.errors else "italic"
        )
        return line

    def _reasons(self, node: Node, stem: str) -> Iterator[Text]:
        if node.failed and node.row.status_message:
            yield from self._wrapped(stem, "error: ", node.row.status_message, "red", _LINES)
        if self._options.attributes:
            for text in attribute_lines(node.row.attributes):
                yield from self._wrapped(stem, "", text, "dim", 1)

    def _note(self, note: Note, stem: str) -> Iterator[Text]:
        symbols = self._symbols
        if note.kind in ("gap", "clock"):
            text = f"{duration_text(note.length)} without a child span"
            if note.kind == "clock":
                text = (
                    f"shown {duration_text(abs(note.length))} {'later' if note.length > 0 else 'earlier'}: clock skew"
                )
            yield from self._wrapped(stem, "", f"{symbols.gap} {text}", "dim", 1, own=True)
            return
        if note.at < 0:
            yield from self._wrapped(stem, f"{symbols.more} ", note.text, "dim", 1)
            return
        when = "" if note.kind == "link" else f"{_offset(note.at - self._view.start):>10} "
        mark = {"log": f"{note.level:5} ", "event": f"{symbols.event} ", "link": f"{symbols.link} "}[note.kind]
        lines = _LINES if note.level in ("ERROR", "WARN") or self._everything else 1
        yield from self._wrapped(stem, when + mark, note.text, _STYLES.get(note.level, ""), lines)

    def loose(self) -> Iterator[Text]:
        """Log records of no span that is here."""
        notes, left_out = _chosen(self._view.loose, len(self._view.loose) if self._everything else 3 * _NOTES)
        for note in notes:
            yield from self._note(note, "")
        if left_out:
            yield Text(f"  {self._symbols.more} {left_out} more (--all)", style="dim")

    def _wrapped(self, stem: str, head: str, text: str, style: str, most: int, *, own: bool = False) -> Iterator[Text]:
        """A text of a sender (`own`: of ours) behind `head`, on as many lines as it needs, `most` at most."""
        room = max(10, self._width - _MARKS - cell_len(stem) - cell_len(head))
        rest = text if own else self._script.shown(text, room * most + 1)
        for number in range(most):
            part = self._script.cut(rest, room) if number == most - 1 else _taken(rest, room)
            line = Text(" " * _MARKS)
            line.append(stem, "dim")
            line.append((head if number == 0 else " " * cell_len(head)) + part, style)
            yield line
            rest = rest[len(part) :].lstrip()
            if not rest:
                return

    def _marks(self, failed: bool, on_path: bool) -> Text:
        line = Text()
        line.append("!" if failed else " ", "bold red")
        line.append(self._symbols.mark if on_path else " ", "bold yellow")
        return line


def _chosen(notes: Sequence[Note], most: int) -> tuple[list[Note], int]:
    """The worst of many, by time, and how many are left out. What is said by us is always kept."""
    said = [note for note in notes if note.kind not in _OURS]
    if len(said) <= most:
        return list(notes), 0
    worst = sorted(range(len(said)), key=lambda place: (_SEVERITY.get(said[place].level, 2), place))[:most]
    gaps = [note for note in notes if note.kind in _OURS]
    kept = [said[place] for place in worst]
    return sorted([*kept, *gaps], key=lambda note: note.at), len(said) - most


def _taken(text: str, cells: int) -> str:
    """As much of the text as fits into so many columns, up to a space where there is one in its second half."""
    taken = 0
    for place, character in enumerate(text):
        taken += cell_len(character)
        if taken > cells:
            space = text.rfind(" ", place // 2, place + 1)
            return text[:place] if space <= 0 else text[: space + 1]
    return text


def _offset(ns: int) -> str:
    return duration_text(ns) if ns < 0 else f"+{duration_text(ns)}"
