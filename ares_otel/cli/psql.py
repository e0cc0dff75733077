"""`ares-otel psql`: SQL on a running Ares, with nothing else installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ares_otel.storage.embedded_client import psql_program, running_url


def run_psql(data_dir: Path, database_url: str | None, arguments: Sequence[str]) -> None:
    """Becomes psql. Raises StartError when there is no server to talk to."""
    url = database_url or running_url(data_dir)
    program = str(psql_program())
    os.execv(program, [program, url, *arguments])
