"""The index of stored series under Prometheus's names: complete at each read, made anew by other rules, cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, Sum

from ares_otel.query.prometheus import index, indexing
from ares_otel.query.prometheus.index_job import SeriesIndex
from ares_otel.query.prometheus.indexing import catch_up
from ares_otel.query.prometheus.patience import Patience
from ares_otel.query.prometheus.translation import VERSION
from ares_otel.query.reader import QueryTooSlow, Reader, reading
from ares_otel.query.statements import load_statements
from ares_otel.storage.store import Store
from tests.support.ingested import counter, gauge, histogram, send
from tests.support.otlp_samples import DELTA, metrics_request, number_point
from tests.support.selected import chosen, named


@pytest.fixture
async def pool(emptied_database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(emptied_database_url, min_size=1, max_size=6) as made:
        await made.execute("UPDATE prometheus_index SET version = $1", VERSION)
        yield made
        await made.execute("UPDATE prometheus_index SET translation = '{}', revision = revision + 1")


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


class Observed:
    """What the job says."""

    def __init__(self) -> None:
        self.counts: Mapping[str, int] = {}
        self.by_job = 0

    def series(self, counts: Mapping[str, int]) -> None:
        self.counts = counts

    def translated(self, series: int) -> None:
        self.by_job += series

    def failed(self) -> None:
        raise AssertionError("the job failed")


async def run_job(pool: asyncpg.Pool, store: Store, **options: Any) -> Observed:
    """One whole round under options."""
    seen = Observed()
    assert await SeriesIndex(store.connect, options=lambda: options, observer=seen).run()
    return seen


async def test_the_next_read_finds_what_was_acknowledged_before_it(pool: asyncpg.Pool, store: Store) -> None:
    for number in range(3):
        await send(store, metrics_request(metrics=[gauge(f"new.{number}")]))
        found = await chosen(pool, f"new_{number}")
        assert len(found.labels) == 1


async def test_a_series_of_a_transaction_that_took_long_is_found(pool: asyncpg.Pool, store: Store) -> None:
    """It was first seen, by its own clock, long before others were that are committed and indexed already."""
    async with pool.acquire() as slow, pool.acquire() as quick:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "INSERT INTO metric_series (series_id, service_name, metric_name, metric_type) "
            "VALUES (gen_random_uuid(), 'slow', 'slow.one', 'gauge')"
        )
        await quick.execute("UPDATE prometheus_index SET checked_until = now() - interval '2 minutes'")
        await send(store, metrics_request(metrics=[gauge("quick.one")]))
        async with reading(pool) as reader:
            await catch_up(reader)
        began = await slow.fetchval("SELECT now()")
        assert await pool.fetchval("SELECT checked_until FROM prometheus_index") <= began
        await transaction.commit()
    async with reading(pool) as reader:
        await catch_up(reader)
    assert await pool.fetchval("SELECT count(*) FROM prometheus_series WHERE part = 'value'") == 2


async def test_processes_that_index_the_same_series_at_once_agree(
    pool: asyncpg.Pool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PAGE", 7)
    monkeypatch.setattr(indexing, "_turn", lambda _: contextlib.nullcontext())  # each is a process of its own
    points = [gauge("many", labels={"n": str(number), "same": "x"}) for number in range(60)]
    await send(store, metrics_request(metrics=points))

    async def one() -> None:
        async with reading(pool) as reader:
            await catch_up(reader)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(one())
    assert len((await chosen(pool, 'many{same="x"}')).labels) == 60
    doubled = "SELECT count(*) - count(DISTINCT (name, value)) FROM prometheus_labels"
    assert await pool.fetchval(doubled) == 0


async def test_a_read_says_that_it_cannot_wait_for_all_of_very_many_series(
    pool: asyncpg.Pool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(indexing, "PAGE", 20)
    points = [gauge("many", labels={"n": str(number)}) for number in range(50)]
    await send(store, metrics_request(metrics=points))
    for _ in range(2):
        with pytest.raises(indexing.IndexBehind, match="try again"):
            await chosen(pool, "many")
    assert len((await chosen(pool, "many")).labels) == 50
    await pool.execute("DELETE FROM prometheus_series; UPDATE prometheus_index SET checked_until = '-infinity'")
    await run_job(pool, store)
    assert len((await chosen(pool, "many")).labels) == 50


async def test_reads_of_a_process_wait_for_the_one_that_indexes_and_for_the_next_when_it_is_given_up(
    pool: asyncpg.Pool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(store, metrics_request(metrics=[gauge("many", labels={"n": str(number)}) for number in range(50)]))
    begun, go_on, original = asyncio.Event(), asyncio.Event(), indexing.store
    indexed: list[UUID] = []

    async def slow(reader: Reader, ids: Sequence[UUID], state: indexing.State) -> None:
        begun.set()
        await go_on.wait()
        await original(reader, ids, state)
        indexed.extend(ids)

    monkeypatch.setattr(indexing, "WAIT_SECONDS", 60.0)
    monkeypatch.setattr(indexing, "store", slow)
    first = asyncio.create_task(chosen(pool, "many"))
    await begun.wait()
    begun.clear()
    others = [asyncio.create_task(chosen(pool, "many")) for _ in range(2)]
    first.cancel()
    await begun.wait()
    go_on.set()
    assert [len((await other).labels) for other in others] == [50, 50]
    assert len(indexed) == 50


async def test_a_read_waits_for_the_job_only_so_long(
    pool: asyncpg.Pool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(store, metrics_request(metrics=[gauge("one")]))
    begun, go_on, original = asyncio.Event(), asyncio.Event(), indexing.store

    async def slow(reader: Reader, ids: Sequence[UUID], state: indexing.State) -> None:
        begun.set()
        await go_on.wait()
        await original(reader, ids, state)

    monkeypatch.setattr(indexing, "store", slow)
    job = asyncio.create_task(run_job(pool, store))
    await begun.wait()
    monkeypatch.setattr(indexing, "WAIT_SECONDS", 0.01)
    with pytest.raises(indexing.IndexBehind, match="try again"):
        await chosen(pool, "one")
    go_on.set()
    await job
    assert len((await chosen(pool, "one")).labels) == 1


async def test_what_has_no_form_in_prometheus_is_counted_and_not_tried_again(pool: asyncpg.Pool, store: Store) -> None:
    delta = Metric(
        name="delta", sum=Sum(data_points=[number_point()], aggregation_temporality=DELTA, is_monotonic=False)
    )
    await send(store, metrics_request(metrics=[gauge("___"), gauge("fine", labels={"long": "x" * 70_000}), delta]))
    assert not (await chosen(pool, '{__name__=~".+",__name__!="target_info"}')).labels
    async with reading(pool) as reader:
        [state] = await reader.fetch(indexing.STATEMENTS["state"], lag=indexing.BEHIND)
    assert not state["missing"]
    seen = await run_job(pool, store)
    assert seen.counts["untranslatable"] == 2
    assert seen.counts["deltas"] == 1
    assert seen.by_job == 0


async def test_other_rules_name_series_anew(pool: asyncpg.Pool, store: Store) -> None:
    attributes = {"service.instance.id": "i", "host.name": "kappa"}
    await send(store, metrics_request("orders", [counter("disk.io", unit="By"), histogram()], **attributes))
    assert "disk_io_bytes_total" in await names(pool)
    before = await pool.fetchval("SELECT revision FROM prometheus_index")
    await run_job(pool, store, translation_strategy="NoTranslation", promote_resource_attributes=["host.name"])
    assert await pool.fetchval("SELECT revision FROM prometheus_index") == before + 1
    assert {"disk.io", "http.server.request.duration_bucket", "target_info"} <= set(await names(pool))
    assert len((await chosen(pool, '{"disk.io","host.name"="kappa"}')).labels) == 1
    assert len((await chosen(pool, '{"target_info","host.name"="kappa"}')).labels) == 1
    assert not (await chosen(pool, "disk_io_bytes_total")).labels
    await send(store, metrics_request("orders", [gauge("new.one")], **attributes))
    assert len((await chosen(pool, '{"new.one"}')).labels) == 1
    again = await run_job(pool, store, translation_strategy="NoTranslation", promote_resource_attributes=["host.name"])
    assert again.by_job == 0
    assert await pool.fetchval("SELECT count(DISTINCT revision) FROM prometheus_series") == 1
    assert not await pool.fetchval("SELECT count(*) FROM prometheus_labels WHERE value = 'disk_io_bytes_total'")


async def test_options_that_exclude_each_other_change_nothing(pool: asyncpg.Pool, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("some.thing")]))
    await run_job(pool, store, translation_strategy="NoTranslation")
    await run_job(pool, store, promote_all_resource_attributes=True, promote_resource_attributes=["a"])
    assert "some.thing" in await names(pool)


async def test_what_telemetry_no_longer_has_leaves_with_its_labels(pool: asyncpg.Pool, store: Store) -> None:
    await send(store, metrics_request("gone", [gauge("old", labels={"only": "here"})], **{"host.name": "a"}))
    await send(store, metrics_request("stays", [gauge("young")], **{"host.name": "b"}))
    assert {"old", "young", "target_info"} <= set(await names(pool))
    await pool.execute("DELETE FROM metric_series WHERE metric_name = 'old'")
    await pool.execute("DELETE FROM otel_resources WHERE service_name = 'gone'")
    await run_job(pool, store)
    rows = await pool.fetch("SELECT name, value FROM prometheus_labels")
    assert {row["value"] for row in rows if row["name"] == "job"} == {"", "stays"}
    assert not [row for row in rows if row["name"] == "only"]
    assert await pool.fetchval("SELECT count(*) FROM prometheus_series") == 2


async def test_the_job_finds_what_reads_passed_over(pool: asyncpg.Pool, store: Store) -> None:
    """A transaction of another role, which may have been invisible."""
    await send(store, metrics_request(metrics=[gauge("late")]))
    await pool.execute("UPDATE prometheus_index SET checked_until = now()")
    await pool.execute("UPDATE metric_series SET first_seen = now() - interval '1 day'")
    assert not (await chosen(pool, "late")).labels
    assert (await run_job(pool, store)).by_job == 1
    assert (await chosen(pool, "late")).labels


async def test_matchers_are_answered_by_the_index(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO prometheus_series (series_id, part, kind, label_ids, first_seen, revision, verbatim) "
        "SELECT gen_random_uuid(), 'value', 'gauge', ARRAY[1 + n % 2000, 5000 + n], now(), 0, false "
        "FROM generate_series(1, 20000) AS n"
    )
    await pool.execute("ANALYZE prometheus_series")
    statement = load_statements("prometheus_select.sql")["series"]
    nothing = dict.fromkeys(statement.parameters)
    for values in ({"all_of": [1, 2], "none_of": [3]}, {"all_of": [1], "any_of_a": [1, 2]}):
        text, arguments = statement.bind({**nothing, **values})
        plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {text}", *arguments))
        assert "prometheus_series_labels_idx" in plan, plan


async def names(pool: asyncpg.Pool) -> list[str]:
    return [key.partition("{")[0] for key in named(await chosen(pool, '{__name__=~".+"}'))]


@pytest.mark.parametrize(
    "selectors",
    [['{v=~".*x.*y"}'], ['{v=~".*x.*y",nosuch="1"}', '{__name__="slow"}'], ['{v=~".*x.*y",le!="1"}']],
    ids=["tried on values", "tried on what another selector found", "beside a label of points"],
)
async def test_matchers_are_not_tried_for_ever(
    pool: asyncpg.Pool, store: Store, monkeypatch: pytest.MonkeyPatch, selectors: list[str]
) -> None:
    """Whoever asks chooses how slow an expression is, and who writes chooses how long the texts are."""
    await send(store, metrics_request(metrics=[gauge("slow", labels={"v": "a text"})]))
    assert await chosen(pool, *selectors) is not None
    monkeypatch.setattr(index, "Patience", lambda: Patience(0))
    with pytest.raises(QueryTooSlow, match="shorter"):
        await chosen(pool, *selectors)
