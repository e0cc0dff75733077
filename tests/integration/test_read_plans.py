"""Every question that people ask often uses its index, on the open partition and on sealed ones, and reads little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ares_otel.query.statements import load_statements
from tests.support.partitions import Keeper, day, name_of
from tests.support.stored_rows import insert_histogram, insert_metric, now

ROWS = 12_000
TRACE = UUID(int=77)
_SPANS = """
INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms, duration_ns,
                           status, attributes)
SELECT CASE WHEN g % 4000 = 0 THEN $1::uuid ELSE gen_random_uuid() END, decode(lpad(to_hex(g), 16, '0'), 'hex'),
       'service ' || g % 20, 'GET /orders/' || g % 50, 'server', $2::timestamptz - g * interval '100 ms',
       g % 1000 / 1e3, g % 1000 * 1000, CASE WHEN g % 500 = 0 THEN 'error' ELSE 'ok' END,
       jsonb_build_object('order.id', g, 'http.route', '/orders/' || g % 50)
FROM generate_series(1, $3::integer) g
"""
_LOGS = """
INSERT INTO service_logs (trace_id, service_name, log_level, message, "timestamp", metadata)
SELECT CASE WHEN g % 4000 = 0 THEN $1::uuid END, 'service ' || g % 20,
       CASE WHEN g % 500 = 0 THEN 'ERROR' ELSE 'INFO' END, 'message ' || g,
       $2::timestamptz - g * interval '100 ms', jsonb_build_object('order.id', g)
FROM generate_series(1, $3::integer) g
"""


def moment() -> datetime:
    """Now, or soon after midnight a time from which on twenty minutes back are today."""
    return max(now(), day(0) + timedelta(minutes=25))


@pytest.fixture
async def loaded(database_url: str, sql: asyncpg.Connection) -> asyncpg.Connection:
    """Spans and logs of yesterday, sealed, and of now; both know their statistics."""
    at = moment()
    for end in (at - timedelta(days=1), at):
        await sql.execute(_SPANS, TRACE, end, ROWS)
        await sql.execute(_LOGS, TRACE, end, ROWS)
    await Keeper(database_url).seal(grace_hours=0)
    await sql.execute("ANALYZE service_spans; ANALYZE service_logs")
    return sql


class Plan:
    """What a statement did."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def nodes(self) -> Iterator[dict[str, Any]]:
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", ())

    @property
    def indexes(self) -> str:
        """The names of the indexes that were read, in one text."""
        return " ".join(node["Index Name"] for node in self.nodes() if "Index Name" in node and node["Actual Loops"])

    @property
    def rows(self) -> int:
        """Rows that were looked at in tables."""
        count = 0.0
        for node in self.nodes():
            if "Relation Name" in node:
                seen = node["Actual Rows"]
                seen += sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
                count += seen * node["Actual Loops"]
        return round(count)

    @property
    def blocks(self) -> int:
        """Pages that were looked at."""
        return int(self._root["Shared Hit Blocks"] + self._root["Shared Read Blocks"])

    @property
    def read_whole(self) -> set[str]:
        """Tables with rows that were read from beginning to end."""
        return {
            node["Relation Name"]
            for node in self.nodes()
            if node["Node Type"] == "Seq Scan" and node["Actual Loops"] and node["Shared Hit Blocks"] > 0
        }


async def explained(sql: asyncpg.Connection, text: str, *arguments: Any) -> Plan:
    async with sql.transaction():
        await sql.execute(
            "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL max_parallel_workers_per_gather = 0"
        )
        return Plan(
            json.loads(await sql.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", *arguments))[0]["Plan"]
        )


async def run(sql: asyncpg.Connection, file: str, name: str, **given: Any) -> Plan:
    statement = load_statements(file)[name]
    defaults = {"limit": 101, "max_bytes": 1 << 25, "scan": 100_000}
    text, arguments = statement.bind({key: given.get(key, defaults.get(key)) for key in statement.parameters})
    return await explained(sql, text, *arguments)


async def test_a_trace_and_its_logs_are_found_by_their_id_in_every_partition(loaded: asyncpg.Connection) -> None:
    for name, table in (("trace_spans", "service_spans"), ("trace_logs", "service_logs")):
        plan = await run(loaded, "trace_search.sql", name, trace_id=TRACE)
        for days_ago in (0, 1):
            assert f"{name_of(table, days_ago)}_trace_id_idx" in plan.indexes
        assert plan.read_whole == set()
        assert plan.rows == 6
        assert plan.blocks < 60
    places = await run(loaded, "trace_search.sql", "trace_places", trace_id=UUID(int=1))
    assert places.rows == 0
    assert places.blocks < 60


async def test_the_newest_logs_of_a_service_are_the_first_of_its_index(loaded: asyncpg.Connection) -> None:
    plan = await run(loaded, "logs.sql", "logs", service="service 7")
    assert f"{name_of('service_logs', 0)}_service_name_timestamp" in plan.indexes
    assert name_of("service_logs", 1) not in plan.indexes, "today's were enough"
    assert plan.rows <= 101
    older = await run(loaded, "logs.sql", "logs", service="service 7", upper=day(0))
    assert f"{name_of('service_logs', 1)}_service_name_timestamp" in older.indexes
    assert older.rows <= 101
    assert older.blocks < 300


async def test_an_attribute_is_looked_for_in_the_search_index_and_read_through_only_where_a_partition_is_open(
    loaded: asyncpg.Connection,
) -> None:
    sealed = await run(
        loaded,
        "spans.sql",
        "spans",
        one='{"order.id": "57"}',
        one_more='{"order.id": 57}',
        upper=day(0),
    )
    assert f"{name_of('service_spans', 1)}_attributes_gin" in sealed.indexes
    assert sealed.read_whole == set()
    assert sealed.rows <= 10
    assert sealed.blocks < 60
    both = await run(loaded, "spans.sql", "spans", exact='{"http.route": "/nowhere"}')
    assert f"{name_of('service_spans', 1)}_attributes_gin" in both.indexes
    assert both.read_whole <= {name_of("service_spans", 0)}
    assert both.rows <= ROWS


async def test_slow_spans_of_a_service_are_looked_for_by_their_duration(loaded: asyncpg.Connection) -> None:
    plan = await run(loaded, "spans.sql", "spans", service="service 19", min_ns=998_000, upper=day(0))
    assert f"{name_of('service_spans', 1)}_duration_idx" in plan.indexes
    assert plan.read_whole == set()
    assert plan.rows < ROWS / 20, "fewer than the service has"
    failed = await run(loaded, "spans.sql", "spans", service="service 0", status="error", upper=day(0))
    assert f"{name_of('service_spans', 1)}_errors_idx" in failed.indexes
    assert failed.rows <= ROWS / 500 + 1


async def test_metrics_of_the_last_hour_come_from_their_series(sql: asyncpg.Connection) -> None:
    await sql.execute(
        """
        INSERT INTO metric_series (series_id, service_name, metric_name, metric_type, unit, labels)
        SELECT md5(g::text)::uuid, 'service ' || g % 20, 'metric ' || g % 100, 'gauge', '', '{}'
        FROM generate_series(1, 400) g
        """
    )
    await sql.execute(
        """
        INSERT INTO metric_samples (series_id, "timestamp", value)
        SELECT md5((g % 400 + 1)::text)::uuid, now() - g * interval '1 second', g FROM generate_series(1, 20000) g
        """
    )
    await insert_histogram(sql)
    await insert_metric(sql)
    await sql.execute("ANALYZE metric_samples; ANALYZE metric_series; ANALYZE metric_distributions")
    plan = await run(sql, "metrics.sql", "metrics", metric="metric 7", lower=now() - timedelta(hours=1))
    assert "metric_series_name_idx" in plan.indexes
    assert f"{name_of('metric_samples', 0)}_series_id_timestamp_idx" in plan.indexes
    assert plan.rows < 400
    assert plan.blocks < 400
    service = await run(
        sql, "metrics.sql", "metrics", service="service 7", metric="metric 7", lower=now() - timedelta(minutes=5)
    )
    assert service.rows < 100


async def test_the_views_read_the_last_hour_and_nothing_before(loaded: asyncpg.Connection) -> None:
    performance = await explained(loaded, "SELECT * FROM v_service_performance")
    health = await explained(loaded, "SELECT * FROM v_system_health")
    for plan, table in ((performance, "service_spans"), (health, "service_logs")):
        read = {node["Relation Name"] for node in plan.nodes() if "Relation Name" in node and node["Actual Loops"]}
        assert name_of(table, 3) not in read
        assert plan.rows <= 2 * ROWS + 100
        before = [node for node in plan.nodes() if node.get("Relation Name") == name_of(table, 1)]
        assert all(node["Actual Rows"] == 0 for node in before)
    one = await explained(loaded, "SELECT * FROM v_service_performance WHERE service_name = 'service 7'")
    assert f"{name_of('service_spans', 0)}_service_name_start_time_idx" in one.indexes
    assert one.rows < ROWS / 10
