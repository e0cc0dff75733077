"""A trace is found as a whole over many partitions, and the answer tells how far back it was looked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from ares_otel.query import ranges, trace_search
from tests.support.api import Api, check_problem, running_api
from tests.support.partitions import day, make_partition
from tests.support.stored_rows import TRACE, insert_log, insert_span, now

HOUR = timedelta(hours=1)
PATH = f"trace/{TRACE.hex}"


@pytest.fixture
async def api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """One partition at a time is looked at, as if there were thousands; they go back ten days."""
    monkeypatch.setattr(ranges, "PARTITIONS_AT_ONCE", 1)
    async with running_api(database_url) as made:
        async with made.pool.acquire() as sql:
            for days_ago in range(3, 11):
                await make_partition(sql, "service_spans", days_ago)
                await make_partition(sql, "service_logs", days_ago)
        yield made


async def test_parts_that_lie_less_than_a_day_apart_are_one_answer(api: Api) -> None:
    start = day(6) + 12 * HOUR
    for number in range(4):
        await insert_span(api.pool, number, start_time=start + number * 20 * HOUR)
    await insert_log(api.pool, trace_id=TRACE, timestamp=start - 20 * HOUR)
    trace = (await api.get(PATH)).json()
    assert [span["operation_name"] for span in trace["spans"]] == [f"operation {number}" for number in range(4)]
    assert len(trace["logs"]) == 1
    assert trace["searched_from"] == f"{day(8):%Y-%m-%d}T00:00:00.000000Z"
    assert trace["truncated"] is False


async def test_what_lies_days_before_is_found_when_it_is_asked_for(api: Api) -> None:
    await insert_span(api.pool, 1, start_time=now())
    await insert_span(api.pool, 2, start_time=day(5))
    newest = (await api.get(PATH)).json()
    assert [span["operation_name"] for span in newest["spans"]] == ["operation 1"]
    assert newest["searched_from"] == f"{day(1):%Y-%m-%d}T00:00:00.000000Z"
    whole = (await api.get(PATH, from_=day(9).isoformat())).json()
    assert [span["operation_name"] for span in whole["spans"]] == ["operation 2", "operation 1"]
    assert whole["searched_from"] is None
    part = (await api.get(PATH, from_=day(9).isoformat(), to=day(4).isoformat())).json()
    assert [span["operation_name"] for span in part["spans"]] == ["operation 2"]
    check_problem(await api.get(PATH, to=day(5).isoformat()), 404)
    check_problem(await api.get(PATH, from_=day(4).isoformat(), to=day(5).isoformat()), 422, "from")


async def test_the_oldest_trace_is_found_and_one_that_is_nowhere_is_not(api: Api) -> None:
    await insert_log(api.pool, trace_id=TRACE, timestamp=day(10))
    trace = (await api.get(PATH)).json()
    assert len(trace["logs"]) == 1
    assert trace["searched_from"] is None, "there is nothing older"
    check_problem(await api.get(f"trace/{7:032x}"), 404)


async def test_a_lookup_whose_time_is_over_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_search, "SEARCH_SECONDS", 0.0)
    answer = check_problem(await api.get(PATH), 503)
    assert answer["type"].endswith("query-too-slow")
    assert "give `from` and `to`" in answer["detail"]


async def test_logs_are_listed_over_many_ranges_page_by_page(api: Api) -> None:
    for number in range(6):
        await insert_log(api.pool, message=str(number), timestamp=day(number))
    seen, cursor = [], None
    while True:
        page = (await api.get("logs", limit=4, **({} if cursor is None else {"cursor": cursor}))).json()
        seen += [row["message"] for row in page["logs"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["0", "1", "2", "3", "4", "5"]
