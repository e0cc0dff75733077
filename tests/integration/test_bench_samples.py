"""What the benchmarks ask about is drawn from what is stored, however little that is."""

from __future__ import annotations

import asyncpg
import pytest

from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.questions import some_spans
from tests.support.stored_rows import insert_span


async def test_a_draw_that_hits_no_page_is_made_again(sql: asyncpg.Connection) -> None:
    with pytest.raises(BenchError, match="no spans"):
        await some_spans(sql, 1e-6)
    await insert_span(sql, 1)
    assert len(await some_spans(sql, 1e-6)) == 1
