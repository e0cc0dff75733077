"""`ares-otel up --demo`: what a person sees on the first day, from nothing to rows that mean something."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ares_otel.demo import queries
from tests.support.ares_process import AresProcess, command, environment, running_ares
from tests.support.eventually import eventually
from tests.support.grafana.dashboards import DASHBOARDS
from tests.support.grafana.reader import SCRIPT, opened
from tests.support.processes import alive, descendants, mentioning, wait_until_gone

SERVICES = {"storefront", "orders", "payments", "inventory"}


async def all_four_services_register_and_are_well(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def registered() -> bool:
        rows = await database.fetch("SELECT name, version, status FROM service_registry WHERE name = ANY($1)", SERVICES)
        assert {row["name"] for row in rows} == SERVICES
        assert all(row["version"] for row in rows)
        return {row["status"] for row in rows} == {"online"}

    await eventually(registered)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{ares.http}/api/v1/observability/health")
    services = answer.raise_for_status().json()["services"]
    assert {service["service_name"] for service in services} >= SERVICES


async def one_checkout_is_one_trace_over_all_services(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def crossing() -> Any:
        return await database.fetchval(
            "SELECT trace_id FROM v_spans WHERE service_name = ANY($1) GROUP BY trace_id "
            "HAVING count(DISTINCT service_name) = 4 AND bool_or(parent_span_id IS NULL) LIMIT 1",
            SERVICES,
        )

    trace_id = await eventually(crossing)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{ares.http}/api/v1/observability/trace/{trace_id}")
    trace = answer.raise_for_status().json()
    assert set(trace["services"]) == SERVICES
    assert trace["spans"][0]["service_name"] == "storefront"
    assert trace["spans"][0]["depth"] == 0
    assert max(span["depth"] for span in trace["spans"]) >= 4, "storefront, its call, orders, its call, the callee"
    assert {log["service_name"] for log in trace["logs"]} >= {"storefront", "orders"}


async def errors_are_there_with_their_exceptions(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def answers() -> bool:
        rows = await database.fetch(
            "SELECT DISTINCT service_name || ' ' || (attributes->>'http.response.status_code') AS answer "
            "FROM service_spans WHERE kind = 'server'"
        )
        wanted = {"payments 402", "payments 500", "payments 503", "inventory 409", "orders 502", "storefront 404"}
        assert wanted <= {row["answer"] for row in rows}
        return True

    await eventually(answers, seconds=60)
    types = await database.fetch(
        "SELECT DISTINCT e->'attributes'->>'exception.type' AS type FROM service_spans, jsonb_array_elements(events) e "
        "WHERE service_name = 'payments' AND status = 'error' AND e->>'name' = 'exception'"
    )
    assert any(row["type"].endswith("BankUnreachableError") for row in types)


async def a_retry_can_be_read_from_its_span(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def retried() -> Any:
        return await database.fetchrow(
            "SELECT events, trace_id FROM service_spans WHERE operation_name = 'charge card' "
            "AND attributes @> '{\"payment.attempts\": 2}' LIMIT 1"
        )

    row = await eventually(retried)
    names = [event["name"] for event in json.loads(row["events"])]
    assert names == ["payment.attempt", "payment.retry", "payment.attempt"]

    async def charges() -> bool:
        count = await database.fetchval(
            "SELECT count(*) FROM service_spans WHERE trace_id = $1 AND operation_name = 'POST /charges'",
            row["trace_id"],
        )
        return bool(count == 2)

    await eventually(charges)


async def slow_calls_show_in_the_percentiles(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def operations() -> dict[tuple[str, str], Any]:
        rows = await database.fetch("SELECT * FROM v_service_performance WHERE call_count >= 10")
        found = {(row["service_name"], row["operation_name"]): row for row in rows}
        wanted = {("storefront", "POST /checkout"), ("orders", "POST /orders"), ("payments", "POST /charges")}
        assert wanted <= set(found)
        charges = found["payments", "POST /charges"]
        assert charges["p50_ms"] < charges["p95_ms"] <= charges["p99_ms"]
        assert charges["p95_ms"] > 300, "some cards are slow"
        return found

    found = await eventually(operations, seconds=60)
    assert found["payments", "POST /charges"]["error_count"] > 0


async def log_records_of_every_level_belong_to_spans(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def levels() -> bool:
        rows = await database.fetch(
            "SELECT DISTINCT service_name, l.log_level FROM service_logs l "
            "JOIN service_spans s USING (trace_id, span_id, service_name)"
        )
        found = {(row["service_name"], row["log_level"]) for row in rows}
        assert {level for _, level in found} == {"DEBUG", "INFO", "WARN", "ERROR"}
        return {service for service, _ in found} >= SERVICES

    await eventually(levels)

    async def fatal() -> Any:
        return await database.fetchval("SELECT count(*) FROM service_logs WHERE severity_number >= 21")

    assert await eventually(fatal) > 0
    row = await database.fetchrow("SELECT * FROM v_logs WHERE event_name = 'order.placed' LIMIT 1")
    assert row["source_file"].endswith("orders.py")
    assert json.loads(row["metadata"])["order.amount"] > 0


async def metrics_of_every_kind_come_from_every_service(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def kinds() -> bool:
        rows = await database.fetch(
            "SELECT DISTINCT service_name, metric_name, metric_type, temporality FROM service_metrics"
        )
        assert {row["service_name"] for row in rows} >= SERVICES
        assert {row["metric_type"] for row in rows} >= {
            "counter",
            "updowncounter",
            "gauge",
            "histogram",
            "exponential_histogram",
        }
        assert {row["temporality"] for row in rows} >= {"delta", "cumulative"}
        names = {row["metric_name"] for row in rows}
        return {"shop.checkouts", "payment.charge.duration", "inventory.stock", "http.server.request.duration"} <= names

    await eventually(kinds)


async def shipments_link_to_the_traces_of_their_orders(ares: AresProcess, database: asyncpg.Connection) -> None:
    async def linked() -> Any:
        return await database.fetchval(
            "SELECT count(*) FROM service_spans s, jsonb_array_elements(s.links) l "
            "JOIN service_spans o ON o.trace_id = (l->>'trace_id')::uuid "
            "WHERE s.operation_name = 'ship orders' AND o.operation_name = 'POST /orders' AND o.trace_id <> s.trace_id"
        )

    assert await eventually(linked) > 0


async def every_suggested_query_finds_something_when_it_is_pasted_into_a_shell(
    ares: AresProcess, database: asyncpg.Connection
) -> None:
    async def printed() -> dict[str, str]:
        lines = [line.strip() for line in ares.stderr.splitlines()]
        titles = [title for title, _ in queries(ares.doors)]
        assert set(titles) <= set(lines)
        return {title: lines[lines.index(title) + 1] for title in titles}

    for title, line in (await eventually(printed)).items():

        async def answered(title: str = title, line: str = line) -> bool:
            shell = await asyncio.create_subprocess_shell(line, stdout=PIPE, stderr=PIPE, env=environment())
            out, err = (text.decode() for text in await shell.communicate())
            assert shell.returncode == 0, f"{title}\n{line}\n{err}"
            nothing = ("(0 rows)", '"logs":[]', '"metrics":[]', '"services":[]', '"operations":[]')
            assert not any(text in out for text in nothing), f"{title} finds nothing: {line}"
            return bool(out)

        await eventually(answered)


async def every_panel_of_the_dashboards_finds_rows(ares: AresProcess, database: asyncpg.Connection) -> None:
    """As the role that docs/grafana.md has made; but the service map, which waits for a whole minute."""
    superuser = ares.database.replace("ares@", "postgres@")
    options = ("-v", "role=grafana", "-v", "password=secret", "-f", str(SCRIPT))
    done = await asyncio.create_subprocess_exec(
        *command("psql", "--database-url", superuser, *options), stdout=PIPE, stderr=PIPE, env=environment()
    )
    _, err = await done.communicate()
    assert done.returncode == 0, err.decode()
    later = {"Who calls whom", "Called by", "Calls", "Rejected", "Spools"}
    chosen = {
        "Increase a second": {"service": "storefront", "metric": "shop.checkouts"},
        "Mean of a histogram": {"service": "payments", "metric": "payment.charge.duration"},
    }
    usual = {
        "metrics": {"service": "inventory", "metric": "inventory.stock"},
        "trace": {
            "trace_id": await database.fetchval("SELECT trace_id FROM v_logs WHERE trace_id IS NOT NULL LIMIT 1")
        },
        "service": {"service": "payments"},
    }
    reading = await asyncpg.connect(ares.database.replace("ares@", "grafana@"))
    try:
        for board in DASHBOARDS:
            for panel in (panel for row in board.rows for panel in row if panel.title not in later):
                values = chosen.get(panel.title, usual.get(board.name, {}))
                for sql in (target["rawSql"] for target in panel.targets if "rawSql" in target):

                    async def found(board: str = board.name, values: Any = values, sql: str = sql) -> Any:
                        return await reading.fetch(opened(board, **values).expanded(sql))

                    assert await eventually(found), panel.title
    finally:
        await reading.close()


async def test_the_shop_fills_tables_and_views_with_rows_that_mean_something(
    data_dir: Path, subtests: pytest.Subtests
) -> None:
    with running_ares(data_dir, "--demo", fresh=True) as ares:  # it shows how it was started
        database = await asyncpg.connect(ares.database)
        try:
            for check in (
                all_four_services_register_and_are_well,
                one_checkout_is_one_trace_over_all_services,
                errors_are_there_with_their_exceptions,
                a_retry_can_be_read_from_its_span,
                slow_calls_show_in_the_percentiles,
                log_records_of_every_level_belong_to_spans,
                metrics_of_every_kind_come_from_every_service,
                shipments_link_to_the_traces_of_their_orders,
                every_suggested_query_finds_something_when_it_is_pasted_into_a_shell,
                every_panel_of_the_dashboards_finds_rows,
            ):
                with subtests.test(check.__name__):
                    await check(ares, database)
        finally:
            await database.close()


async def _wait_for_shop(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:

        async def spans() -> bool:
            rows = await connection.fetch("SELECT DISTINCT service_name FROM service_spans")
            return {row["service_name"] for row in rows} >= SERVICES

        await eventually(spans, seconds=60)
    finally:
        await connection.close()


async def _count_spans(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM service_spans WHERE service_name = ANY($1)", SERVICES)
        )
    finally:
        await connection.close()


async def test_ctrl_c_leaves_no_process_and_a_second_start_shows_the_earlier_rows(data_dir: Path) -> None:
    with running_ares(data_dir, "--demo") as ares:
        await _wait_for_shop(ares.database)
        stored = await _count_spans(ares.database)
        family = descendants(ares.pid)
        running = alive(family)
        assert sum("ares_otel.demo.service" in line for line in running) == 4
        assert any("postgres" in line for line in running)
        ares.interrupt()
        assert alive(family) == []
        assert mentioning(str(data_dir)) == []
    with running_ares(data_dir) as ares:
        assert await _count_spans(ares.database) >= stored > 0


async def test_a_kill_leaves_neither_the_shop_nor_postgres_behind(data_dir: Path) -> None:
    with running_ares(data_dir, "--demo") as ares:
        await _wait_for_shop(ares.database)
        stored = await _count_spans(ares.database)
        family = descendants(ares.pid)
        ares.kill()
        wait_until_gone(family, seconds=30)
        assert mentioning(str(data_dir)) == []
    with running_ares(data_dir) as ares:
        assert await _count_spans(ares.database) >= stored > 0


async def test_the_shop_alone_sends_to_any_endpoint_and_stops_cleanly(ares: AresProcess) -> None:
    arguments = command("demo", "--otlp-grpc", ares.otlp_grpc, "--otlp-http", ares.otlp_http)
    shop = await asyncio.create_subprocess_exec(*arguments, stdout=PIPE, env=environment())
    try:
        assert shop.stdout is not None
        async with asyncio.timeout(60):
            lines = [(await shop.stdout.readline()).decode().split() for _ in range(len(SERVICES) + 1)]
        assert {line[0] for line in lines} == {*SERVICES, "ready"}
        family = descendants(shop.pid)
        await _wait_for_shop(ares.database)
        shop.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await shop.wait() == 0
        assert alive(family) == []
    finally:
        if shop.returncode is None:
            shop.kill()
            await shop.wait()


async def test_an_address_the_shop_cannot_send_to_is_one_clear_line() -> None:
    arguments = command("demo", "--otlp-grpc", "ftp://127.0.0.1")
    shop = await asyncio.create_subprocess_exec(*arguments, stdout=PIPE, stderr=PIPE, env=environment())
    out, err = await shop.communicate()
    assert (shop.returncode, out) == (1, b"")
    [line] = err.decode().splitlines()
    assert "'ftp://127.0.0.1' is not an address the demo can send to" in line
