"""Samples in any order, packed at any moment: what readers find is what a model has."""

from __future__ import annotations

import asyncio
import struct
from datetime import timedelta
from uuid import UUID

import asyncpg
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ares_otel.model.prometheus.native_histogram import STALE_NAN_BITS
from ares_otel.query.prometheus.columns import NumberColumns, newest_columns, number_columns
from ares_otel.query.reader import Reader
from ares_otel.storage.partitions import packing
from tests.support.packed import ITS_PARTITION, YESTERDAY, YESTERDAY_MS, put

SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 1),  # series
        st.sampled_from([-2_000_000, -1, 0, 1, 999, 1000, 1001, 3600_000, 70_000_000]),  # microseconds around noon
        st.integers(0, 2),  # nanoseconds
        st.one_of(
            st.none(), st.integers(-5, 5).map(float), st.floats(), st.integers(-(2**63), 2**63 - 1), st.just(0.125)
        ),
        st.booleans(),  # whether the partition is sealed after it
    ),
    max_size=24,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=SAMPLES)
def test_whatever_comes_in_whatever_order_is_read_as_a_model_has_it(
    module_database_url: str, samples: list[tuple[int, int, int, float | int | None, bool]]
) -> None:
    asyncio.run(_compare(module_database_url, samples))


async def _compare(url: str, samples: list[tuple[int, int, int, float | int | None, bool]]) -> None:
    sql = await asyncpg.connect(url)
    partition = ITS_PARTITION
    await sql.execute("DELETE FROM metric_samples; DELETE FROM metric_packs")
    all_series = [UUID(int=n + 1) for n in range(2)]
    model: dict[tuple[int, int, int], float | int | None] = {}
    for series, us, ns, value, sealed in samples:
        at = YESTERDAY + timedelta(microseconds=us)
        whole = value if isinstance(value, int) else None
        number = None if value is None else float(value)
        await put(
            sql,
            all_series[series],
            at,
            number,
            value_int=whole,
            timestamp_ns=ns,
            flags=None if value is not None else 1,
        )
        model.setdefault((series, us, ns), value)
        if sealed:
            await packing.pack(sql, partition, timeout=60)
    expected: list[dict[int, float | None]] = [{} for _ in all_series]
    for series, us, _ in sorted(model):
        value = model[series, us, _]
        expected[series].setdefault(us // 1000, None if value is None else float(value))
    found = await number_columns(Reader(sql), all_series, YESTERDAY_MS - 3000, YESTERDAY_MS + 90_000, max_samples=99)
    newest = await newest_columns(Reader(sql), all_series, YESTERDAY_MS - 3000, YESTERDAY_MS + 90_000)
    by_sql = await sql.fetch(_FIRST_BY_SQL)
    await sql.close()
    for series, wanted in enumerate(expected):
        items = [(ms + YESTERDAY_MS, _bits(value)) for ms, value in sorted(wanted.items())]
        assert _of(found, series) == items
        assert _of(newest, series) == items[-1:]
        model_rows = [(us, ns, _bits(value)) for (s, us, ns), value in sorted(model.items()) if s == series]
        sql_rows = [r for r in by_sql if r["series_id"] == all_series[series]]
        assert [(r["us"], r["timestamp_ns"], _bits(r["value"])) for r in sql_rows] == model_rows


_FIRST_BY_SQL = f"""
SELECT DISTINCT ON (series_id, "timestamp", timestamp_ns)
       series_id, round(date_part('epoch', "timestamp" - '{YESTERDAY.isoformat()}') * 1e6)::bigint AS us,
       timestamp_ns, value
FROM v_metric_samples ORDER BY series_id, "timestamp", timestamp_ns, id
"""


def _bits(value: float | None) -> str:
    return STALE_NAN_BITS.to_bytes(8, "big").hex() if value is None else struct.pack(">d", value).hex()


def _of(found: NumberColumns, number: int) -> list[tuple[int, str]]:
    part = slice(found.offsets[number], found.offsets[number + 1])
    values = found.values[part].view(np.uint64).tolist()
    return list(zip(found.timestamps[part].tolist(), [f"{bits:016x}" for bits in values], strict=True))
