"""Applications with a page of metrics and nothing else: a real Ares with two workers scrapes them, and its tables hold
what a Prometheus that scrapes the same page has."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ares_otel.receivers.prometheus.text_page import read_text
from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.postgres import copied_database
from tests.support.prometheus import Prometheus, needs_prometheus, prometheus
from tests.support.scraped import Web, web
from tests.support.scraped_applications import OPENMETRICS, PAGE, Application

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${env:ARES_OTEL_OTLP_GRPC_PORT:-0}"}
      http: {endpoint: "127.0.0.1:${env:ARES_OTEL_OTLP_HTTP_PORT:-0}"}
  prometheus:
    config:
      global: {scrape_interval: 1s, scrape_timeout: 1s}
      scrape_configs: %s
exporters: {postgres: }
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [postgres]}
    metrics: {receivers: [otlp, prometheus], exporters: [postgres]}
"""
NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON metric_samples FOR EACH ROW EXECUTE FUNCTION no_room();
"""
Line = tuple[str, str]
"""Name and labels, as JSON, of a sample."""


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    made = Application()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def config(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scraping") / "config.yaml"
    configure(file, job("app", application.address), registered())
    return file


def job(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": list(addresses)}], **more}


def registered() -> dict[str, Any]:
    return {"job_name": "registered", "ares_registry_sd_configs": [{"refresh_interval": "1s"}]}


def configure(file: Path, *jobs: dict[str, Any]) -> None:
    file.write_text(CONFIG % json.dumps(jobs))


@pytest.fixture(scope="module")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[AresProcess]:
    flags = ("--config", str(config), "--workers", "2", "--probe-allow-local")
    with (
        copied_database(postgres_server) as url,
        running_ares(tmp_path_factory.mktemp("ares"), "--database-url", url, *flags) as ares,
    ):
        yield ares


@pytest.fixture
async def page() -> AsyncIterator[Web]:
    async with web(body=PAGE) as made:
        yield made


@pytest.fixture
def reload(ares: AresProcess, config: Path, application: Application) -> Iterator[Callable[..., None]]:
    """Makes Ares scrape other jobs too; at the end those of the module alone."""

    def changed(*jobs: dict[str, Any]) -> None:
        configure(config, job("app", application.address), registered(), *jobs)
        os.kill(ares.pid, signal.SIGHUP)

    yield changed
    changed()


NEWEST = """
SELECT DISTINCT ON (metric_name, labels) metric_name, metric_type, metric_value, labels::text AS labels, timestamp
  FROM service_metrics WHERE labels->>'job' = $1 AND metric_name LIKE $2
 ORDER BY metric_name, labels, timestamp DESC
"""


async def newest(database: asyncpg.Connection, job: str, name: str = "%") -> dict[str, Any]:
    """The newest value of each metric with one series; None where it ended."""
    return {row["metric_name"]: row["metric_value"] for row in await database.fetch(NEWEST, job, name)}


async def test_the_official_client_s_page_lands_in_the_tables(
    ares: AresProcess, application: Application, database: asyncpg.Connection
) -> None:
    async def stored() -> bool:
        return (await newest(database, "app")).get("orders_total") == 3

    await eventually(stored)
    application.orders.labels("a").inc(2)

    async def counted() -> bool:
        return (await newest(database, "app")).get("orders_total") == 5

    await eventually(counted)
    rows = {row["metric_name"]: row for row in await database.fetch(NEWEST, "app", "%")}
    assert {name: row["metric_type"] for name, row in rows.items() if not name.startswith("scrape_")} == {
        "orders_total": "counter",
        "queue_size": "gauge",
        "wait_seconds": "histogram",
        "size_bytes": "summary",
        "build_info": "gauge",
        "up": "gauge",
    }
    assert json.loads(rows["orders_total"]["labels"]) == {"kind": "a", "job": "app", "instance": application.address}
    service = await database.fetchval(
        "SELECT service_name FROM service_metrics WHERE metric_name = 'orders_total' LIMIT 1"
    )
    assert service == "app"


async def test_each_target_is_scraped_by_one_of_the_workers(ares: AresProcess) -> None:
    async def one_of_them() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            figures = (await client.get(f"{ares.http}/metrics")).text
        return 'ares_otel_scrape_targets{receiver="prometheus"} 1.0' in figures

    await eventually(one_of_them)


async def test_a_target_that_dies_is_down_its_series_end_and_it_comes_back(
    ares: AresProcess, reload: Callable[..., None], page: Web, database: asyncpg.Connection
) -> None:
    reload(job("dying", page.address))

    async def seen(up: float, queue: float | None) -> bool:
        made = await newest(database, "dying")
        return made.get("up") == up and made.get("queue_size", "missing") == queue

    await eventually(lambda: seen(1, 7))
    page.status = 500
    await eventually(lambda: seen(0, None))
    page.status = 200
    await eventually(lambda: seen(1, 7))
    reload()

    async def ended() -> bool:
        made = await newest(database, "dying")
        return made["up"] is None and made["queue_size"] is None

    await eventually(ended)


async def test_what_is_scraped_while_the_database_has_no_room_is_stored_later(
    ares: AresProcess, database: asyncpg.Connection
) -> None:
    async def spooled() -> float:
        async with httpx.AsyncClient(trust_env=False) as client:
            figures = (await client.get(f"{ares.http}/metrics")).text
        found = re.search(
            r'^ares_otel_spool_items_total{outcome="spooled",signal="metrics"} (\S+)$', figures, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    async def more(than: float) -> bool:
        return await spooled() > than

    await database.execute(NO_ROOM)
    try:
        since = await database.fetchval("SELECT clock_timestamp()")
        for _ in range(2):  # the first one may have begun before
            await eventually(partial(more, await spooled()))
    finally:
        until = await database.fetchval("SELECT clock_timestamp()")
        await database.execute("DROP FUNCTION no_room CASCADE")

    async def stored() -> bool:
        return bool(
            await database.fetchval(
                "SELECT count(*) FROM service_metrics "
                "WHERE metric_name = 'up' AND labels->>'job' = 'app' AND timestamp BETWEEN $1 AND $2",
                since,
                until,
            )
        )

    await eventually(stored, seconds=60)


async def test_registered_services_are_scraped(ares: AresProcess, page: Web, database: asyncpg.Connection) -> None:
    service = {
        "name": "billing",
        "instance_id": "billing-1",
        "metadata": {
            "prometheus.io/scrape": "true",
            "prometheus.io/host": "127.0.0.1",
            "prometheus.io/port": page.port,
        },
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{ares.http}/api/v1/registry", json=service)
        assert answer.status_code == 201, answer.text

        async def stored() -> bool:
            return (await newest(database, "billing")).get("queue_size") == 7

        await eventually(stored)
        labels = await database.fetchval(
            "SELECT labels::text FROM service_metrics "
            "WHERE metric_name = 'queue_size' AND labels->>'job' = 'billing' LIMIT 1"
        )
        assert json.loads(labels) == {"job": "billing", "instance": "billing-1"}
        (await client.delete(f"{ares.http}/api/v1/registry/{answer.json()['id']}")).raise_for_status()

    async def ended() -> bool:
        return (await newest(database, "billing"))["up"] is None

    await eventually(ended)


async def test_ares_scrapes_itself_but_not_what_it_shows_of_others(
    ares: AresProcess, reload: Callable[..., None], database: asyncpg.Connection
) -> None:
    address = ares.http.removeprefix("http://")
    reload(job("own", address), job("loop", address, metrics_path="/metrics/ingested", honor_labels=True))

    async def stored() -> bool:
        own, loop = await newest(database, "own"), await newest(database, "loop")
        return own.get("up") == 1 and "ares_otel_encoder_info" in own and loop.get("up") == 0

    await eventually(stored)
    assert {name for name in await newest(database, "loop") if not name.startswith("scrape_")} == {"up"}


@pytest.mark.parametrize("path", ["/metrics/ingested", "/prometheus/federate"])
async def test_what_was_scraped_is_told_as_it_stood_on_the_page(
    ares: AresProcess, reload: Callable[..., None], page: Web, path: str
) -> None:
    reload(job("shown", page.address))

    def told(body: bytes, **more: str) -> dict[Line, str]:
        found = {}
        for one in read_text(body, {}).samples:
            assert isinstance(one.value, float)
            found[line_of({"__name__": one.series.name, **more, **dict(one.series.labels)})] = one.value
        return compared(found)

    expected = told(PAGE.replace(b'job="inner"', b'exported_job="inner"'), job="shown", instance=page.address)

    async def same() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{ares.http}{path}", params={"match[]": '{job="shown"}'})
        made = told(answer.content)
        assert {
            line: value for line, value in made.items() if not line[0].startswith(("up", "scrape_", "ares_"))
        } == expected
        return True

    await eventually(same)


@needs_prometheus
async def test_the_tables_hold_what_a_prometheus_has_of_the_same_page(
    ares: AresProcess, reload: Callable[..., None], page: Web, database: asyncpg.Connection
) -> None:
    headers = {"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
    async with web(body=OPENMETRICS, headers=headers) as other:
        both = job("page", page.address, other.address)
        reload(both)

        async def stored() -> bool:
            return {"queue_size", "build_info"} <= set(await newest(database, "page"))

        await eventually(stored)
        with prometheus(both) as server:
            theirs = await samples(server)
            go = job("go", server.url.removeprefix("http://"), scrape_protocols=["PrometheusProto"])
            reload(both, go)

            async def read_as_protobuf() -> bool:
                """The page of the official client for Go, which a Prometheus has itself."""
                rows = await database.fetch(NEWEST, "go", "%")
                made = {row["metric_name"]: row["metric_type"] for row in rows}
                if "go_info" not in made:
                    return False
                assert made["go_gc_duration_seconds"] == "summary"
                assert made["prometheus_http_request_duration_seconds"] == "histogram"
                assert made["process_cpu_seconds_total"] == "counter"
                return bool(made["up"] == "gauge")

            await eventually(read_as_protobuf)
        assert len(theirs) > 40
        created = sum(name.endswith("_created") for name, _ in theirs)  # starts of counting here, and no series
        for line in theirs:
            if line[0].startswith("scrape_samples_") and other.address in line[1]:
                theirs[line] -= created

        async def same() -> bool:
            ours = compared(await lines(database, "page"))
            assert ours.keys() == compared(theirs).keys()
            assert ours == compared(theirs)
            return True

        await eventually(same)


def compared(found: dict[Line, float]) -> dict[Line, str]:
    """Values as text, for NaN is not equal to itself; without what no two scrapes have in common."""
    left_out = ("_created", "scrape_duration_seconds", "scrape_series_added")
    return {line: str(float(value)) for line, value in found.items() if not line[0].endswith(left_out)}


async def samples(server: Prometheus) -> dict[Line, float]:
    """What a Prometheus has of both targets."""

    async def scraped() -> bool:
        with contextlib.suppress(httpx.TransportError):  # it is starting
            return await server.has('count(up{job="page"} == 1) == 2')
        return False

    await eventually(scraped)
    found = await server.query('{job="page"}')
    return {line_of(json.loads(labels)): value for labels, value in found.items()}


def line_of(labels: dict[str, str]) -> Line:
    """Bounds are numbers: whether they are written `1` or `1.0` is the version's."""
    for name in ("le", "quantile"):
        if name in labels:
            labels[name] = str(float(labels[name]))
    name = labels.pop("__name__")
    return name, json.dumps(labels, sort_keys=True)


async def lines(database: asyncpg.Connection, job: str) -> dict[Line, float]:
    """The newest samples of a job as Prometheus has them."""
    found = {}
    for row in await database.fetch(NEWEST, job, "%"):
        labels = json.loads(row["labels"])
        if row["metric_type"] not in ("histogram", "summary"):
            value = row["metric_value"]
            found[line_of({"__name__": row["metric_name"], **labels})] = float("inf") if value is None else value
    distributions = await database.fetch(
        "SELECT DISTINCT ON (series_id) s.metric_name, s.labels::text AS labels, p.* FROM metric_distributions p "
        "JOIN metric_series s USING (series_id) WHERE s.labels->>'job' = $1 ORDER BY series_id, p.timestamp DESC",
        job,
    )
    for row in distributions:
        name, labels = row["metric_name"], json.loads(row["labels"])
        found[line_of({"__name__": f"{name}_sum", **labels})] = row["sum"]
        found[line_of({"__name__": f"{name}_count", **labels})] = row["count"]
        for quantile, value in zip(row["quantiles"] or (), row["quantile_values"] or (), strict=True):
            found[line_of({"__name__": name, **labels, "quantile": str(quantile)})] = value
        bounds = [*(row["explicit_bounds"] or ()), float("inf")]
        for bound, count in zip(bounds, accumulate(row["bucket_counts"] or ()), strict=False):
            found[line_of({"__name__": f"{name}_bucket", **labels, "le": str(bound)})] = count
    return found
