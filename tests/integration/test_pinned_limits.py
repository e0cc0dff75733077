"""How much may be pinned is a setting."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from ares_otel.query import pinned
from ares_otel.query.pinned import PinRefused, pin_trace, unpin_trace
from tests.support.stored_rows import insert_span


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as made:
        yield made


async def set_ares(sql: asyncpg.Connection, key: str, value: str) -> None:
    await sql.execute(
        "INSERT INTO service_config (service_name, config_key, config_value) VALUES ('ares-api', $1, $2::jsonb) "
        "ON CONFLICT (service_name, config_key) DO UPDATE SET config_value = excluded.config_value",
        key,
        value,
    )


async def test_no_more_traces_and_bytes_are_pinned_than_the_settings_say(
    pool: asyncpg.Pool, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [UUID(int=n) for n in range(1, 5)]
    for id_ in ids:
        await insert_span(sql, 1, trace_id=id_, attributes={"text": os.urandom(2_500).hex()})
    await set_ares(sql, "retention.pinned.max_bytes", "12000")
    for id_ in ids[:2]:
        assert await pin_trace(pool, id_, None)
    with pytest.raises(PinRefused, match=r"no more than 12,000 may be; .* raise retention.pinned.max_bytes"):
        await pin_trace(pool, ids[2], None)
    assert await pin_trace(pool, ids[0], None), "what is pinned stays so"
    await unpin_trace(pool, ids[0])
    assert await pin_trace(pool, ids[2], None)
    await set_ares(sql, "retention.pinned.max_bytes", "100000")
    await set_ares(sql, "retention.pinned.max_traces", "2")
    with pytest.raises(PinRefused, match=r"no more than 2 may be; unpin some, or raise retention.pinned.max_traces"):
        await pin_trace(pool, ids[3], None)
    await set_ares(sql, "retention.pinned.max_traces", '"many"')
    monkeypatch.setattr(pinned, "MAX_ROWS", 0)
    with pytest.raises(PinRefused, match="more than 0 spans and log records"):
        await pin_trace(pool, ids[3], None)
