"""What surrounds the endpoints: probes, own metrics, Swagger UI, headers, and all of it through a real server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from ares_otel.api.problems import problem_body
from ares_otel.pipeline.http_door import HttpDoor
from tests.support.api import ENDPOINTS, ROOT, Api, check_problem, running_api
from tests.support.rejected import insert_rejected
from tests.support.stored_rows import TRACE, insert_log, insert_span


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Without a database: none of these pages needs one."""
    async with running_api("postgresql://ares@127.0.0.1:1/none") as made:
        yield made


async def test_healthz_is_alive_and_readyz_tells_what_is_missing(api: Api) -> None:
    assert (await api.client.get("/healthz")).json() == {"status": "alive"}
    assert (await api.client.get("/readyz?t=1")).json() == {"status": "ready"}
    api.reasons += ["The database does not answer.", "Ares is stopping."]
    answer = await api.client.get("/readyz")
    assert check_problem(answer, 503)["detail"] == "The database does not answer. Ares is stopping."
    assert answer.headers["retry-after"] == "1"
    assert (await api.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("accept", "media_type", "ends_with"),
    [
        ("*/*", "text/plain", "ares_otel_demo_total 3.0\n"),
        ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", "application/openmetrics-text", "# EOF\n"),
    ],
)
async def test_own_metrics_come_in_the_format_that_is_asked_for(
    api: Api, accept: str, media_type: str, ends_with: str
) -> None:
    answer = await api.client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    assert "ares_otel_demo_total 3.0" in answer.text
    if media_type != "text/plain":
        assert answer.text.endswith(ends_with)


async def test_swagger_ui_loads_everything_from_here_and_runs_no_inline_script(api: Api) -> None:
    page = await api.client.get("/swagger/index.html")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "http" not in re.sub(r"\s", "", page.text).replace("http-equiv", "")
    assert re.findall(r"<script>|<style|\son\w+=", page.text) == []
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 6
    for address in loaded:
        asset = await api.client.get(str(page.url.join(address)))
        assert asset.status_code == 200, address
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert len(asset.content) > 100
    start = (await api.client.get("/swagger/initializer.js")).text
    assert 'url: "../openapi.json"' in start
    assert "validatorUrl: null" in start


@pytest.mark.parametrize("path", ["/", "/swagger", "/swagger/"])
async def test_the_root_and_the_folder_lead_to_swagger_ui(api: Api, path: str) -> None:
    answer = await api.client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.request.url.join(answer.headers["location"]).path == "/swagger/index.html"
    assert "//" not in answer.headers["location"]


async def test_an_asset_that_the_browser_has_is_not_sent_again(api: Api) -> None:
    first = await api.client.get("/swagger/swagger-ui.css")
    again = await api.client.get("/swagger/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_pages_that_load_scripts_from_elsewhere_do_not_exist(api: Api, path: str) -> None:
    check_problem(await api.client.get(path), 404)


@pytest.mark.parametrize("path", [*(f"{ROOT}/{path}" for path in ENDPOINTS), "/healthz", "/nothing", "/openapi.json"])
async def test_every_answer_tells_browsers_not_to_run_frame_guess_or_keep_it(api: Api, path: str) -> None:
    headers = (await api.client.get(path)).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


async def test_all_endpoints_answer_through_a_real_server_which_keeps_the_connection(database_url: str) -> None:
    async with running_api(database_url) as api:
        await insert_log(api.pool, trace_id=TRACE)
        await insert_span(api.pool, 1)
        await api.pool.execute("ALTER SEQUENCE ingest_rejected_id_seq RESTART 7")
        await insert_rejected(api.pool)
        door = HttpDoor(
            "http", api.app, host="127.0.0.1", port=0, setting="--http-port", error_bodies=problem_body, lifespan="on"
        )
        await door.start()
        try:
            async with httpx.AsyncClient(base_url=door.url) as client:
                for path in (*(f"{ROOT}/{path}" for path in ENDPOINTS), "/healthz", "/metrics", "/openapi.json"):
                    answer = await client.get(path)
                    assert answer.status_code == 200
                    head = await client.head(path)
                    assert (head.status_code, head.content) == (200, b"")
                    assert head.headers["content-type"] == answer.headers["content-type"]
                assert (await client.get("/", follow_redirects=True)).url.path == "/swagger/index.html"
                plus = await client.get(f"{ROOT}/logs?from=2026-01-31T12:00:00+02:00&to=2100-01-01T00:00:00%2B02:00")
                assert len(plus.json()["logs"]) == 1
                for path in ("%00", "%ff", "%2e%2e/%2e%2e/etc/passwd", "\ud7ff"):
                    check_problem(
                        await client.get(f"{ROOT}/trace/{path}"),
                        404 if "etc" in path else 422,
                        *(() if "etc" in path else ("trace_id",)),
                    )
                refused = await client.get("/healthz", headers={"Host": "evil.example"})
                assert check_problem(refused, 421)["type"] == "urn:ares-otel:problem:http-error"
        finally:
            await door.stop()


async def test_a_restart_of_the_database_makes_503s_and_then_answers_again(database_url: str) -> None:
    async with running_api(database_url) as api:
        assert (await api.get("logs")).status_code == 200
        killer = await asyncpg.connect(database_url)
        try:
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        finally:
            await killer.close()
        for _ in range(5):  # each connection of the pool may be found dead once
            if (answer := await api.get("logs")).status_code == 200:
                break
            check_problem(answer, 503)
        assert (await api.get("logs")).status_code == 200
