"""OTLP in equals OTLP out: requests of every shape, through the real tables and back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.encoded import EncodedBatch, Windows
from ares_otel.storage.rows.restore import restore_request
from tests.support.encoders import encode_batch
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import batch_of
from tests.support.otlp_strategies import logs_requests, metrics_requests, trace_requests
from tests.support.rows_store import store

pytestmark = pytest.mark.usefixtures("encoder")

NOW = time.time_ns()
FAST = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Store:
    """A database; every example has a tenant of its own, so that nothing needs to be cleaned up."""

    def __init__(self, runner: asyncio.Runner, connection: asyncpg.Connection, windows: Windows) -> None:
        self._runner = runner
        self._connection = connection
        self._windows = windows
        self._tenants = itertools.count(1)

    def round_trip(self, signal: Signal, request: Any) -> tuple[EncodedBatch, Any]:
        """Stores the request; gives what was encoded and what comes back."""
        tenant_id = next(self._tenants)
        batch = batch_of(request, tenant_id=tenant_id)
        encoded = encode_batch(batch, self._windows)
        assert encoded.items == batch.items

        async def through() -> Any:
            await store(self._connection, encoded)
            return await restore_request(self._connection, signal, tenant_id=tenant_id)

        return encoded, self._runner.run(through())


@contextmanager
def opened(database_url: str) -> Iterator[Store]:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url))
        try:
            yield Store(runner, connection, runner.run(read_windows(connection)))
        finally:
            runner.run(connection.close())


def check_lossless(database_url: str, signal: Signal, requests: st.SearchStrategy[Any]) -> None:
    with opened(database_url) as database:

        @FAST
        @given(requests)
        def check(request: Any) -> None:
            encoded, restored = database.round_trip(signal, request)
            assert not encoded.reasons
            assert not encoded.replaced
            assert items_of(restored) == items_of(request)

        check()


def test_traces_come_back_as_they_were_sent(database_url: str) -> None:
    check_lossless(database_url, TRACES, trace_requests(NOW))


def test_logs_come_back_as_they_were_sent(database_url: str) -> None:
    check_lossless(database_url, LOGS, logs_requests(NOW))


def test_metrics_come_back_as_they_were_sent(database_url: str) -> None:
    check_lossless(database_url, METRICS, metrics_requests(NOW))
