"""The whole answer to `ares-otel trace`: head, waterfall, and what a person should know before believing it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from ares_otel.cli.traceview.text import counted, duration_text, time_text
from ares_otel.cli.traceview.view import Node, View
from ares_otel.cli.traceview.waterfall import Options, Waterfall
from ares_otel.query.traces import Trace

_NAMED = 5
"""Services in the head, and spans in the account of the path."""


def report(trace: Trace, view: View, options: Options) -> Iterator[Text]:
    """The lines. `view`: of the trace."""
    for line in _lines(trace, view, options):
        line.truncate(options.columns)
        yield line


def _lines(trace: Trace, view: View, options: Options) -> Iterator[Text]:
    waterfall = Waterfall(view, options)
    yield from _head(view, options)
    yield Text()
    yield from waterfall.lines()
    loose = list(waterfall.loose())
    if loose:
        if view.nodes:
            yield Text()
        yield Text("Log records of no span that is here:", style="dim")
        yield from loose
    if view.nodes:
        yield Text()
        yield from _path_account(view, options)
        symbols = options.script.symbols
        yield Text(f"{symbols.on_path} on the critical path  {symbols.off_path} other time  ! error", style="dim")
    for sentence in _reservations(trace, view):
        yield from _folded(f"Note: {sentence}", options, "yellow")


def _head(view: View, options: Options) -> Iterator[Text]:
    script = options.script
    dot = script.symbols.dot
    yield Text(f"trace {view.trace_id.hex}", style="bold")
    if view.main is not None:
        row = view.nodes[view.main].row
        yield Text(script.cut(f"{script.shown(row.service_name)} {script.shown(row.operation_name)}", options.columns))
    services = [script.shown(name, 40) for name in view.services[:_NAMED]]
    if len(view.services) > _NAMED:
        services.append(f"{len(view.services) - _NAMED} more")
    line = Text(
        dot.join([time_text(view.start), duration_text(view.end - view.start), counted(len(view.nodes), "span")])
    )
    line.append(dot)
    line.append(counted(view.errors, "error") if view.errors else "no errors", "bold red" if view.errors else "")
    yield line
    yield from _folded(f"{counted(len(view.services), 'service')}: {', '.join(services)}", options, "")


def _path_account(view: View, options: Options) -> Iterator[Text]:
    """Who has how much of the critical path, the largest parts first; spans of one operation together."""
    if view.main is None or not (total := view.nodes[view.main].duration):
        return
    parts: dict[tuple[str, str], list[Node]] = {}
    for node in view.nodes:
        if node.path:
            parts.setdefault((node.row.service_name, node.row.operation_name), []).append(node)
    sums = sorted(
        ((sum(one.path_ns for one in nodes), name, len(nodes)) for name, nodes in parts.items()), reverse=True
    )
    yield Text(f"Critical path, {duration_text(total)}:")
    script = options.script
    for time, (service, operation), count in sums[:_NAMED]:
        times = f" ({count:,} spans)" if count > 1 else ""
        name = script.cut(f"{script.shown(service)} {script.shown(operation)}", options.columns - 18 - len(times))
        yield Text(f"  {100 * time / total:3.0f} %  {duration_text(time):>9}  {name}{times}")
    if len(sums) > _NAMED:
        rest = sum(time for time, _, _ in sums[_NAMED:])
        yield Text(f"  {100 * rest / total:3.0f} %  {duration_text(rest):>9}  {len(sums) - _NAMED} more", style="dim")


def _reservations(trace: Trace, view: View) -> Iterator[str]:
    if trace.truncated:
        yield (
            f"the trace is larger than one picture may be: these are its first {len(view.nodes):,} spans and "
            f"{len(trace.logs):,} log records. --json writes all of its spans."
        )
    if trace.searched_from is not None:
        yield f"nothing before {trace.searched_from:%Y-%m-%d %H:%M:%SZ} was looked at; --from looks further back."
    if view.late:
        yield (
            f"work went on for {duration_text(view.late)} after the root had ended; the critical path ends with "
            "the root."
        )
    if view.moved:
        moved = f"{counted(view.moved, 'span')} {'was' if view.moved == 1 else 'were'} moved"
        yield f"{moved}, for clocks of several machines cannot all be right; --raw moves none."
    yield from view.warnings


def _folded(text: str, options: Options, style: str) -> Iterator[Text]:
    """A text of ours over as many lines as it needs."""
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > options.columns:
            yield Text(line, style=style)
            line = "  " + word
        else:
            line = f"{line} {word}" if line else word
    yield Text(line, style=style)
