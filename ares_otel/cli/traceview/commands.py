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
    from ares_otel.cli.traceview.asked import Asked
    from ares_otel.query.instant import Instant

_MOST_ATTRIBUTES = 10
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
    raw: Annotated[
        bool, typer.Option("--raw", help="Show times as they were sent, without correction of clocks.")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours, as with the variable NO_COLOR.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the spans as an OTLP request in JSON.")] = False,
) -> None:
    """Draw one trace: its spans on a time axis, what failed, what it waited for (the critical path), and its log
    records. The exit status is 0, 1 when there is no such trace, 2 when something is wrong."""
    start, end = _instant(from_, "--from"), _instant(to, "--to")

    async def work(do: Actions) -> int:
        from ares_otel.cli.traceview.actions import NOTHING, Picture

        found = await do.named(trace_id)
        if found is None:
            return NOTHING
        if as_json:
            return await do.json(found, start, end)
        return await do.show(found, start, end, Picture(logs, raw, all_, attributes, not no_color))

    _run(data_dir, database_url, work)


def traces(
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
    service: Annotated[str | None, typer.Option(help="A span of this service, by its exact name.")] = None,
    operation: Annotated[str | None, typer.Option(help="... of this operation, by its exact name.")] = None,
    attr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="... that has this attribute, or its resource has. Also KEY!=VALUE, KEY>VALUE, KEY>=VALUE, KEY<VALUE, "
            "KEY<=VALUE, KEY=~PATTERN, and KEY for any value. May be given more than once.",
        ),
    ] = None,
    min_duration: Annotated[str | None, typer.Option(help="... that took at least so long: 200ms, 1.5s, 2m.")] = None,
    max_duration: Annotated[str | None, typer.Option(help="... that took at most so long.")] = None,
    error: Annotated[bool, typer.Option("--error", help="... that failed.")] = False,
    since: Annotated[str, typer.Option(help="Started since then: 90m, 12h, 30d ago, or a time.")] = "1h",
    from_: Annotated[
        str | None, typer.Option("--from", help="The same as --since, for use with --to.", show_default=False)
    ] = None,
    to: To = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="Traces to show, newest first.")] = 20,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours, as with the variable NO_COLOR.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line, for programs.")] = False,
) -> None:
    """List traces in which one span is like all that is asked for, newest first; `ares-otel trace ID` draws one of
    them. The exit status is 0, 1 when there is none, 2 when something is wrong."""
    from ares_otel.cli.traceview.asked import make_query

    query = make_query(
        service=service,
        operation=operation,
        attributes=[_attribute(text) for text in attr or ()],
        error=error,
        min_ns=_nanoseconds(min_duration, "--min-duration"),
        max_ns=_nanoseconds(max_duration, "--max-duration"),
        start=_instant(from_ or since, "--from" if from_ else "--since"),
        end=_instant(to, "--to"),
        limit=limit,
    )
    if query.start is not None and query.end is not None and query.end <= query.start:
        raise typer.BadParameter("--to must be later than --from (which is an hour ago, unless it is said).")
    if len(attr or ()) > _MOST_ATTRIBUTES:
        raise typer.BadParameter(f"--attr may be given {_MOST_ATTRIBUTES} times at most.")

    async def work(do: Actions) -> int:
        from ares_otel.cli.traceview.actions import Picture

        return await do.search(query, Picture(colour=not no_color), as_json=as_json)

    _run(data_dir, database_url, work)


def _attribute(text: str) -> Asked:
    from ares_otel.cli.traceview.asked import parse_attribute

    try:
        return parse_attribute(text)
    except ValueError as error:
        raise typer.BadParameter(f"--attr {error}.") from error


def _nanoseconds(text: str | None, option: str) -> int | None:
    from ares_otel.pipeline.duration import parse_duration

    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}.") from error
    assert isinstance(seconds, float)
    return round(seconds * 1e9)


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
