"""`ares-otel spool …`: looks into the spool, checks it, takes requests out of it, stores them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ares_otel.cli.arguments import DatabaseUrl, DataDir, SpoolDir

spool = typer.Typer(no_args_is_help=True, help="Requests that wait on disk for the database: list, check, take, store.")

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


class SignalName(str, Enum):  # noqa: UP042 - typer shows the values of such an enum
    """The signals, as options name them."""

    traces = "traces"
    logs = "logs"
    metrics = "metrics"


class Format(str, Enum):  # noqa: UP042
    """How `export` writes."""

    json = "json"
    protobuf = "protobuf"


@spool.command()
def ls(data_dir: DataDir, spool_dir: SpoolDir = None, as_json: AsJson = False) -> None:
    """List the segments and what is in them, those in the quarantine too. Also while Ares runs; then requests that are
    stored already are still counted in a segment of which others wait."""
    from ares_otel.cli.spool_actions import list_segments

    _run(lambda: list_segments(_place(data_dir, spool_dir), as_json))


@spool.command()
def verify(data_dir: DataDir, spool_dir: SpoolDir = None, as_json: AsJson = False) -> None:
    """Read everything and compare all checksums; change nothing. The exit status is 1 with a line for each problem.
    Also while Ares runs."""
    from ares_otel.cli.spool_actions import verify_segments

    _run(lambda: verify_segments(_place(data_dir, spool_dir), as_json))


@spool.command()
def export(
    file: Annotated[str, typer.Argument(help="File to write, which must not exist; - is standard output.")],
    signal: Annotated[SignalName, typer.Option("--signal", help="Whose requests.")],
    data_dir: DataDir,
    spool_dir: SpoolDir = None,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="json: a line of OTLP JSON for each request. protobuf: each request after its length as a varint.",
        ),
    ] = Format.json,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="From the files in the quarantine instead of the waiting ones.")
    ] = False,
) -> None:
    """Write the requests of a signal as OTLP, oldest first. They stay in the spool."""
    from ares_otel.cli.spool_actions import export_requests

    _run(
        lambda: export_requests(
            _place(data_dir, spool_dir), file, signal.value, protobuf=format_ is Format.protobuf, quarantine=quarantine
        )
    )


@spool.command()
def replay(
    data_dir: DataDir, database_url: DatabaseUrl = None, spool_dir: SpoolDir = None, as_json: AsJson = False
) -> None:
    """Store all that waits, each request exactly once, and end. Not while Ares runs: then it does so by itself."""
    from ares_otel.cli import spool_replay

    _run(lambda: spool_replay.replay(data_dir, database_url or None, _place(data_dir, spool_dir), as_json))


def _place(data_dir: Path, spool_dir: Path | None) -> Path:
    return spool_dir or data_dir / "spool"


def _run(work: Callable[[], int]) -> None:
    from ares_otel.cli.ending import end_with

    end_with(work)
