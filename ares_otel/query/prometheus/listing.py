"""Which series, labels and metrics there are, as Prometheus's API lists them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from ares_otel.model.prometheus.selector import Selector, parse_selector
from ares_otel.query.prometheus.index import entries
from ares_otel.query.prometheus.indexing import catch_up
from ares_otel.query.prometheus.pieces import Labels
from ares_otel.query.prometheus.select import select
from ares_otel.query.prometheus.translation import RESERVED
from ares_otel.query.reader import reading
from ares_otel.query.statements import load_statements

MAX_SERIES = 100_000
"""Series that are looked at for a list."""
MAX_HELP = 1000
"""Characters of a description."""
_SQL = load_statements("prometheus_select.sql")
_OF_POINTS = tuple(RESERVED.values())


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a sender says of a metric."""

    type: str
    unit: str
    help: str


async def label_names(pool: asyncpg.Pool, selectors: Sequence[Selector], *, limit: int) -> list[str]:
    """The names of labels, sorted, `limit` at most: of the series that fit any selector, or of all that are stored.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    async with reading(pool, heavy=True) as reader:
        await catch_up(reader)
        if not selectors:
            return [row["name"] for row in await reader.fetch(_SQL["label_names"], limit=limit)]
        names: set[str] = set()
        async for page in entries(reader, selectors):
            for entry in page:
                names.update(entry.labels)
                if entry.part in RESERVED:
                    names.add(RESERVED[entry.part])
        return sorted(names)[:limit]


async def label_values(
    pool: asyncpg.Pool, name: str, selectors: Sequence[Selector], start_ms: int, end_ms: int, *, limit: int
) -> list[str]:
    """The values of a label, sorted, `limit` at most: of the series that fit any selector, or of all that are stored.

    Args:
        start_ms, end_ms: of `le` and `quantile` those that have a sample then; the values of other labels are those
            that are stored.

    Raises:
        TooManySeries: more than `MAX_SERIES`, of `le` and `quantile`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    values: set[str] = set()
    if name in _OF_POINTS:
        for labels in await series(
            pool, selectors or [parse_selector(f'{{{name}!=""}}')], start_ms, end_ms, limit=MAX_SERIES
        ):
            values.update(value for key, value in labels if key == name)
        return sorted(values)[:limit]
    async with reading(pool, heavy=True) as reader:
        await catch_up(reader)
        if not selectors:
            return [row["value"] for row in await reader.fetch(_SQL["label_values"], name=name, limit=limit)]
        async for page in entries(reader, selectors):
            values.update(entry.labels[name] for entry in page if name in entry.labels)
        return sorted(values)[:limit]


async def series(
    pool: asyncpg.Pool, selectors: Sequence[Selector], start_ms: int, end_ms: int, *, limit: int
) -> list[Labels]:
    """The labels of series that fit any selector and have a sample in the range, sorted, `limit` at most.

    Raises:
        TooManySeries: more than `MAX_SERIES`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    found = await select(
        pool, selectors, start_ms, end_ms, max_series=MAX_SERIES, max_samples=2 * MAX_SERIES, newest_only=True
    )
    return list(found.labels[:limit])


async def metadata(
    pool: asyncpg.Pool, *, metric: str | None = None, limit: int, limit_per_metric: int
) -> Mapping[str, Sequence[Metadata]]:
    """Type, unit and description by the name of the metric, without `_bucket`, `_sum` and `_count`. Senders that say
    different things make several of them.

    Args:
        metric: None for all.
        limit: metrics, at most.
        limit_per_metric: of one, at most.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    async with reading(pool, heavy=True) as reader:
        await catch_up(reader)
        rows = await reader.fetch(_SQL["metadata"], name=metric, description=MAX_HELP, limit=MAX_SERIES)
    found: dict[str, list[Metadata]] = defaultdict(list)
    for row in rows:
        if (row["name"] in found or len(found) < limit) and len(found[row["name"]]) < limit_per_metric:
            found[row["name"]].append(Metadata(row["kind"], row["unit"], row["help"]))
    return found
