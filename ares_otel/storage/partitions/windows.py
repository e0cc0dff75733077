"""Windows: the time range of each table into which rows can be filed."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.storage.partitions.catalog import list_partitions, read_floors, to_ns
from ares_otel.storage.rows.encoded import PARTITIONED, Window, Windows


async def read_windows(connection: asyncpg.Connection, clock: Clock = SYSTEM_CLOCK) -> Windows:
    """For each table the unbroken range of partitions around now, above what leaves. A table without a partition for
    now has an empty window; its rows cannot be stored until `ensure_partitions` ran."""
    now = clock.time_ns()
    windows = {}
    partitions = await list_partitions(connection)
    floors = {table: to_ns(floor) for table, floor in (await read_floors(connection)).items()}
    for table in PARTITIONED:
        ranges = [(to_ns(p.start), to_ns(p.end)) for p in partitions if p.table == table]
        start = end = now
        for low, high in ranges:
            if low <= now < high:
                start, end = low, high
        for low, high in ranges:  # sorted by time: grow upwards …
            if low == end:
                end = high
        for low, high in reversed(ranges):  # … and downwards
            if high == start:
                start = low
        windows[table] = Window(start, end)
    return narrowed(windows, floors, now)


def narrowed(windows: Windows, floors: Mapping[str, int], now_ns: int) -> Windows:
    """The windows without what lies below a floor (table → nanoseconds since 1970). A floor after now says that the
    clock went back; it does not count, because now must have a place."""
    return {
        table: Window(max(window.start_ns, floor), window.end_ns)
        if window.start_ns < (floor := floors.get(table, window.start_ns)) <= min(now_ns, window.end_ns)
        else window
        for table, window in windows.items()
    }
