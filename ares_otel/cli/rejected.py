"""`ares-otel rejected …`: what the database refused to store, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ares_otel.cli.arguments import DatabaseUrl, DataDir
from ares_otel.model.errors import StartError
from ares_otel.model.signal import SIGNALS

if TYPE_CHECKING:
    from ares_otel.cli.rejected_actions import Actions

rejected = typer.Typer(no_args_is_help=True, help="What the database refused to store: look, try again, drop.")

Ids = Annotated[list[int] | None, typer.Argument(min=1, metavar="[ID]...", help="Ids of entries, as `ls` shows them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@rejected.command()
def ls(
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
    service: Annotated[str | None, typer.Option("--service", help="Only this service, by its exact name.")] = None,
    signal: Annotated[str | None, typer.Option("--signal", help="Only traces, logs or metrics.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only what was refused since then: 90m, 12h, 30d, or a time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Entries to show, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what the database refused, newest first."""
    if signal is not None and signal not in SIGNALS:
        raise StartError(f"--signal must be one of {', '.join(SIGNALS)}.")
    _run(data_dir, database_url, lambda do: do.ls(service, signal, since, limit, as_json))


@rejected.command()
def show(
    id: Annotated[int, typer.Argument(min=1, help="Id of an entry, as `ls` shows it.")],
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
    payload: Annotated[
        Path | None,
        typer.Option(
            "--payload", show_default=False, help="File to write the payload to, an OTLP request in protobuf."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show all of one entry, its payload as OTLP JSON."""
    _run(data_dir, database_url, lambda do: do.show(id, payload, as_json))


@rejected.command()
def retry(
    data_dir: DataDir,
    ids: Ids = None,
    database_url: DatabaseUrl = None,
    all_: Annotated[bool, typer.Option("--all", help="Every entry.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store entries after all, for example after the reason was mended. What is stored leaves the list, what is refused
    again stays. The exit status is 1 if some remain."""
    if bool(ids) == all_:
        raise StartError("Say which: one id or more, or --all.")
    _run(data_dir, database_url, lambda do: do.retry(ids or None, as_json))


@rejected.command()
def drop(
    data_dir: DataDir,
    ids: Ids = None,
    database_url: DatabaseUrl = None,
    all_: Annotated[bool, typer.Option("--all", help="Every entry.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="What was refused before then: 90m, 12h, 30d, or a time.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete entries for good, after a question."""
    if [bool(ids), all_, older_than is not None].count(True) != 1:
        raise StartError("Say which: one id or more, --all, or --older-than.")
    _run(data_dir, database_url, lambda do: do.drop(ids or None, older_than, yes))


def _run(data_dir: Path, database_url: str | None, work: Callable[[Actions], Awaitable[int]]) -> None:
    from ares_otel.cli.ending import end_with_action
    from ares_otel.cli.rejected_actions import acting

    end_with_action(acting(data_dir, database_url or None), work)
