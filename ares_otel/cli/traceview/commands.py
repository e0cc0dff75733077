"""`ares-otel trace` and `ares-otel traces`: for the person on call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ares_otel.cli.arguments import DatabaseUrl, DataDir
from ares_otel.cli.moments import moment
from ares_otel.model.errors import StartError

if TYPE_CHECKING:
    from ares_otel.cli.traceview.actions import Actions
    from ares_otel.query.instant import Instant

From = Annotated[
    str | None,
    typer.Option("--from", help="Only what started since then: 90m, 12h, 30d ago, or a time.", show_default=False),
]
To = Annotated[str | None, typer.Option("--to", help="Only what started before then.", show_default=False)]


def trace(
    trace_id: Annotated[
        str, typer.Argument(metavar="ID", help="The trace's id in hex, or its first 8 digits or more.")
    ],
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
    from_: From = None,
    to: To = None,
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="Show log records under their spans.")] = True,
    attributes: Annotated[bool, typer.Option("--attributes", "-a", help="Show the attributes of each span.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Show every span and every log record, also of many that are alike.")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours, as with the variable NO_COLOR.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the spans as an OTLP request in JSON.")] = False,
) -> None:
    """Draw one trace: its spans on a time axis, what failed, what it waited for (the critical path), and its log
    records. The exit status is 0, 1 when there is no such trace, 2 when something is wrong."""
    start, end = _instant(from_, "--from"), _instant(to, "--to")

    async def work(do: Actions) -> int:
        from ares_otel.cli.traceview.actions import Picture
        from ares_otel.query.traces import parse_trace_id

        found = parse_trace_id(trace_id)
        if as_json:
            return await do.json(found, start, end)
        return await do.show(found, start, end, Picture(logs, all_, attributes, not no_color))

    _run(data_dir, database_url, work)


def _instant(text: str | None, option: str) -> Instant | None:
    from ares_otel.query.instant import Instant

    if text is None:
        return None
    try:
        return Instant(moment(text, option))
    except StartError as error:
        raise typer.BadParameter(error.message) from error


def _run(data_dir: Path, database_url: str | None, work: Callable[[Actions], Awaitable[int]]) -> None:
    from ares_otel.cli.ending import end_with_action
    from ares_otel.cli.traceview.actions import TROUBLE, acting

    end_with_action(acting(data_dir, database_url or None), work, trouble=TROUBLE)
