"""Rows of one statement, some at a time, out of a cursor of the server."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import asyncpg

SLICE_ROWS = 128
"""Rows that are fetched at once, fewer where they are large."""
SLICE_BYTES = 1024 * 1024
"""As many rows as were so many bytes lately."""
_FIRST_ROWS = 64


class RowCursor:
    """See `Reader.cursor`, which makes it."""

    def __init__(self, cursor: Any, wide: Sequence[str]) -> None:
        """
        Args:
            wide: names of the columns, two at least, that may be large.
        """
        self._cursor: asyncpg.cursor.Cursor = cursor
        self._wide = itemgetter(*wide)
        self._wanted = _FIRST_ROWS
        self.most = SLICE_ROWS
        """Rows that are fetched at once; more where none of them can be large."""
        self.size = 0
        """About how many bytes the rows have that were fetched last."""
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
            self.size = sum([len(value) for row in rows for value in self._wide(row) if value])
            self._wanted = max(1, min(self.most, 2 * self._wanted, SLICE_BYTES * len(rows) // max(1, self.size)))
        return rows
