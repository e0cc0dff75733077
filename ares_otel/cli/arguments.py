"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ares_otel.storage.data_dir import default_data_dir

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="ARES_OTEL_DATA_DIR",
        default_factory=default_data_dir,
        show_default="~/.local/share/ares-otel, as root /var/lib/ares-otel",
        help="Where the embedded PostgreSQL keeps its data.",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="ARES_OTEL_DATABASE_URL",
        show_default="the embedded server",
        help="A PostgreSQL 15 or newer to use instead of the embedded one: postgresql://user:password@host:port/database",
    ),
]
SpoolDir = Annotated[
    Path | None,
    typer.Option(
        envvar="ARES_OTEL_SPOOL_DIR",
        show_default="DATA_DIR/spool",
        help="Where requests wait on disk, acknowledged, while the database cannot take them; one process each.",
    ),
]
