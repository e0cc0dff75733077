"""Retention, archive, sealing and merging of roll-ups behind PgBouncer, where a session is nobody's own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from ares_otel.storage.database import asyncpg_kwargs, check_database
from ares_otel.storage.migrate import migrate
from ares_otel.storage.partitions import ensure_partitions
from ares_otel.storage.partitions.lock import RETENTION, exclusive
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.rollups.job import LOCK
from tests.support.debian_postgres import debian_server, needs_debian_postgres, needs_pgbouncer, pgbouncer
from tests.support.partitions import Keeper, make_partition, name_of, names
from tests.support.rollups import run_once

pytestmark = [needs_debian_postgres, needs_pgbouncer]


async def test_the_jobs_work_through_a_pooler_of_transactions_and_leave_no_lock_in_it(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with debian_server() as server, pgbouncer(server) as url:
        options = asyncpg_kwargs(await check_database(url))

        async def connect() -> asyncpg.Connection:
            return await asyncpg.connect(url, **options)

        sql = await asyncpg.connect(server.url)
        await migrate(sql)
        await ensure_partitions(sql)
        old = await make_partition(sql, "service_logs", 40, rows=3)
        settings = RetentionSettings(archive_directory=str(tmp_path))
        keeper = Keeper(server.url, settings, connect=connect, pooled=True, settle=timedelta(0))

        assert await keeper.run()
        assert await keeper.seal(grace_hours=0)
        assert keeper.counted.failures == []
        assert old.name not in await names(sql)
        assert (tmp_path / f"{old.name}.parquet").exists()
        assert len(keeper.counted.seals) == 8
        sealed = await sql.fetchval(
            "SELECT count(*) FROM pg_index WHERE indrelid = $1::regclass", name_of("service_logs", 1)
        )
        assert sealed == 5

        async with exclusive(connect, RETENTION, pooled=True) as held:
            assert held is not None
            assert not await keeper.run(), "one at a time, also here"
        assert await keeper.run()

        await sql.execute(
            "INSERT INTO span_rollup_increments VALUES (0, date_trunc('minute', now()), 'a', 'b', 'server', 2, 1, "
            "30, 20, '{212,276}', '{1,1}')"
        )
        assert await run_once(connect, pooled=True)
        async with exclusive(connect, LOCK, pooled=True) as held:
            assert held is not None
            assert not await run_once(connect, pooled=True)
        assert await sql.fetchval("SELECT calls FROM operations_last_hour") == 2
        assert await sql.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        await sql.close()
