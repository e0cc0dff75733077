"""Span metrics behind the real store: the sum of all deltas is what is stored, whatever the database and senders do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from ares_otel.connectors.spanmetrics import connector as spanmetrics
from ares_otel.exporters.postgres import exporter as postgres
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Retryable
from ares_otel.model.signal import TRACES
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.graph import Parts
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.load import load_bytes
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.otlp_samples import span, trace_request
from tests.support.spooling import Place, batch
from tests.support.toys import TOYS, ToyReceiver, World

CONFIG = b"""
receivers: {toy: }
connectors:
  spanmetrics:
    aggregation_temporality: AGGREGATION_TEMPORALITY_DELTA
    metrics_flush_interval: 100ms
    histogram: {exponential: }
exporters: {postgres: }
service:
  pipelines:
    traces: {receivers: [toy], exporters: [postgres, spanmetrics]}
    metrics: {receivers: [spanmetrics], exporters: [postgres]}
"""
TABLES = ("service_spans", "metric_samples", "metric_distributions")


@asynccontextmanager
async def running(store: Store) -> AsyncIterator[ToyReceiver]:
    """A pipeline with the connector in front of the store; at the end it has handed on everything."""
    world = World()
    parts = Parts(world.telemetry, world.parts().admission, services={World: world, Store: store})
    host = PipelineHost(parts, grace=Grace(20))
    await host.replace(load_bytes(CONFIG, "test.yaml", (*TOYS, postgres.FACTORY, spanmetrics.FACTORY), {}))
    try:
        yield world.receivers["toy"]
    finally:
        await host.stop()


async def counted(sql: asyncpg.Connection) -> tuple[int, int]:
    """All deltas together: calls, and durations."""
    return (
        int(await sql.fetchval("SELECT coalesce(sum(value_int), 0) FROM metric_samples")),
        int(await sql.fetchval("SELECT coalesce(sum(count), 0) FROM metric_distributions")),
    )


def batches(count: int) -> list[Batch]:
    return [batch(TRACES, trace_request(spans=3)) for _ in range(count)]


async def test_what_goes_through_the_spool_is_counted_once_and_so_is_what_was_made_of_it(place: Place) -> None:
    sent = batches(10)
    async with place.store() as store:
        async with running(store) as toy:
            for table in TABLES:
                await place.refuse(table)
            for one in (*sent[:5], *sent[:5]):
                await toy.send(one)
            assert store.spool is not None
            spool = store.spool
            await eventually(lambda: asyncio.sleep(0, spool.waiting(TRACES).items == 15), every=0.02)
            for table in TABLES:
                await place.take(table)
            for one in sent:
                await toy.send(one)
        await place.empty(store)
    assert await place.count() == 30
    assert await counted(place.sql) == (30, 30)


async def test_without_a_spool_nothing_is_counted_until_it_is_stored_and_deltas_wait(
    store: Store, sql: asyncpg.Connection, database_url: str, tmp_path: Path
) -> None:
    place = Place(database_url, sql, tmp_path)
    sent = batches(6)
    async with running(store) as toy:
        for one in sent[:3]:
            await toy.send(one)
        for table in TABLES:
            await place.refuse(table)
        for one in sent[3:]:
            with pytest.raises(Retryable):
                await toy.send(one)
        for table in TABLES:
            await place.take(table)

        async def taken() -> bool:
            try:
                return all([await toy.send(one) for one in sent])
            except Retryable:
                return False

        await eventually(taken, every=0.05)
    assert await place.count() == 18
    assert await counted(sql) == (18, 18)


async def test_a_request_whose_sender_went_away_while_it_was_committed_is_counted_once(
    store: Store, sql: asyncpg.Connection
) -> None:
    (one,) = batches(1)
    async with running(store) as toy:
        async with sql.transaction():
            await sql.execute("LOCK TABLE service_spans IN SHARE MODE")
            sending = asyncio.create_task(toy.send(one))
            waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'service_spans'::regclass"
            await eventually(lambda: sql.fetchval(waiting), every=0.02)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert await toy.send(one) == Accepted(deduplicated=3)
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 3
    assert await counted(sql) == (3, 3)


async def test_of_a_request_that_is_stored_in_part_that_part_is_counted(store: Store, sql: asyncpg.Connection) -> None:
    request = trace_request(spans=[span(), span(trace_id=bytes(16)), span(span_id=b"abc"), span()])
    async with running(store) as toy:
        answer = await toy.send(batch(TRACES, request))
        assert (answer.stored, answer.rejected) == (2, 2)
    assert await counted(sql) == (2, 2)


async def test_senders_that_repeat_give_up_and_come_at_once_are_counted_as_they_are_stored(
    store: Store, sql: asyncpg.Connection
) -> None:
    chance = random.Random(36)
    sent = batches(60)

    async def sender(toy: ToyReceiver) -> None:
        for _ in range(40):
            sending = asyncio.create_task(toy.send(chance.choice(sent)))
            if chance.random() < 0.4:
                await asyncio.sleep(chance.choice((0, 0.001, 0.003)))
                sending.cancel()
            await asyncio.wait({sending})
            assert sending.cancelled() or not sending.exception()

    async with running(store) as toy:
        await asyncio.gather(*(sender(toy) for _ in range(6)))
    stored = await sql.fetchval("SELECT count(*) FROM service_spans")
    assert stored > 100
    assert await counted(sql) == (stored, stored)
