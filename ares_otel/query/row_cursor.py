"""Rows of one statement, some at a time, out of a cursor of the server."""

from __future__ import annotations

from typing import Any

import asyncpg

SLICE_ROWS = 128
"""Rows that are fetched at once, fewer where they are large."""
SLICE_BYTES = 1024 * 1024
"""As many rows as were so many bytes lately."""
_FIRST_ROWS = 64


class RowCursor:
    """See `Reader.cursor`, which makes it."""

    def __init__(self, cursor: Any) -> None:
        self._cursor: asyncpg.cursor.Cursor = cursor
        self._wanted = _FIRST_ROWS
        self.done = False
        """Whether all rows were given."""

    async def fetch(self) -> list[Any]:
        """The next rows, as asyncpg records; none after the last. Rows are only remembered by who took them.

        Raises what asyncpg raises; `Reader.cursor` translates it.
        """
        if self.done:
            return []
        rows: list[Any] = await self._cursor.fetch(self._wanted)
        self.done = len(rows) < self._wanted
        if rows:
            size = max(1, sum(map(row_bytes, rows)) // len(rows))
            self._wanted = max(1, min(SLICE_ROWS, 2 * self._wanted, SLICE_BYTES // size))
        return rows


def row_bytes(row: Any) -> int:
    """About how many bytes a row has in memory: its texts and bytes, and eight for each other value."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
