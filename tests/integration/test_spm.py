"""Metrics of spans over time: what Jaeger's monitor asks for, beside the spans themselves."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.query import spm
from ares_otel.query.rollups import RollupsBehind
from ares_otel.query.spm import OutOfRange, span_metrics
from ares_otel.storage.rollups import aging
from ares_otel.storage.store import Store
from tests.support.rollups import run_once
from tests.support.service_map import BEGIN, CLIENT, MINUTE, SERVER, made, send

AT = datetime.fromtimestamp(BEGIN / 1e9, UTC)
ONE = timedelta(minutes=1)
ERROR = Status(code=Status.STATUS_CODE_ERROR)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        yield pool


def of(minute: int, name: str, *, ms: float = 2, kind: Any = SERVER, failed: bool = False) -> Span:
    at = BEGIN + minute * MINUTE + 1_000
    status = ERROR if failed else Status()
    return made(kind, at=at, end_time_unix_nano=at + round(ms * 1e6), name=name, status=status)


async def test_names_texts_and_labels_are_those_of_jaeger_over_prometheus(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await send(store, "b", of(0, "POST /"), of(0, "GET /"))
    await send(store, "a", of(0, "GET /"))
    found = {}
    for kind in ("latencies", "calls", "errors"):
        for grouped in (False, True):
            answer = await span_metrics(
                pool, kind, ["b", "a", "nobody"], quantile=0.5, group_by_operation=grouped, end=AT + 5 * ONE
            )
            found[answer.name] = answer.help
            labels = [series.labels for series in answer.series]
            assert labels == (
                [
                    {"service_name": "a", "operation": "GET /"},
                    {"service_name": "b", "operation": "GET /"},
                    {"service_name": "b", "operation": "POST /"},
                ]
                if grouped
                else [{"service_name": "a"}, {"service_name": "b"}]
            )
    assert found == {
        "service_latencies": "0.50th quantile latency, grouped by service",
        "service_operation_latencies": "0.50th quantile latency, grouped by service & operation",
        "service_call_rate": "calls/sec, grouped by service",
        "service_operation_call_rate": "calls/sec, grouped by service & operation",
        "service_error_rate": "error rate, computed as a fraction of errors/sec over calls/sec, grouped by service",
        "service_operation_error_rate": "error rate, computed as a fraction of errors/sec over calls/sec, grouped by "
        "service & operation",
    }


async def test_points_are_each_step_up_to_the_end_and_about_the_whole_minutes_before(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await send(store, "a", *(of(2, "x", ms=4, failed=number < 1) for number in range(4)), of(4, "x", ms=8))
    asked: dict[str, Any] = {"end": AT + timedelta(minutes=6, seconds=30), "lookback": 5 * ONE, "rate_per": 2 * ONE}
    for _ in range(2):  # before it is merged, and after
        values = {}
        for kind in ("calls", "errors", "latencies"):
            (series,) = (await span_metrics(pool, kind, ["a"], quantile=1, **asked)).series
            assert [point.at for point in series.points] == [
                AT + timedelta(minutes=number, seconds=30) for number in range(1, 7)
            ]
            values[kind] = [point.value for point in series.points]
        # At 1:30 minutes -1 and 0 count, at 3:30 minutes 1 and 2, at 5:30 minutes 3 and 4.
        assert values["calls"] == [0, 0, 4 / 120, 4 / 120, 1 / 120, 1 / 120]
        assert values["errors"] == pytest.approx([math.nan, math.nan, 0.25, 0.25, 0, 0], nan_ok=True)
        assert values["latencies"] == pytest.approx([math.nan, math.nan, 4, 4, 8, 8], rel=0.0055, nan_ok=True)
        await run_once(store.connect)
    # Shorter steps than a minute: what the last whole minutes said.
    asked |= {"step": timedelta(seconds=15), "lookback": timedelta(seconds=75), "end": AT + 3 * ONE}
    (series,) = (await span_metrics(pool, "calls", ["a"], **asked)).series
    assert [point.value for point in series.points] == [0, 0, 0, 0, 0, 4 / 120]
    # And a time over which nothing counts twice, whatever rate_per is; it is rounded up.
    asked |= {"step": ONE, "lookback": ONE, "rate_per": timedelta(seconds=1)}
    (series,) = (await span_metrics(pool, "calls", ["a"], **asked)).series
    assert [point.value for point in series.points] == [0, 4 / 60]


async def test_kinds_are_those_that_are_asked_for_and_server_when_none_is_named(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await send(store, "a", of(0, "x"), of(0, "x", kind=CLIENT), of(0, "x", kind=CLIENT))

    async def calls(**kinds: Any) -> list[float]:
        answer = await span_metrics(pool, "calls", ["a"], end=AT + ONE, lookback=ONE, rate_per=ONE, **kinds)
        return [series.points[-1].value * 60 for series in answer.series]

    for _ in range(2):
        assert await calls() == [1]
        assert await calls(span_kinds=["SPAN_KIND_CLIENT"]) == [2]
        assert await calls(span_kinds=["client", "SPAN_KIND_SERVER"]) == [3]
        assert await calls(span_kinds=[]) == [3]
        assert await calls(span_kinds=["producer"]) == []
        await run_once(store.connect)


async def test_any_quantile_is_within_the_error_of_the_histogram(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    source = random.Random(3)
    durations: list[tuple[int, str, float]] = [
        (source.randrange(10), source.choice("xy"), source.lognormvariate(3, 1.5)) for _ in range(400)
    ]
    await send(store, "a", *(of(minute, name, ms=ms) for minute, name, ms in durations[:300]))
    await run_once(store.connect)
    await send(store, "a", *(of(minute, name, ms=ms) for minute, name, ms in durations[300:]))
    for quantile in (0.001, 0.25, 0.5, 0.95, 0.999, 1):
        for grouped in (False, True):
            answer = await span_metrics(
                pool,
                "latencies",
                ["a"],
                quantile=quantile,
                group_by_operation=grouped,
                end=AT + 12 * ONE,
                lookback=12 * ONE,
                rate_per=3 * ONE,
            )
            for series in answer.series:
                for number, point in enumerate(series.points):
                    exact = sorted(
                        round(ms * 1e6) / 1e6
                        for minute, name, ms in durations
                        if number - 3 <= minute < number and series.labels.get("operation") in (None, name)
                    )
                    if not exact:
                        assert math.isnan(point.value)
                        continue
                    place = quantile * (len(exact) - 1)
                    low, high = exact[math.floor(place)], exact[math.ceil(place)]
                    assert point.value == pytest.approx(low + (place % 1) * (high - low), rel=0.0055)


async def test_hours_of_old_minutes_are_spread_evenly_and_lose_nothing(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await send(store, "a", *(of(minute, "x", ms=minute + 1, failed=minute == 0) for minute in range(20)))
    await run_once(store.connect)
    await sql.execute(
        "UPDATE span_rollups SET minute = date_trunc('hour', now() - interval '3 days', 'UTC') "
        "+ extract(minute FROM minute) % 20 * interval '1 minute'"
    )
    hour = await sql.fetchval("SELECT min(minute) FROM span_rollups")
    await aging.merge_hours(sql)
    assert await sql.fetchval("SELECT array_agg(minutes) FROM span_rollups") == [60]
    asked: dict[str, Any] = {"end": hour + 120 * ONE, "lookback": 120 * ONE, "step": 30 * ONE, "rate_per": 60 * ONE}
    (calls,) = (await span_metrics(pool, "calls", ["a"], **asked)).series
    assert [point.value * 3600 for point in calls.points] == pytest.approx([0, 10, 20, 10, 0])
    (errors,) = (await span_metrics(pool, "errors", ["a"], **asked)).series
    assert [point.value for point in errors.points] == pytest.approx(
        [math.nan, 0.05, 0.05, 0.05, math.nan], nan_ok=True
    )
    (latencies,) = (await span_metrics(pool, "latencies", ["a"], quantile=1, **asked)).series
    assert [point.value for point in latencies.points] == pytest.approx(
        [math.nan, 20, 20, 20, math.nan], rel=0.0055, nan_ok=True
    )


async def test_what_cannot_be_served_is_refused_with_its_name(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"services": []}, "service"),
        ({"quantile": 0}, "quantile"),
        ({"quantile": math.nan}, "quantile"),
        ({"quantile": 1.01}, "quantile"),
        ({"step": timedelta(0)}, "step"),
        ({"lookback": timedelta(seconds=-1)}, "lookback"),
        ({"rate_per": timedelta(0)}, "ratePer"),
        ({"span_kinds": ["SPAN_KIND_SERVER", "odd"]}, "spanKind"),
        ({"lookback": timedelta(days=9)}, "step"),
        ({"end": datetime(1, 1, 1, tzinfo=UTC)}, "endTs"),
        ({"end": AT, "lookback": timedelta(days=900_000), "step": timedelta(days=900)}, "endTs"),
    ]
    asked: dict[str, Any]
    for changes, name in refused:
        asked = {"services": ["a"], "end": AT, **changes}
        with pytest.raises(OutOfRange, match=name):
            await span_metrics(pool, "latencies", **asked)
    await send(store, "a", of(0, "x"), of(0, "y"))
    asked = {"end": AT + 5 * ONE, "group_by_operation": True}
    monkeypatch.setattr(spm, "MOST_VALUES", 121)
    with pytest.raises(OutOfRange, match="step"):
        await span_metrics(pool, "calls", ["a"], **asked)
    monkeypatch.setattr(spm, "MOST_ROWS", 1)
    with pytest.raises(OutOfRange, match="lookback"):
        await span_metrics(pool, "latencies", ["a"], **asked)
    monkeypatch.setattr(spm, "MOST_WAITING", 1)
    with pytest.raises(RollupsBehind):
        await span_metrics(pool, "calls", ["a"], **asked)
