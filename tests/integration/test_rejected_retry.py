"""What was refused is stored after all, or stays: never lost, never doubled, one row whatever happens between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Retryable
from ares_otel.storage.rejected_retry import RETRY_KEY, Outcome, Retried, interrupted_rows, retry_key, retry_row
from ares_otel.storage.store import Store
from tests.support.otlp_samples import any_value, log_record, logs_request
from tests.support.poison import POISON, refuse_poison, take_poison
from tests.support.rejected import insert_rejected

pytestmark = pytest.mark.every_server


async def counts(sql: asyncpg.Connection) -> tuple[int, int]:
    """Stored log records, and rows of `ingest_rejected`."""
    return (
        await sql.fetchval("SELECT count(*) FROM service_logs"),
        await sql.fetchval("SELECT count(*) FROM ingest_rejected"),
    )


def records(*texts: str) -> Any:
    """A request with a log record for each text."""
    return logs_request(records=[log_record(body=any_value(text)) for text in texts])


async def test_what_is_stored_leaves_the_list_and_keeps_its_receive_time(sql: asyncpg.Connection, store: Store) -> None:
    received_at = datetime.now(UTC).replace(microsecond=123456) - timedelta(hours=2)
    row = await insert_rejected(sql, logs_request(records=3), received_at=received_at)
    assert await retry_row(sql, store, row) == Retried(Outcome.STORED, 3)
    assert await retry_row(sql, store, row) == Retried(Outcome.GONE)
    assert await counts(sql) == (3, 0)
    assert await sql.fetchval("SELECT DISTINCT received_at FROM service_logs") == received_at


async def test_what_is_refused_again_stays_as_one_row_with_its_id_its_age_and_what_was_told(
    sql: asyncpg.Connection, store: Store
) -> None:
    await refuse_poison(sql)
    rejected_at = datetime.now(UTC) - timedelta(days=3)
    row = await insert_rejected(sql, records(POISON), told=False, rejected_at=rejected_at, reason="first")
    for _ in range(3):
        retried = await retry_row(sql, store, row)
        assert (retried.outcome, retried.stored, retried.refused) == (Outcome.REFUSED, 0, 1)
        assert "no_poison" in retried.reason
        kept = await sql.fetch("SELECT id, told, rejected_at, reason FROM ingest_rejected")
        assert [tuple(one) for one in kept] == [(row, False, rejected_at, retried.reason)]
    await take_poison(sql)
    assert await retry_row(sql, store, row) == Retried(Outcome.STORED, 1)
    assert await counts(sql) == (1, 0)


async def test_of_a_row_with_many_items_only_the_refused_ones_stay(sql: asyncpg.Connection, store: Store) -> None:
    await refuse_poison(sql)
    row = await insert_rejected(sql, records("a", POISON, "b", POISON, "c"))
    retried = await retry_row(sql, store, row)
    assert (retried.outcome, retried.stored, retried.refused) == (Outcome.REFUSED, 3, 2)
    kept = await sql.fetch("SELECT id, items FROM ingest_rejected ORDER BY id")
    assert [one["items"] for one in kept] == [1, 1]
    assert kept[0]["id"] == row
    await take_poison(sql)
    for one in kept:
        assert await retry_row(sql, store, one["id"]) == Retried(Outcome.STORED, 1)
    assert await counts(sql) == (5, 0)


async def test_an_item_that_the_encoder_refuses_stays_in_its_row(sql: asyncpg.Connection, store: Store) -> None:
    request = logs_request(records=[log_record(trace_id=b"short")])
    row = await insert_rejected(sql, request)
    for _ in range(2):
        retried = await retry_row(sql, store, row)
        assert (retried.outcome, retried.refused) == (Outcome.REFUSED, 1)
        assert "trace_id" in retried.reason
    assert await counts(sql) == (0, 1)


async def test_invalid_items_that_the_row_never_counted_do_not_keep_it(sql: asyncpg.Connection, store: Store) -> None:
    """A request that came from the spool is set aside whole, with the items that its sender was told are invalid."""
    request = logs_request(records=[log_record(trace_id=b"short"), log_record()])
    row = await insert_rejected(sql, request, items=1, told=False)
    assert await retry_row(sql, store, row) == Retried(Outcome.STORED, 1)
    assert await counts(sql) == (1, 0)


class Killed(Exception):
    """The process ends here."""


class KilledAfterStoring:
    """A store whose process does not live to hear the answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def consume(self, batch: Batch) -> Accepted:
        await self._store.consume(batch)
        raise Killed


async def test_an_end_between_storing_and_removing_neither_loses_nor_doubles(
    sql: asyncpg.Connection, store: Store
) -> None:
    row = await insert_rejected(sql, logs_request(records=2))
    with pytest.raises(Killed):
        await retry_row(sql, KilledAfterStoring(store), row)
    assert await counts(sql) == (2, 1)
    assert await interrupted_rows(sql) == []
    assert await retry_row(sql, store, row) == Retried(Outcome.STORED, 2)
    assert await counts(sql) == (2, 0)


async def test_an_end_after_a_second_refusal_leaves_two_rows_that_become_one(
    sql: asyncpg.Connection, store: Store
) -> None:
    await refuse_poison(sql)
    other = await insert_rejected(sql)
    row = await insert_rejected(sql, records(POISON, "fine"))
    with pytest.raises(Killed):
        await retry_row(sql, KilledAfterStoring(store), row)
    assert await counts(sql) == (1, 3)
    assert await interrupted_rows(sql) == [row]
    retried = await retry_row(sql, store, row)
    assert (retried.outcome, retried.stored, retried.refused) == (Outcome.REFUSED, 1, 1)
    assert {one["id"] for one in await sql.fetch("SELECT id FROM ingest_rejected")} == {other, row}
    assert await interrupted_rows(sql) == []
    await take_poison(sql)
    assert await retry_row(sql, store, row) == Retried(Outcome.STORED, 1)
    assert await counts(sql) == (2, 1)


async def test_two_people_do_not_try_the_same_row_at_once(
    sql: asyncpg.Connection, store: Store, database_url: str
) -> None:
    row = await insert_rejected(sql)
    other = await asyncpg.connect(database_url)

    class Meanwhile:
        async def consume(self, batch: Batch) -> Accepted:
            assert await retry_row(other, store, row) == Retried(Outcome.GONE)
            return await store.consume(batch)

    assert await retry_row(sql, Meanwhile(), row) == Retried(Outcome.STORED, 1)
    await other.close()
    assert await counts(sql) == (1, 0)


async def test_while_the_database_cannot_store_the_row_is_as_it_was(sql: asyncpg.Connection) -> None:
    class Away:
        async def consume(self, batch: Batch) -> Accepted:
            raise Retryable

    row = await insert_rejected(sql)
    with pytest.raises(Retryable):
        await retry_row(sql, Away(), row)
    assert await counts(sql) == (0, 1)


async def test_the_key_of_a_retry_is_the_same_in_sql(sql: asyncpg.Connection) -> None:
    row = await insert_rejected(sql, key=bytes(range(16)))
    key = retry_key(bytes(range(16)), row)
    assert len(key) == 16
    assert await sql.fetchval(f"SELECT {RETRY_KEY} FROM ingest_rejected") == key
    assert key != retry_key(bytes(range(16)), row + 1)
    assert key != retry_key(bytes(16), row)
