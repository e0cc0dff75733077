"""The exporters into PostgreSQL while the database is away, silent, slow or full, behind a real proxy."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import asyncpg
import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from ares_otel.sdk.direct import session, voice, worker
from ares_otel.sdk.direct.database import DirectStore
from ares_otel.storage.store import Store
from tests.faults.support.pg_proxy import AtCommit, Proxy, proxy
from tests.support.eventually import eventually
from tests.support.sdk_application import Application, application, some_spans

LOGGER = "ares_otel.sdk.direct"
AWAY = "postgresql://nobody@127.0.0.1:1/nothing"
"""A port on which nobody listens."""


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(session, "LONGEST_DELAY", 0.1)


@pytest.fixture
def way(database_url: str) -> Iterator[Proxy]:
    """What the application takes for the database."""
    with proxy(database_url) as made:
        yield made


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


async def test_what_waits_while_the_database_is_away_is_stored_once_it_is_back(
    way: Proxy, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    way.away()
    with application(way.url) as app:
        app.work()
        assert not app.flush(200)
        await eventually(lambda: asyncio.sleep(0, said(caplog)), every=0.02)
        assert [exporter.stats().waiting for exporter in app.exporters] == [1, 1, 1]
        way.back()
        assert await asyncio.to_thread(app.flush)
        assert [exporter.stats().waiting for exporter in app.exporters] == [0, 0, 0]
        assert [exporter.stats().dropped for exporter in app.exporters] == [{}, {}, {}]
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 1
    away, back = said(caplog)
    assert away.startswith("Telemetry cannot be stored now, and is kept for a while and tried again: ")
    assert "database_url (ARES_OTEL_DATABASE_URL)" in away
    assert back.startswith("Telemetry is stored again, after ")


@pytest.mark.parametrize("what", [AtCommit.CUT_BEFORE, AtCommit.CUT_AFTER])
async def test_a_batch_whose_commit_was_cut_is_stored_once(way: Proxy, sql: asyncpg.Connection, what: AtCommit) -> None:
    with application(way.url) as app:
        way.at_next_commit(what)
        app.spans.export(some_spans(app, 5, attribute="fault.run"))
        assert await asyncio.to_thread(app.spans.force_flush, 20_000)
        assert way.caught == 1
        assert (app.spans.stats().stored, app.spans.stats().dropped) == (5, {})
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 5
    assert await sql.fetchval("SELECT count(*) FROM ingest_receipts") == 1


async def test_connections_that_are_cut_again_and_again_lose_and_double_nothing(
    way: Proxy, sql: asyncpg.Connection
) -> None:
    with application(way.url) as app:
        for _ in range(8):
            app.work()
            app.hand_over()
            way.cut()
        assert await asyncio.to_thread(app.flush)
        assert app.spans.stats().stored == 8
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 8
    assert await sql.fetchval("SELECT count(*) FROM service_logs") == 8


def test_a_full_queue_drops_the_new_counts_it_and_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    with application(AWAY, queue_items=10) as app:
        assert app.spans.export(some_spans(app, 10)) is SpanExportResult.SUCCESS
        for _ in range(20):
            assert app.spans.export(some_spans(app, 1)) is SpanExportResult.FAILURE
        stats = app.spans.stats()
        assert (stats.exported, stats.waiting, stats.dropped) == (30, 10, {"queue_full": 20})
        assert stats.exported == stats.stored + stats.rejected + sum(stats.dropped.values()) + stats.waiting
    drops = [sentence for sentence in said(caplog) if sentence.startswith("Dropped")]
    assert len(drops) <= 2, "one of the first, one of the rest at the end"
    assert sum(int(sentence.split()[1]) for sentence in drops) == 30
    assert "ARES_OTEL_SDK_QUEUE_MIB" in "".join(drops)


def test_the_queue_is_bounded_in_bytes(caplog: pytest.LogCaptureFixture) -> None:
    with application(AWAY, queue_mib=0.5) as app:
        results = [app.spans.export(some_spans(app, 1, "x" * 200_000)) for _ in range(4)]
        assert results == [SpanExportResult.SUCCESS] * 2 + [SpanExportResult.FAILURE] * 2
        assert 400_000 < app.spans.stats().waiting_bytes <= 0.5 * 1024 * 1024


def test_what_waits_too_long_is_given_up_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with application(AWAY, retry_seconds=0.2) as app:
        app.spans.export(some_spans(app, 7))
        assert not app.spans.force_flush(20_000), "it returns when they are dropped"
        assert app.spans.stats().dropped == {"expired": 7}
        assert app.spans.stats().waiting == 0
    assert any("ARES_OTEL_SDK_RETRY_SECONDS" in sentence for sentence in said(caplog))


def test_drops_are_said_again_after_the_interval(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "INTERVAL", 0.1)
    with application(AWAY, queue_items=1) as app:
        app.spans.export(some_spans(app, 1))
        while len([sentence for sentence in said(caplog) if sentence.startswith("Dropped")]) < 3:
            app.spans.export(some_spans(app, 1))


def _silent(app: Application, way: Proxy) -> None:
    """The application has its connections, and then nobody answers any more."""
    app.work()
    assert app.flush()
    way.black_hole = True
    app.work()
    app.hand_over()


async def test_flush_and_shutdown_honour_their_time_outs_with_a_silent_server(way: Proxy) -> None:
    with application(way.url, shutdown_seconds=0.3) as app:
        await asyncio.to_thread(_silent, app, way)
        assert not app.spans.force_flush(50)
        started = time.monotonic()
        await asyncio.to_thread(app.shutdown)
        assert time.monotonic() - started < 8, "the writer would have waited that long for an answer"
        assert [sum(exporter.stats().dropped.values()) for exporter in app.exporters][:2] == [1, 1]
        way.back()


async def test_a_server_that_never_answered_does_not_hold_up_the_end_for_each_exporter(
    way: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.black_hole = True
    with application(way.url, shutdown_seconds=100) as app:
        app.work()
        app.hand_over()
        monkeypatch.setattr(worker, "IMPATIENCE", 0.01)
        app.spans.shutdown(100)  # milliseconds
        await asyncio.to_thread(app.shutdown)  # would take minutes
        assert [exporter.stats().dropped for exporter in app.exporters[:2]] == [{"shutdown": 1}] * 2
        way.back()


async def test_a_connection_that_comes_while_the_others_are_cut_is_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[asyncpg.Connection] = []
    connect = Store.connect

    async def connect_and_cut(self: DirectStore) -> asyncpg.Connection:
        made.append(await connect(self))
        self.cut_off()
        return made[0]

    monkeypatch.setattr(Store, "connect", connect_and_cut)
    store = DirectStore(database_url, {}, makes_partitions=False)
    with pytest.raises(OSError, match="The process ends"):
        await store.connect()
    assert made[0].is_closed()
    await store.stop()


def test_shutdown_does_not_wait_for_the_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the SDK's batch processor, whose shutdown waits half a minute for an exporter."""
    monkeypatch.setattr(session, "FIRST_DELAY", 3600.0)
    monkeypatch.setattr(session, "LONGEST_DELAY", 3600.0)
    with application(AWAY, shutdown_seconds=100) as app:
        app.work()
        assert not app.flush(100)
    assert app.spans.stats().dropped == {"shutdown": 1}


def test_export_does_not_wait_and_does_not_raise_whatever_the_database_is() -> None:
    for url in (AWAY, "mysql://x@y/z", "postgresql://a:b@c@d/e", "postgresql://x@no.such.host.invalid/db"):
        with application(url) as app:
            assert app.spans.export(some_spans(app)) is SpanExportResult.SUCCESS
            assert app.spans.stats().waiting == 1


async def test_storage_is_quiet_in_an_application(way: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), application(way.url) as app:
        app.work()
        assert await asyncio.to_thread(app.flush)
        way.away()
        app.work()
        assert not await asyncio.to_thread(app.flush, 200)
    assert [record.name for record in caplog.records if record.name.startswith("ares_otel.storage")] == []
