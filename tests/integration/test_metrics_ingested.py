"""`/metrics/ingested`: the current value of every series that came by OTLP, as Prometheus's own parsers read it."""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ares_otel.query.live_series import STALENESS
from ares_otel.query.statements import load_statements
from ares_otel.storage.store import Store
from tests.support.api import Api, check_problem, running_api
from tests.support.eventually import eventually
from tests.support.ingested import (
    OPENMETRICS,
    PATH,
    ago,
    ask,
    counter,
    families,
    gauge,
    histogram,
    left_out,
    samples,
    send,
)
from tests.support.otlp_samples import metrics_request, number_point
from tests.support.partitions import day


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


async def test_every_type_is_told_as_prometheus_has_it(api: Api, store: Store) -> None:
    await send(store, metrics_request())
    found = await families(api)
    assert {name: family.type for name, family in found.items()} == {
        "process_memory_usage_bytes": "gauge",
        "http_server_requests": "counter",
        "http_server_request_duration_seconds": "histogram",
        "batch_duration_seconds": "summary",
        "target_info": "gauge",
    }
    assert found["http_server_requests"].documentation == "Requests served"
    assert samples(found["http_server_requests"]) == {
        ("http_server_requests_total", (("http_request_method", "GET"), ("http_route", "/orders"))): 12,
        ("http_server_requests_total", (("http_route", "/health"),)): 3,
    }
    route = ("http_route", "/orders")
    name = "http_server_request_duration_seconds"
    assert samples(found[name]) == {
        (f"{name}_bucket", (route, ("le", "0.05"))): 2,
        (f"{name}_bucket", (route, ("le", "0.1"))): 3,
        (f"{name}_bucket", (route, ("le", "0.25"))): 5,
        (f"{name}_bucket", (route, ("le", "+Inf"))): 6,
        (f"{name}_sum", (route,)): 0.9,
        (f"{name}_count", (route,)): 6,
    }
    assert samples(found["batch_duration_seconds"])[("batch_duration_seconds", (("quantile", "0.99"),))] == 7.5
    assert found["process_memory_usage_bytes"].samples[0].value == 52_428_800


async def test_openmetrics_has_the_same_values_exemplars_and_start_times(api: Api, store: Store) -> None:
    request = metrics_request()
    await send(store, request)
    found = await families(api, OPENMETRICS)
    assert found["http_server_requests"].type == "counter"
    assert found["target"].type == "info"
    metrics = {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}
    point = metrics["http.server.request.duration"].histogram.data_points[0]
    family = found["http_server_request_duration_seconds"]
    assert family.unit == "seconds"
    [bucket] = [sample for sample in family.samples if sample.exemplar is not None]
    assert bucket.labels["le"] == "0.25"
    assert bucket.exemplar is not None
    assert bucket.exemplar.value == 0.2
    assert bucket.exemplar.labels == {
        "trace_id": point.exemplars[0].trace_id.hex(),
        "span_id": point.exemplars[0].span_id.hex(),
    }
    [created] = [sample for sample in family.samples if sample.name.endswith("_created")]
    assert created.value == pytest.approx(point.start_time_unix_nano / 1e9)
    totals = [sample.value for sample in found["http_server_requests"].samples if sample.name.endswith("_total")]
    assert sorted(totals) == [3, 12]


async def test_job_instance_and_target_info_say_who_sent_it(api: Api, store: Store) -> None:
    request = metrics_request(
        "orders", [gauge()], **{"service.namespace": "shop", "service.instance.id": "pod-1", "host.name": "kappa"}
    )
    await send(store, request)
    found = await families(api)
    [sample] = found["queue_length"].samples
    assert (sample.labels["job"], sample.labels["instance"]) == ("shop/orders", "pod-1")
    [info] = found["target_info"].samples
    assert info.value == 1
    assert (info.labels["job"], info.labels["instance"], info.labels["host_name"]) == ("shop/orders", "pod-1", "kappa")
    assert not {"service_name", "service_namespace", "service_instance_id"} & set(info.labels)
    assert not any(name.startswith("otel_scope") for name in info.labels)


async def test_a_resource_is_told_only_while_one_of_its_series_lives(api: Api, store: Store) -> None:
    await send(store, metrics_request("gone", [gauge(**ago(400))], **{"host.name": "a"}))
    await send(store, metrics_request("here", [gauge()], **{"host.name": "b"}))
    for params in ({}, {"name_": "target_info"}, {"match_": '{__name__="target_info"}'}):
        found = await families(api, **params)
        assert [sample.labels["job"] for sample in found["target_info"].samples] == ["here"]
    assert set(await families(api, name_="target_info")) == {"target_info"}


async def test_a_series_lives_five_minutes_after_its_newest_point(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("old", **ago(301)), gauge("young", **ago(295))]))
    found = await families(api)
    assert "young" in found
    assert "old" not in found


async def test_a_point_of_a_time_that_no_partition_has_does_not_make_a_series_live(api: Api, store: Store) -> None:
    long_ago: dict[str, Any] = {"time_unix_nano": 315_532_800_000_000_000}
    await send(store, metrics_request(metrics=[gauge(value=1, **ago(10)), histogram("lives", **ago(10))]))
    await send(store, metrics_request(metrics=[gauge(value=2, **long_ago), histogram("old", **long_ago)]))
    found = await families(api)
    assert [sample.value for sample in found["queue_length"].samples] == [1]
    assert "lives_seconds" in found
    assert "old_seconds" not in found


async def test_the_newest_point_counts_and_of_two_of_one_time_the_first(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge(value=1, **ago(10))]))
    same = ago(5)
    await send(store, metrics_request(metrics=[gauge(value=2, **same)]))
    await send(store, metrics_request(metrics=[gauge(value=3, **same)]))
    await send(store, metrics_request(metrics=[gauge(value=4, **ago(20))]))
    assert [sample.value for sample in (await families(api))["queue_length"].samples] == [2]


async def test_a_series_ends_with_a_point_without_a_recorded_value(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("ends", **ago(5)), gauge("stays")]))
    ending = gauge("ends")
    ending.gauge.data_points[0].CopyFrom(number_point(None, attributes=[], flags=1))
    await send(store, metrics_request(metrics=[ending]))
    found = await families(api)
    assert "stays" in found
    assert "ends" not in found


async def test_deltas_are_left_out(api: Api, store: Store) -> None:
    await send(store, metrics_request())
    assert not {"queue_length", "mail_wait_milliseconds"} & set(await families(api))
    assert await left_out(api) == {"deltas": 2}
    assert await left_out(api, name_=["ares_otel_exposition_left_out_series", "queue_length"]) == {}


async def test_ares_does_not_tell_its_own(api: Api, store: Store) -> None:
    await send(store, metrics_request("ares-api", [gauge("own")]), metrics_request("orders", [gauge("theirs")]))
    found = await families(api)
    assert "theirs" in found
    assert "own" not in found


async def test_series_inserted_by_sql_are_told(api: Api) -> None:
    await api.pool.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value, labels) "
        "VALUES ('billing', 'invoices.sent', 'counter', 4, '{\"country\": \"DE\"}')"
    )
    [sample] = (await families(api))["invoices_sent"].samples
    assert (sample.name, sample.value, sample.labels) == (
        *("invoices_sent_total", 4),
        {"country": "DE", "job": "billing"},
    )


async def test_names_choose_metrics_and_samples(api: Api, store: Store) -> None:
    await send(store, metrics_request())
    assert set(await families(api, name_="process_memory_usage_bytes")) == {"process_memory_usage_bytes"}
    found = await families(api, name_=["http_server_request_duration_seconds_count", "http_server_requests_total"])
    assert set(found) == {"http_server_request_duration_seconds", "http_server_requests"}
    assert set(await families(api, name_="nothing")) == set()


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ('{code="200"}', {"a"}),
        ('{code!="200",__name__=~"a_total|b_total"}', {"b"}),
        ('{code=~"4.."}', {"b"}),
        ('{code!~"4..", code!=""}', {"a"}),
        ("a_total", {"a"}),
        ('a_total{code=~".*0"}', {"a"}),
        ('{"b_total"}', {"b"}),
        ('{__name__=~"[ab]_total"}', {"a", "b"}),
        ('{job="shop"}', {"a", "b", "target_info"}),
    ],
)
async def test_selectors_choose_series_as_in_prometheus(
    api: Api, store: Store, selector: str, expected: set[str]
) -> None:
    metrics = [counter("a", labels={"code": "200"}), counter("b", labels={"code": "404"})]
    await send(store, metrics_request(metrics=metrics))
    assert set(await families(api, match_=selector)) == expected


async def test_of_several_selectors_one_is_enough(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("a"), gauge("b"), gauge("c")]))
    assert set(await families(api, match_=["a", "b"])) == {"a", "b"}


async def test_a_limit_is_kept_and_told(api: Api, store: Store) -> None:
    points = [gauge("many", labels={"n": str(number)}) for number in range(5)]
    await send(store, metrics_request(metrics=points))
    assert len((await families(api, limit=3))["many"].samples) == 3
    assert await left_out(api, limit=3) == {"limit": 1}
    assert await left_out(api, limit=5) == {}


async def test_more_than_one_answer_holds_is_refused(api: Api, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await send(store, metrics_request(metrics=[gauge("a"), gauge("b"), histogram()]))
    monkeypatch.setattr("ares_otel.query.ingested.MAX_SERIES", 2)
    assert "match[]" in check_problem(await ask(api), 422)["detail"]
    assert (await ask(api, name_="a")).status_code == 200
    monkeypatch.setattr("ares_otel.query.ingested.MAX_SERIES", 100)
    monkeypatch.setattr("ares_otel.query.ingested.MAX_BYTES", 300)
    check_problem(await ask(api), 422)


async def test_the_answer_is_what_accept_names_and_compressed_where_that_is_taken(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge()]))
    answer = await ask(api)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert "content-encoding" not in answer.headers
    assert (await ask(api, OPENMETRICS)).text.endswith("# EOF\n")
    async with api.client.stream("GET", PATH, headers={"Accept-Encoding": "gzip"}) as raw:
        assert raw.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join([piece async for piece in raw.aiter_raw()])).decode() == answer.text


async def test_wrong_parameters_are_named(api: Api) -> None:
    check_problem(await ask(api, match_="{}"), 422, "match[]")
    check_problem(await ask(api, match_='{a="b"'), 422, "match[]")
    check_problem(await ask(api, match_='{a=~"("}'), 422, "match[]")
    check_problem(await ask(api, limit=0), 422, "limit")
    check_problem(await ask(api, translation_strategy="Whatever"), 422, "translation_strategy")
    check_problem(await ask(api, unit_table="7"), 422, "unit_table")
    check_problem(await ask(api, ignore_resource_attributes="a"), 422, "ignore_resource_attributes")
    check_problem(await ask(api, unknown="1"), 422, "unknown")


async def test_the_newest_points_are_found_by_the_index_in_the_partitions_of_the_window(api: Api) -> None:
    noon = day(0) + timedelta(hours=12)
    statements = load_statements("live_series.sql")
    for name, table in {"numbers": "metric_samples", "distributions": "metric_distributions"}.items():
        values = {"ids": [uuid4()], "max_bytes": 1000, "lower": noon - STALENESS, "upper": noon}
        values |= {"buckets": True} if name == "distributions" else {}
        text, arguments = statements[name].bind(values)
        async with api.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            rows = await connection.fetch(f"EXPLAIN {text}", *arguments)
        plan = "\n".join(row[0] for row in rows)
        assert plan.count("Index Scan Backward") == 1, plan
        assert f"{table}_{noon:%Y%m%d}_series_id_timestamp_idx" in plan
        assert "Seq Scan" not in plan


async def test_a_large_answer_comes_in_pieces_and_leaves_room_for_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More series than a page, and an answer to somebody else before the end."""
    monkeypatch.setattr("ares_otel.query.live_series.PAGE", 50)
    await api.pool.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value, labels) "
        "SELECT 'many', 'n', 'gauge', n, jsonb_build_object('n', n) FROM generate_series(1, 333) AS n"
    )
    order: list[str] = []

    async def one(path: str) -> None:
        assert (await api.client.get(path)).status_code == 200
        order.append(path)

    async with asyncio.TaskGroup() as group:
        group.create_task(one(PATH))
        group.create_task(one("/healthz"))
    assert order == ["/healthz", PATH]
    assert sorted(sample.value for sample in (await families(api))["n"].samples) == list(range(1, 334))


async def test_only_a_few_answers_are_made_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares_otel.api.routers.prometheus.TURN_SECONDS", 0.05)
    async with (
        api.pool.acquire() as connection,
        asyncio.TaskGroup() as group,
        connection.transaction(),
    ):
        await connection.execute("LOCK TABLE metric_series")
        first = [group.create_task(ask(api)) for _ in range(2)]

        async def both_wait() -> bool:
            waiting: int = await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'metric_series'::regclass"
            )
            return waiting == 2

        await eventually(both_wait, every=0.02)
        assert "try again" in check_problem(await ask(api), 503)["detail"]
    assert [task.result().status_code for task in first] == [200, 200]
    assert (await ask(api)).status_code == 200


async def test_without_the_database_it_is_503() -> None:
    async with running_api("postgresql://ares@127.0.0.1:1/none") as away:
        check_problem(await ask(away), 503)
