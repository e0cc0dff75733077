"""`ares-otel partitions …`: what is stored by day, and what becomes of it. Works on the database of a running Ares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ares_otel.cli.arguments import DatabaseUrl, DataDir
from ares_otel.model.errors import StartError

if TYPE_CHECKING:
    from ares_otel.cli.partition_actions import PartitionActions

partitions = typer.Typer(no_args_is_help=True, help="Partitions by day: list, archive, seal, drop.")

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Names = Annotated[list[str] | None, typer.Argument(help="Names of partitions, as `ls` shows them.", show_default=False)]
OlderThan = Annotated[
    float | None,
    typer.Option("--older-than", min=0, help="All closed partitions that ended so many days ago.", show_default=False),
]


@partitions.command()
def ls(data_dir: DataDir, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show all partitions with state, size and age, and what is next."""
    _run(data_dir, database_url, lambda do: do.list(as_json))


@partitions.command()
def export(
    data_dir: DataDir,
    to: Annotated[Path, typer.Option("--to", help="Directory for the files.", show_default=False)],
    names: Names = None,
    database_url: DatabaseUrl = None,
    older_than: OlderThan = None,
    as_json: AsJson = False,
) -> None:
    """Write partitions to Parquet files, verified, one a partition. Nothing is dropped. Needs `ares-otel[parquet]`."""
    _check_choice(names, older_than)
    _run(data_dir, database_url, lambda do: do.export(names or [], older_than, to, as_json))


@partitions.command()
def seal(data_dir: DataDir, names: Names = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Build the search indexes of closed partitions now: of those that are named, or of all that are due."""
    _run(data_dir, database_url, lambda do: do.seal(names or [], as_json))


@partitions.command()
def drop(
    data_dir: DataDir,
    names: Names = None,
    database_url: DatabaseUrl = None,
    older_than: OlderThan = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop closed partitions with all their rows. When retention.archive_directory is set, they are archived there
    before."""
    _check_choice(names, older_than)
    _run(data_dir, database_url, lambda do: do.drop(names or [], older_than, yes, as_json))


@partitions.command(name="run")
def run_now(data_dir: DataDir, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Make, drop and prune what is due now, as a running Ares does every minute."""
    _run(data_dir, database_url, lambda do: do.run(as_json))


def _check_choice(names: list[str] | None, older_than: float | None) -> None:
    if bool(names) == (older_than is not None):
        raise StartError("Name partitions, or give --older-than DAYS; not both.")


def _run(data_dir: Path, database_url: str | None, work: Callable[[PartitionActions], Awaitable[int]]) -> None:
    from ares_otel.cli.ending import end_with_action
    from ares_otel.cli.partition_actions import acting

    end_with_action(acting(data_dir, database_url or None), work)
