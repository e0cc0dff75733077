"""Which rows of `ingest_rejected` somebody means, how much they hold, and their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

_WHERE = """
FROM ingest_rejected
WHERE ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::timestamptz IS NULL OR rejected_at < $2)
  AND ($3::bigint IS NULL OR id <= $3)
"""
_COUNT = f"SELECT count(*) AS rows, coalesce(sum(items), 0)::bigint AS items, max(id) AS last {_WHERE}"
_PAGE = f"SELECT id {_WHERE} AND id > $4 ORDER BY id LIMIT $5"
_DROP = f"""
WITH gone AS (DELETE {_WHERE} RETURNING id, items)
SELECT count(*) AS rows, coalesce(sum(items), 0)::bigint AS items, max(id) AS last FROM gone
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows for which everything that is given holds; nothing given means all."""

    ids: Sequence[int] | None = None
    before: datetime | None = None
    """Refused before this time."""
    last: int | None = None
    """No row with a greater id: what is refused after the question was asked is not meant."""


class Amount(NamedTuple):
    """How much that is."""

    rows: int
    items: int
    last: int | None
    """The greatest id, None without rows."""


async def count_rows(connection: asyncpg.Connection, selection: Selection) -> Amount:
    """How much there is of a selection. Raises asyncpg.PostgresError."""
    row = await connection.fetchrow(_COUNT, selection.ids, selection.before, selection.last)
    return Amount(row["rows"], row["items"], row["last"])


async def next_ids(connection: asyncpg.Connection, selection: Selection, after: int, limit: int) -> list[int]:
    """The first ids of a selection behind `after`, at most `limit`. Raises asyncpg.PostgresError."""
    rows = await connection.fetch(_PAGE, selection.ids, selection.before, selection.last, after, limit)
    return [row["id"] for row in rows]


async def drop_rows(connection: asyncpg.Connection, selection: Selection) -> Amount:
    """Deletes a selection for good and says how much that was. Raises asyncpg.PostgresError."""
    row = await connection.fetchrow(_DROP, selection.ids, selection.before, selection.last)
    return Amount(row["rows"], row["items"], row["last"])
