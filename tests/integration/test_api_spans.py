"""Searching spans: what each filter finds, pages, and searches that end before they have seen everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.query import reader, spans
from ares_otel.query.instant import Instant
from ares_otel.query.spans import AttributeValue, SpanFilter, find_spans
from tests.support.api import Api, check_problem, running_api
from tests.support.partitions import Keeper, make_partition, names
from tests.support.stored_rows import insert_span, now


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as made:
        yield made


async def found(api: Api, **query: Any) -> list[str]:
    """Operations of the spans that are found, newest first."""
    return [row["operation_name"] for row in await api.rows("spans", "spans", **query)]


async def test_every_filter_finds_its_spans_and_all_of_them_together_hold(api: Api) -> None:
    at = now() - timedelta(minutes=30)
    sent: tuple[dict[str, Any], ...] = (
        {"operation_name": "slow", "duration_ns": 900_000_000, "kind": "server", "status": "error"},
        {"operation_name": "quick", "duration_ns": 1_000},
        {"operation_name": "none", "duration_ns": 0, "service_name": "mail"},
        {"operation_name": "client", "duration_ns": 250_000_000, "kind": "client"},
    )
    for number, values in enumerate(sent):
        await insert_span(api.pool, number, start_time=at - timedelta(hours=number), **values)
    assert await found(api) == ["slow", "quick", "none", "client"]
    assert await found(api, service="mail") == ["none"]
    assert await found(api, operation="quick") == ["quick"]
    assert await found(api, kind="client") == ["client"]
    assert await found(api, status="error") == ["slow"]
    assert await found(api, min_duration_ms=250) == ["slow", "client"]
    assert await found(api, max_duration_ms=250) == ["quick", "none", "client"]
    assert await found(api, min_duration_ms="0.001", max_duration_ms="0.001") == ["quick"]
    assert await found(api, min_duration_ms="250.000001") == ["slow"]
    assert await found(api, hours=1) == ["slow"]
    assert await found(api, from_=(at - timedelta(hours=2)).isoformat(), to=at.isoformat()) == ["quick", "none"]
    assert await found(api, service="orders", status="error", min_duration_ms=100, kind="server", hours=1) == ["slow"]
    assert await found(api, service="orders", status="ok") == []


async def test_an_attribute_is_found_as_text_number_and_boolean(api: Api) -> None:
    sent: tuple[dict[str, Any], ...] = (
        {"http.route": "/orders", "code": 402, "retried": True},
        {"http.route": "/orders", "code": "402", "retried": "true"},
        {"http.route": "/cart", "code": 402.0, "query": "a=b&c", "empty": ""},
        {"code": 4020, "kelvin": -1.5e3},
    )
    for number, attributes in enumerate(sent):
        await insert_span(
            api.pool,
            number,
            operation_name=str(number),
            attributes=attributes,
            start_time=now() - timedelta(hours=number),
        )
    assert await found(api, attr="http.route=/orders") == ["0", "1"]
    assert await found(api, attr="code=402") == ["0", "1", "2"]
    assert await found(api, attr=["code=402", "http.route=/orders", "retried=true"]) == ["0", "1"]
    assert await found(api, attr="kelvin=-1500") == ["3"]
    assert await found(api, attr="query=a=b&c") == ["2"]
    assert await found(api, attr="empty=") == ["2"]
    assert await found(api, attr="code=0402") == []


WRONG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("attr", {"attr": "no value"}),
    ("attr", {"attr": "=value"}),
    ("attr", {"attr": ["a=1"] * 2}),
    ("attr", {"attr": [f"k{n}=x" for n in range(11)]}),
    ("attr", {"attr": [f"k{n}={n}" for n in range(6)]}),
    ("attr", {"attr": "a=\0"}),
    ("attr", {"attr": "a=" + "x" * 1000}),
    ("kind", {"kind": "SERVER"}),
    ("status", {"status": "bad"}),
    ("min_duration_ms", {"min_duration_ms": "-1"}),
    ("max_duration_ms", {"max_duration_ms": "1e3"}),
    ("hours", {"hours": "1", "from_": "2026-01-31T12:00:00Z"}),
    ("service", {"service": ["a", "b"]}),
    ("cursor", {"cursor": "abc"}),
    ("level", {"level": "INFO"}),
)


async def test_a_wrong_parameter_is_named() -> None:
    async with running_api("postgresql://ares@127.0.0.1:1/none") as api:
        for field, query in WRONG:
            check_problem(await api.get("spans", **query), 422, field)


async def test_pages_hold_every_span_once_also_where_times_and_partitions_change(
    database_url: str, api: Api, sql: asyncpg.Connection
) -> None:
    at = now() - timedelta(minutes=1)
    for number in range(40):  # ten at the same nanosecond, on each of four days
        await insert_span(sql, number, start_time=at - timedelta(days=number // 10 - 1), start_ns=7)
    await Keeper(database_url).seal(grace_hours=0)
    seen, cursor = [], None
    while True:
        query = {"limit": 7} | ({} if cursor is None else {"cursor": cursor})
        answer = (await api.get("spans", **query)).json()
        assert answer["truncated"] is False
        assert len(answer["spans"]) <= 7
        seen += [int(row["span_id"], 16) for row in answer["spans"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert seen == sorted(range(40), key=lambda number: (number // 10, -(number % 10)))


async def test_a_page_keeps_the_window_of_the_first_one(api: Api) -> None:
    at = now()
    for number in range(4):
        await insert_span(api.pool, number, start_time=at - timedelta(minutes=20 * number))
    first = (await api.get("spans", hours=1, limit=2)).json()
    await insert_span(api.pool, 9, start_time=at + timedelta(seconds=1))
    second = (await api.get("spans", hours=1, limit=2, cursor=first["next"])).json()
    assert [row["operation_name"] for row in second["spans"]] == ["operation 2"]
    assert second["next"] is None


async def test_a_search_whose_time_is_over_says_so_and_goes_on_where_it_stopped(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now()
    for number in range(3):
        await insert_span(api.pool, number, start_time=at - timedelta(seconds=40 * number), attributes={"order.id": 1})
    monkeypatch.setattr(spans, "time", Ticking())
    monkeypatch.setattr(spans, "SEARCH_SECONDS", 0.05)
    wanted = SpanFilter(attributes=[AttributeValue("order.id", "1")], start=Instant(at - timedelta(seconds=100)))
    after, seen, pages, truncated = None, [], 0, 0
    while pages == 0 or after is not None:
        page = await find_spans(api.pool, wanted, limit=10, after=after, now=at)
        seen += [row.operation_name for row in page.rows]
        after, pages, truncated = page.next, pages + 1, truncated + page.truncated
        assert page.truncated == (page.next is not None)
    assert seen == ["operation 0", "operation 1", "operation 2"]
    assert truncated > 2, "several pages were cut short"


class Ticking:
    """A clock by which the time is over after two looks."""

    def __init__(self) -> None:
        self._at = 0.0

    def monotonic(self) -> float:
        self._at += 0.01
        return self._at


async def test_a_range_that_takes_too_long_is_cut_into_shorter_ones(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    at = now()
    await insert_span(api.pool, 1, start_time=at - timedelta(hours=3))
    lengths: list[timedelta] = []
    whole = reader.Reader.fetch_within

    async def slow(self: reader.Reader, seconds: float, statement: Any, **values: Any) -> list[Any]:
        lower, upper = values["lower"], values["upper"] or at
        lengths.append(upper - (lower or datetime.min.replace(tzinfo=at.tzinfo)))
        if lengths[-1] > timedelta(minutes=5):
            raise reader.QueryTooSlow
        return await whole(self, seconds, statement, **values)

    monkeypatch.setattr(reader.Reader, "fetch_within", slow)
    wanted = SpanFilter(start=Instant(at - timedelta(hours=4)))
    page = await find_spans(api.pool, wanted, limit=1, now=at)
    assert len(page.rows) == 1
    assert max(lengths) > timedelta(minutes=5)


async def test_searches_leave_connections_for_cheap_reads(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "TURN_SECONDS", 0.2)
    async with asyncio.TaskGroup() as group, reader.reading(api.pool, heavy=True), reader.reading(api.pool, heavy=True):
        refused = group.create_task(api.get("spans", attr="a=b"))
        cheap = [group.create_task(api.get(path)) for path in ("logs", "health", "performance", "metrics")]
        await asyncio.wait([refused, *cheap])
        assert "Too many searches" in check_problem(refused.result(), 503)["detail"]
        assert [task.result().status_code for task in cheap] == [200] * 4
    assert (await api.get("spans", attr="a=b")).status_code == 200


async def test_a_partition_is_dropped_while_a_search_is_under_way(
    database_url: str, api: Api, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await make_partition(sql, "service_spans", 40, rows=1)
    reached, go = asyncio.Event(), asyncio.Event()
    whole = reader.Reader.fetch_within

    async def halting(self: reader.Reader, seconds: float, statement: Any, **values: Any) -> list[Any]:
        rows = await whole(self, seconds, statement, **values)
        if values["lower"] is None:  # the range with the oldest partitions
            reached.set()
            await go.wait()
        return rows

    monkeypatch.setattr(reader.Reader, "fetch_within", halting)
    search = asyncio.create_task(find_spans(api.pool, SpanFilter(), limit=10))
    await reached.wait()
    keeper = Keeper(database_url)
    await keeper.run()
    assert [name for name, _, _ in keeper.counted.drops] == ["service_spans"]
    assert old.name not in await names(sql)
    go.set()
    assert len((await search).rows) == 1
