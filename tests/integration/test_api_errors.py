"""Every error of every endpoint has one shape and names what is wrong."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import CollectorRegistry

from ares_otel.api.app import create_app
from ares_otel.api.problems import KINDS
from ares_otel.query.cursor import Cursor
from tests.support.api import ENDPOINTS, ROOT, Api, check_problem, running_api
from tests.support.stored_rows import insert_log, now


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as made:
        yield made


@pytest.fixture
async def detached() -> AsyncIterator[Api]:
    """An API without a database: what is refused is refused before the database is asked."""
    async with running_api("postgresql://ares@127.0.0.1:1/none") as made:
        yield made


_METRIC_CURSOR = Cursor("metrics", now(), 0, 1).encode()


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        *[("logs", {"limit": value}, "limit") for value in ("0", "1001", "-1", "x", "", "1.5", "1e2", "9" * 5000, "١")],
        ("metrics", {"limit": "0"}, "limit"),
        *[("logs", {"level": value}, "level") for value in ("TRACE", "FATAL", "17", "", "info ")],
        *[
            ("logs", {name: value}, name)
            for name in ("from", "to")
            for value in ("yesterday", "2026-01-31T12:00:00", "1706702400", "2026-13-01T00:00:00Z", "")
        ],
        ("metrics", {"from": "2026-01-31"}, "from"),
        ("logs", {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ("metrics", {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ("metrics", {"to": "0001-01-01T00:30:00Z"}, "to"),
        *[("metrics", {"hours": value}, "hours") for value in ("0", "-1", "8761", "nan", "inf", "1h", "1e3", "")],
        ("metrics", {"hours": "1", "from": "2026-01-01T00:00:00Z"}, "hours"),
        ("metrics", {"hours": "1", "to": "2026-01-01T00:00:00Z"}, "hours"),
        *[("logs", {"trace_id": value}, "trace_id") for value in ("xyz", "4bf92f35", "", "0" * 33)],
        *[
            (f"trace/{value}", {}, "trace_id")
            for value in ("xyz", "4bf92f35", "0" * 33, "a" * 1000, "%00", "{x}", "4bf92f3577b34da6-a3ce929d0e0e4736")
        ],
        *[("logs", {"cursor": value}, "cursor") for value in ("garbage", "", "AAAA", "%", "a" * 5000, _METRIC_CURSOR)],
        ("metrics", {"cursor": "garbage"}, "cursor"),
        *[
            (path, {name: value}, name)
            for path, name in (
                ("logs", "service"),
                ("logs", "q"),
                ("metrics", "service"),
                ("metrics", "metric"),
                ("performance", "service"),
            )
            for value in ("", "a\0b", "x" * 1001)
        ],
        *[(path, {"servcie": "orders"}, "servcie") for path in ENDPOINTS],
        ("health", {"service": "orders"}, "service"),
        *[(path, {"exact": value}, "exact") for path in ("health", "performance") for value in ("", "1", "yes")],
        *[("service-map", {"hours": value}, "hours") for value in ("0", "-1", "x", "9999")],
        ("logs", {"start": "2026-01-01T00:00:00Z"}, "start"),
    ],
)
async def test_a_wrong_parameter_is_named(detached: Api, path: str, query: dict[str, Any], field: str) -> None:
    body = check_problem(await detached.client.get(f"{ROOT}/{path}", params=query), 422, field)
    assert body["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_parameter_that_is_given_twice_is_named(detached: Api, path: str) -> None:
    check_problem(await detached.client.get(f"{ROOT}/{path}?service=a&service=b"), 422, "service")


async def test_several_wrong_parameters_are_all_named(detached: Api) -> None:
    check_problem(await detached.get("logs", limit=0, level="x", from_="y"), 422, "level", "from", "limit")


async def test_a_flood_of_unknown_parameters_makes_a_small_answer(detached: Api) -> None:
    answer = await detached.client.get(f"{ROOT}/logs?" + "&".join(f"{'x' * 150}{n}=1" for n in range(50)))
    assert answer.status_code == 422
    assert len(answer.content) < 8000
    assert len(answer.json()["errors"]) == 20


async def test_an_address_that_is_too_long_is_refused(detached: Api) -> None:
    check_problem(await detached.get("logs", q="x" * 9000), 414)


@pytest.mark.parametrize("value", ["'", '"', ";--", "\\", "%", "_", "$1", ":limit", "{}", "\x01", "\uffff", "🙂"])
async def test_no_text_means_more_than_itself(api: Api, value: str) -> None:
    await insert_log(api.pool, message=f"a{value}b", service_name=value)
    await insert_log(api.pool, message="ab", service_name="orders")
    assert len(await api.rows("logs", "logs", q=value)) == 1
    assert len(await api.rows("logs", "logs", service=value)) == 1
    assert await api.rows("metrics", "metrics", service=value, metric=value) == []
    assert await api.rows("performance", "operations", service=value) == []


async def test_an_unknown_trace_is_not_found(api: Api) -> None:
    body = check_problem(await api.get("trace/4bf92f3577b34da6a3ce929d0e0e4736"), 404)
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in body["detail"]


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api", f"{ROOT}", f"{ROOT}/logs/", f"{ROOT}/trace/", "/swagger/../app.py", "/swagger/README.md"],
)
async def test_an_unknown_path_is_not_found(detached: Api, path: str) -> None:
    check_problem(await detached.client.get(path), 404)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
async def test_a_sender_that_mistook_the_port_is_told_where_otlp_is(detached: Api, path: str) -> None:
    body = check_problem(await detached.client.post(path, content=b""), 404)
    assert "OTLP/HTTP is on another port, 4318 by default" in body["detail"]


@pytest.mark.parametrize(
    "path",
    [
        *(f"{ROOT}/{path}" for path in ENDPOINTS),
        "/healthz",
        "/readyz",
        "/metrics",
        "/swagger/index.html",
        "/openapi.json",
    ],
)
async def test_another_method_is_refused_with_those_that_are_allowed(detached: Api, path: str) -> None:
    for method in ("POST", "DELETE", "OPTIONS", "PUT"):
        answer = await detached.client.request(method, path)
        check_problem(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_mistake_of_ares_is_a_500_that_tells_nothing_and_is_logged_once(
    api: Api, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await api.pool.execute(
        "DROP VIEW v_system_health, v_service_performance, service_metrics, v_logs, v_spans;"
        "DROP FUNCTION service_metrics_between;"
        "DROP TABLE service_logs, service_spans, ingest_rejected, span_rollup_increments, service_operations CASCADE;"
        "DROP TABLE log_rollup_increments, service_edges, pinned_traces CASCADE"
    )
    with caplog.at_level(logging.ERROR):
        answer = await api.get(path)
    check_problem(answer, 500)
    assert "service_" not in answer.text
    assert "relation" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_a_database_that_is_away_is_a_503_with_a_time_to_retry(database_url: str) -> None:
    async def ready() -> list[str]:
        return ["The database does not answer."]

    pool = asyncpg.create_pool("postgresql://ares@127.0.0.1:1/none", min_size=0, max_size=1)
    async with pool:
        app = create_app(pool, version="1", registry=CollectorRegistry(), ready=ready)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ENDPOINTS:
                answer = await client.get(f"{ROOT}/{path}")
                assert check_problem(answer, 503)["type"] == "urn:ares-otel:problem:database-unavailable"
                assert answer.headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200
            body = check_problem(await client.get("/readyz"), 503)
            assert body["detail"] == "The database does not answer."


async def test_a_query_that_takes_too_long_is_a_503_that_advises_a_narrower_time_range(
    api: Api, database_url: str
) -> None:
    name = await api.pool.fetchval("SELECT quote_ident(current_database())")
    await api.pool.execute(f"ALTER DATABASE {name} SET statement_timeout = 50")
    await api.pool.expire_connections()
    locks = await asyncpg.connect(database_url)
    try:
        async with locks.transaction():
            await locks.execute(
                "LOCK TABLE service_logs, service_spans, metric_samples, service_registry, ingest_rejected, "
                "span_rollup_increments, service_edges, pinned_traces"
            )
            for path in ENDPOINTS:
                body = check_problem(await api.get(path), 503)
                assert body["type"] == "urn:ares-otel:problem:query-too-slow"
                assert "narrow the time range" in body["detail"]
    finally:
        await locks.close()


def test_kinds_of_problems_have_names_of_their_own() -> None:
    assert len({kind.type for kind in KINDS}) == len(KINDS)
