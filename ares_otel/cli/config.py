"""`ares-otel config …`: settings of services, for a person at a terminal. Works on the database of a running Ares."""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ares_otel.cli.arguments import DatabaseUrl, DataDir

if TYPE_CHECKING:
    from ares_otel.cli.config_actions import Actions

config = typer.Typer(no_args_is_help=True, help="Settings of services: read, change, undo, watch.")


def _user() -> str:
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


Service = Annotated[str, typer.Argument(help="The service whose settings are meant; ares-api is Ares itself.")]
Key = Annotated[str, typer.Argument(help="Name of the setting.")]
By = Annotated[
    str, typer.Option("--by", default_factory=_user, show_default="$USER", help="Who you are, for the record.")
]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why, for the record.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show encrypted values in plain text. That is recorded, with --by.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@config.command()
def get(
    service: Service,
    key: Key,
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Write a setting's value to standard output; text without quotes, anything else as JSON."""
    _run(data_dir, database_url, lambda do: do.get(service, key, by if reveal else None, as_json))


@config.command(name="set")
def set_(
    service: Service,
    key: Key,
    value: Annotated[
        str,
        typer.Argument(
            help="JSON if it can be read as JSON (3, true, [1]), else text. A single - reads standard input."
        ),
    ],
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    reason: Reason = None,
    string: Annotated[
        bool, typer.Option("--string", help="The value is text, also if it could be read as JSON.")
    ] = False,
    description: Annotated[str | None, typer.Option("--description", help="What the setting does.")] = None,
    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt", show_default="as it is", help="Keep the value encrypted. Give secrets by -."
        ),
    ] = None,
    if_version: Annotated[
        int | None,
        typer.Option("--if-version", min=0, help="Only if the setting has this version; 0: only if it is new."),
    ] = None,
) -> None:
    """Set a setting. The value that it has already makes no new version."""
    _run(
        data_dir,
        database_url,
        lambda do: do.set(service, key, value, string, by, reason, description, encrypt, if_version),
    )


@config.command()
def delete(
    service: Service, key: Key, data_dir: DataDir, by: By, database_url: DatabaseUrl = None, reason: Reason = None
) -> None:
    """Delete a setting. Its history stays, and a rollback brings it back."""
    _run(data_dir, database_url, lambda do: do.delete(service, key, by, reason))


@config.command(name="list")
def list_(
    service: Service,
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show all settings of a service."""
    _run(data_dir, database_url, lambda do: do.show_all(service, by if reveal else None, as_json))


@config.command()
def history(
    service: Service,
    key: Key,
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Changes to show, newest first.")] = 20,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show who changed a setting, when, why, and from what to what."""
    _run(data_dir, database_url, lambda do: do.history(service, key, limit, by if reveal else None, as_json))


@config.command()
def diff(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="A B | SERVICE KEY VERSION [VERSION]",
            help="Two services or exported files; or two versions of a setting, the second one being the present one "
            "if it is left out.",
        ),
    ],
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what differs. The exit status is 0 if nothing does, 1 if something does, 2 if it could not be found out."""
    if not 2 <= len(what) <= 4:
        raise typer.BadParameter("Give two services or files, or a service, a key and one or two versions.")
    if len(what) > 2 and not all(text.isdecimal() for text in what[2:]):
        raise typer.BadParameter("A version is a whole number.")
    _run(data_dir, database_url, lambda do: do.diff(what), trouble=2)


@config.command()
def rollback(
    service: Service,
    key: Key,
    version: Annotated[int, typer.Argument(min=1, help="The version whose value shall be in force again.")],
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    reason: Reason = None,
) -> None:
    """Set a setting to the value it had in an earlier version, as a new version."""
    _run(data_dir, database_url, lambda do: do.rollback(service, key, version, by, reason))


@config.command()
def export(
    service: Service,
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", show_default="standard output", help="File to write.")
    ] = None,
    reveal: Reveal = False,
) -> None:
    """Write all settings of a service as one JSON document."""
    _run(data_dir, database_url, lambda do: do.export(service, output, by if reveal else None))


@config.command(name="import")
def import_(
    service: Service,
    file: Annotated[Path, typer.Argument(help="An exported document; - reads standard input.")],
    data_dir: DataDir,
    by: By,
    database_url: DatabaseUrl = None,
    reason: Reason = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also delete what is not in the document.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
) -> None:
    """Set all settings of a document, in one transaction."""
    _run(data_dir, database_url, lambda do: do.import_(service, file, by, reason, replace, dry_run))


@config.command()
def watch(service: Service, data_dir: DataDir, database_url: DatabaseUrl = None) -> None:
    """Show every change of a service's settings as it happens, until Ctrl-C."""
    _run(data_dir, database_url, lambda do: do.watch(service))


@config.command(name="rotate-key")
def rotate_key(data_dir: DataDir, database_url: DatabaseUrl = None) -> None:
    """Encrypt all encrypted values anew, current and past ones, under the key of ARES_OTEL_CONFIG_KEY or
    ARES_OTEL_CONFIG_KEY_FILE. Can be broken off and run again; docs/encryption.md has the order of the steps."""
    _run(data_dir, database_url, lambda do: do.rotate_key())


def _run(
    data_dir: Path, database_url: str | None, work: Callable[[Actions], Awaitable[int]], *, trouble: int = 1
) -> None:
    from ares_otel.cli.config_actions import acting
    from ares_otel.cli.ending import end_with_action

    end_with_action(acting(data_dir, database_url or None), work, trouble=trouble)
