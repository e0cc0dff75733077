"""Every panel of the dashboards finds something, as the role that only reads, in the SQL that Grafana would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tests.support.grafana.dashboards import DASHBOARDS
from tests.support.grafana.macros import Raw
from tests.support.grafana.model import Dashboard, Panel
from tests.support.grafana.reader import Reader, opened, statement

ROWS = 20_000
"""No panel's answer has more: what a page can show, and Grafana's memory bears."""
PANELS = [
    pytest.param(board.name, panel, id=f"{board.name}: {panel.title}")
    for board in DASHBOARDS
    for row in board.rows
    for panel in row
    if panel.datasource["type"] != "jaeger"
]
CHOSEN: dict[tuple[str, str], dict[str, str]] = {
    ("metrics", "Increase a second"): {"metric": "orders.placed"},
    ("metrics", "Mean of a histogram"): {"metric": "http.server.request.duration"},
    ("service", "Failed spans"): {"service": "payments"},
}
"""What has to be chosen for a panel that not everything has rows for."""


@pytest.fixture(scope="module")
def reader(module_database_url: str) -> Iterator[Reader]:
    made = Reader(module_database_url)
    asyncio.run(made.fill())
    yield made
    asyncio.run(made.drop())


@pytest.fixture
async def reading(reader: Reader) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the role that only reads."""
    connection = await reader.connect()
    yield connection
    await connection.close()


@pytest.fixture
async def owner(reader: Reader) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the same database as its owner."""
    connection = await asyncpg.connect(reader.url)
    yield connection
    await connection.close()


@pytest.mark.parametrize(("dashboard", "panel"), PANELS)
async def test_the_panel_finds_rows(reader: Reader, reading: asyncpg.Connection, dashboard: str, panel: Panel) -> None:
    usual = {"metrics": {"metric": "inventory.stock"}, "trace": {"trace_id": reader.shop.traces[0]}}
    chosen = CHOSEN.get((dashboard, panel.title), usual.get(dashboard, {}))
    for target in panel.targets:
        prepared = await reading.prepare(opened(dashboard, **chosen).expanded(target["rawSql"]))
        rows = await prepared.fetch()
        assert rows
        assert len(rows) < ROWS
        assert any(value is not None for value in rows[0].values())
        names = [attribute.name for attribute in prepared.get_attributes()]
        assert len(set(names)) == len(names)
        if target["format"] == "time_series":
            times = [row["time"] for row in rows]
            assert times == sorted(times), "Grafana wants time series in the order of time"


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
async def test_the_lists_of_variables_have_values(reading: asyncpg.Connection, board: Dashboard) -> None:
    for variable in board.variables:
        if variable["type"] == "query":
            values = [row[0] for row in await reading.fetch(opened(board.name).expanded(variable["query"]))]
            assert values
            assert len(set(values)) == len(values)


async def test_nothing_is_an_error_before_any_telemetry_came(sql: asyncpg.Connection) -> None:
    """Also with a list of services that has no values, which Grafana makes an empty text of."""
    for board in DASHBOARDS:
        view = opened(board.name)
        several = isinstance(view.variables.get("service"), Raw)
        views = [view, opened(board.name, service=[])] if several else [view, opened(board.name, service="")]
        for target in (target for row in board.rows for panel in row for target in panel.targets):
            for one in views if "rawSql" in target else []:
                await sql.fetch(one.expanded(target["rawSql"]))


async def test_a_search_for_traces_keeps_to_what_is_asked_for(reader: Reader, reading: asyncpg.Connection) -> None:
    async def found(panel: str = "Spans", **asked: Any) -> list[asyncpg.Record]:
        return list(await reading.fetch(opened("traces", **asked).expanded(statement("traces", panel))))

    async def operations(**asked: Any) -> set[str]:
        return {row["operation"] for row in await found(**asked)}

    assert await operations() == {"POST /orders", "INSERT", "price the order", "POST"}
    assert await operations(operation=["INSERT"]) == {"INSERT"}
    assert await operations(min_ms="80") == {"POST /orders"}
    assert await operations(key="shop.sku", value="mug-blue") == {"POST /orders"}
    assert await operations(key="shop.sku", value="mug-red") == set()
    assert await operations(key="db.namespace") == {"INSERT"}
    assert await operations(service="o'rders'; --") == set()
    assert {row["status"] for row in await found(status=["error"])} == {"error"}
    number = str(reader.shop.begin // 60_000_000_000)
    assert len(await found(key="order.id", value=number)) == 3, "numbers are compared as they are written"

    traces = await found("Traces", operation=["INSERT"])
    assert {row["trace"] for row in traces} <= set(reader.shop.traces)
    first = traces[0]
    assert (first["begins with"], first["spans"], first["matching"]) == ("storefront: POST /checkout", 7, 1)
    assert first["services"] == "orders, payments, storefront"
    assert first["duration"] == pytest.approx(120)


async def test_a_search_for_log_records_keeps_to_what_is_asked_for(reader: Reader, reading: asyncpg.Connection) -> None:
    async def found(column: str, **asked: Any) -> set[str]:
        rows = await reading.fetch(opened("logs", **asked).expanded(statement("logs", "Newest records")))
        return {row[column] for row in rows}

    assert await found("service") == {"orders", "payments", "ares-api"}
    assert await found("service", service=["payments"]) == {"payments"}
    assert await found("level", level=["ERROR", "DEBUG"]) == {"ERROR", "DEBUG"}
    assert await found("message", text="NOTHING to") == {"Nothing to say"}
    assert await found("message", text="100%_") == set()
    assert await found("trace", trace_id=reader.shop.traces[0]) == {reader.shop.traces[0]}


async def test_rates_errors_and_percentiles_are_those_of_the_spans(reading: asyncpg.Connection) -> None:
    async def shown(title: str, service: str = "orders") -> Any:
        return await reading.fetchval(opened("service", service=service).expanded(statement("service", title)))

    row = await reading.fetchrow(
        "SELECT count(*) AS calls, percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95 FROM service_spans "
        "WHERE service_name = 'orders' AND kind = 'server'"
    )
    assert await shown("95th percentile") == pytest.approx(row["p95"], rel=0.006)
    assert await shown("Calls a second") * 3600 == pytest.approx(row["calls"])
    assert await shown("Failed", "payments") == pytest.approx(1 / 3)


async def test_the_increase_of_a_counter_is_what_it_grew_by_and_a_restart_is_no_decrease(
    sql: asyncpg.Connection,
) -> None:
    for minutes, value in ((5, 100), (4, 160), (3, 12), (2, 72)):
        await sql.execute(
            "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value, timestamp) VALUES "
            "('orders', 'orders.placed', 'counter', $1, date_trunc('minute', now()) - make_interval(mins => $2))",
            float(value),
            minutes,
        )
    view = opened("metrics", metric="orders.placed")
    rows = await sql.fetch(view.expanded(statement("metrics", "Increase a second")))
    assert [row["a second"] for row in rows] == [1.0, 0.2, 1.0]


async def test_the_role_reads_and_neither_writes_nor_sees_settings_or_rejected_payloads(
    reading: asyncpg.Connection,
) -> None:
    for refused in ("DELETE FROM service_spans", "CREATE TABLE own (x int)"):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reading.execute(refused)
    await reading.execute("SET default_transaction_read_only = off")
    for refused in (
        "DELETE FROM service_spans",
        "INSERT INTO service_logs (service_name, log_level, timestamp) VALUES ('x', 'INFO', now())",
        "CREATE TABLE own (x int)",
        "SELECT * FROM service_config",
        "SELECT payload FROM ingest_rejected",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reading.execute(refused)


@pytest.mark.parametrize(
    ("dashboard", "title", "asked"),
    [
        ("traces", "Spans", {}),
        ("traces", "Durations", {}),
        ("service", "Failed spans", {}),
        ("logs", "Newest records", {}),
        ("logs", "Newest records", {"service": ["orders"], "level": ["ERROR"]}),
        ("itself", "Ares's own log", {}),
    ],
)
async def test_the_newest_rows_are_the_first_of_an_index(
    owner: asyncpg.Connection, dashboard: str, title: str, asked: dict[str, Any]
) -> None:
    """Not the first of all rows of the time shown, sorted. The tables of a test are so small that the planner has to be
    told that they are not to be read whole."""
    await owner.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
    text = opened(dashboard, **asked).expanded(statement(dashboard, title))
    plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {text}"))
    below = plan.partition("Limit")[2]
    assert "Index Scan Backward" in below, plan
    assert "Sort" not in below, plan
    assert "Seq Scan" not in below, plan
