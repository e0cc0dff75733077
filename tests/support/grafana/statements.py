"""The SQL of the dashboards: `sql/NAME.sql`, each statement after a line `-- name: PANEL`."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@lru_cache
def statements(name: str) -> dict[str, str]:
    """The statements of `sql/NAME.sql` by their names. Raises OSError when there is no such file."""
    parts = re.split(r"^-- name: (\w+)\n", (_FOLDER / f"{name}.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {found: text.strip() for found, text in zip(parts[1::2], parts[2::2], strict=True)}
