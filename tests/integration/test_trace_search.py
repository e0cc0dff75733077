"""Traces are found by what one of their spans is, most recent first, to the type and to the nanosecond."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ares_otel.query.instant import Instant
from ares_otel.query.reader import QueryTooSlow
from ares_otel.query.search import find as finding
from ares_otel.query.search.expression import LEVELS, Attribute, Call, Field, Nested, Scalar
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.search.summaries import summarize_traces
from tests.support.postgres import copied_database
from tests.support.searched_spans import SECOND, found, keep, span, trace_id
from tests.support.stored_rows import insert_span, now

OK, ERROR = Status(code=1), Status(code=2, message="boom")  # type: ignore[arg-type] # enum by number
ODD_TEXTS = (
    "500", "true", "null", "", " ", "%", "_", "it's", 'q"uo\\te', '{"a": 1}', "[1,2]", "{k}", "$1", "'; DROP TABLE",
    "ünï ☃ 🜁", "a.b.c", "\n\t", "\\", "NaN", "AQI=",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    *ODD_TEXTS, 500, 0, -1, 2**63 - 1, -(2**63), 10**16, 500.0, 0.1, 1e16, 1e300, float("inf"), float("nan"), True,
    False, b"\x01\x02", b"", ["a", "b"], ["a"], [1], [1.0], [b"\x01"], {"x": 1}, {"x": 1, "y": "2"}, [],
)  # fmt: skip


class Searched:
    """A database, and a loop to ask it on."""

    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool) -> None:
        self.runner, self.pool = runner, pool

    def found(self, **query: Any) -> list[int]:
        """The numbers of the traces that a search finds."""
        return self.runner.run(found(self.pool, **query))

    def wanted(self, key: str, value: Any, *, loose: bool = False, levels: tuple[str, ...] = LEVELS) -> set[int]:
        """Those with an attribute."""
        return set(self.found(attributes=(Wanted(key, value, loose),), levels=levels, limit=100))


async def _fill(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        for number, value in enumerate(ODD_VALUES):
            await keep(connection, span(number + 1, attributes={"odd": value}), service="odd values")
        for number, text in enumerate(ODD_TEXTS):
            await keep(
                connection, span(101 + number, attributes={text or "-": "here"}, name=text), service=text or "unnamed"
            )
        await keep(
            connection,
            span(201, events=[{"name": "exception", "exception.type": "E", "n": 1}, {"name": "retry", "n": 2}]),
            span(202, links=[{"why": "retry", "n": 1}]),
            span(203, status=ERROR, kind=3, trace_state="k=v"),
            span(204, status=OK, attributes={"error": True}),
            service="levels",
            resource={"host.name": "node-1", "resource.only": 7},
            scope={"lib.flavour": "sweet"},
        )


@pytest.fixture(scope="module")
def searched(postgres_server: str) -> Iterator[Searched]:
    """A database with an oddity in each trace."""
    with copied_database(postgres_server) as url, asyncio.Runner() as runner:

        async def opened() -> asyncpg.Pool:
            return await asyncpg.create_pool(url, min_size=1, max_size=2)

        pool = runner.run(opened())
        try:
            runner.run(_fill(pool))
            yield Searched(runner, pool)
        finally:
            runner.run(pool.close())


@pytest.fixture
async def pool(database_url: str) -> Any:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as made:
        yield made


@pytest.mark.parametrize("place", range(len(ODD_VALUES)), ids=lambda place: repr(ODD_VALUES[place])[:30])
def test_a_value_of_any_type_finds_itself_and_nothing_else(searched: Searched, place: int) -> None:
    assert searched.wanted("odd", ODD_VALUES[place]) == {place + 1}


@pytest.mark.parametrize("number", [500, 500.0])
def test_a_loose_number_finds_equal_numbers_of_both_types_and_no_text(searched: Searched, number: float) -> None:
    assert searched.wanted("odd", number, loose=True) == {ODD_VALUES.index(500) + 1, ODD_VALUES.index(500) + 7}


@pytest.mark.parametrize("number", [2**63 - 1, 0.1, 1e300, float("nan"), float("inf")])
def test_a_loose_number_that_the_other_type_does_not_hold_finds_itself(searched: Searched, number: float) -> None:
    assert searched.wanted("odd", number, loose=True) == searched.wanted("odd", number)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("500", ("500", 500, 500.0)),
        ("500.0", (500, 500.0)),
        ("true", ("true", True)),
        ("AQI=", ("AQI=", b"\x01\x02")),
        ("[1]", ([1], [1.0])),
        ('{"y": "2", "x": 1}', ({"x": 1, "y": "2"},)),
        ("0.1", (0.1,)),
        ("null", ("null",)),
        ("1e999", ()),
        ("[" * 5000, ()),
    ],
)
def test_a_loose_text_also_finds_what_is_written_so(searched: Searched, text: str, values: tuple[Any, ...]) -> None:
    numbers = {place + 1 for place, v in enumerate(ODD_VALUES) if any(type(v) is type(w) and v == w for w in values)}
    assert searched.wanted("odd", text, loose=True) == numbers
    assert searched.wanted("odd", text) == {place + 1 for place, v in enumerate(ODD_VALUES) if v == text}


@pytest.mark.parametrize("place", range(len(ODD_TEXTS)), ids=lambda place: repr(ODD_TEXTS[place]))
def test_keys_names_and_services_of_any_characters_are_found(searched: Searched, place: int) -> None:
    text = ODD_TEXTS[place]
    assert searched.wanted(text or "-", "here") == {101 + place}
    assert searched.found(operation=text, end=Instant.parse("2100-01-01T00:00:00Z")) == [101 + place]
    assert searched.found(service=text or "unnamed") == [101 + place]


@pytest.mark.parametrize(
    ("key", "value", "level", "number"),
    [
        ("exception.type", "E", "event", {201}),
        ("n", 2, "event", {201}),
        ("why", "retry", "link", {202}),
        ("host.name", "node-1", "resource", {201, 202, 203, 204}),
        ("resource.only", 7, "resource", {201, 202, 203, 204}),
        ("lib.flavour", "sweet", "scope", {201, 202, 203, 204}),
        ("error", True, "span", {203, 204}),
    ],
)
def test_attributes_are_found_at_their_level_only(
    searched: Searched, key: str, value: Any, level: str, number: set[int]
) -> None:
    assert searched.wanted(key, value, levels=(level,)) == number
    assert searched.wanted(key, value) == number
    others = tuple(other for other in LEVELS if other != level)
    assert searched.wanted(key, value, levels=others) == set()


@pytest.mark.parametrize(
    ("key", "value", "numbers"),
    [
        ("error", True, {203, 204}),
        ("error", "true", {203, 204}),
        ("error", "false", {201, 202}),
        ("span.kind", "client", {203}),
        ("span.kind", "server", {201, 202, 204}),
        ("otel.status_code", "ERROR", {203}),
        ("otel.status_code", "OK", {204}),
        ("otel.status_description", "boom", {203}),
        ("otel.scope.name", "lib", {201, 202, 203, 204}),
        ("otel.scope.version", "1.2", {201, 202, 203, 204}),
        ("w3c.tracestate", "k=v", {203}),
        ("resource.host.name", "node-1", {201, 202, 203, 204}),
    ],
)
def test_tags_that_jaeger_makes_of_fields_are_found(
    searched: Searched, key: str, value: Any, numbers: set[int]
) -> None:
    wanted = (Wanted(key, value, loose=True),)
    assert set(searched.found(service="levels", attributes=wanted, levels=LEVELS)) == numbers


async def test_a_conjunction_is_about_one_span(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await keep(connection, span(1, attributes={"a": 1, "b": 2}), span(2, attributes={"a": 1}))
        await keep(connection, span(2, attributes={"b": 2}))
    both = (Wanted("a", 1), Wanted("b", 2))
    assert await found(pool, attributes=both) == [1]
    each = tuple(Call("eq", (Attribute(key), Scalar(value))) for key, value in (("a", "1"), ("b", "2")))
    assert await found(pool, filter=Call("and", each)) == [1]


def test_events_are_asked_one_by_one_with_some_and_together_without(searched: Searched) -> None:
    named = Call("eq", (Field("name", "event"), Scalar("exception")))
    second = Call("eq", (Attribute("n", "event"), Scalar("2", "int")))
    both = Call("and", (named, second))
    assert searched.found(filter=both) == [201]
    assert searched.found(filter=Call("some", (Nested("event"), both))) == []
    assert searched.found(filter=Call("some", (Nested("event"), Call("and", (Call("not", (named,)), second))))) == [201]


async def test_the_most_recent_trace_comes_first_by_its_newest_matching_span(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await keep(connection, span(1, ago=50), span(2, ago=20), span(3, ago=30), span(3, ago=10, name="other"))
        await keep(connection, span(1, ago=5))
    assert await found(pool) == [1, 3, 2]
    assert await found(pool, operation="GET /") == [1, 2, 3]
    assert await found(pool, limit=2) == [1, 3]


async def test_the_range_includes_its_start_and_excludes_its_end_to_the_nanosecond(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        at = int(now().timestamp()) * SECOND - 60 * SECOND
        await keep(connection, *(span(number + 1, at=at + 999 + number) for number in range(3)))
    start, end = (Instant.from_ns(at + 999 + number) for number in (0, 2))
    assert await found(pool, start=start, end=end) == [2, 1]
    assert await found(pool, start=end) == [3]
    assert await found(pool, end=start) == []
    assert await found(pool, start=end, end=start) == []


async def test_durations_include_their_bounds(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await keep(connection, *(span(number, ns=10**number, ago=number) for number in range(1, 10)))
    assert await found(pool, min_ns=10**3, max_ns=10**5) == [3, 4, 5]
    assert await found(pool, min_ns=10**3 + 1, max_ns=10**5 - 1) == [4]
    long = Call("gte", (Field("duration", "span"), Scalar("100ms")))
    assert await found(pool, filter=long) == [8, 9]


async def test_a_trace_with_many_matching_spans_does_not_hide_the_others(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = span(1).start_time_unix_nano
    at = Instant.from_ns(newest)
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, "
            "duration_ms, duration_ns) SELECT $1, decode(lpad(to_hex(g), 16, '0'), 'hex'), 'orders', 'GET /', "
            "'server', $2::timestamptz - g * interval '10 us', 1, 1000000 FROM generate_series(1, 20000) g",
            trace_id(1),
            at.time,
        )
        await keep(connection, *(span(number, at=newest - number * SECOND) for number in range(2, 30)))
    monkeypatch.setattr(finding, "SCAN", 50)
    assert await found(pool, service="orders", limit=5) == [1, 2, 3, 4, 5]
    [first, *_] = await find_traces(pool, TraceQuery(service="orders"))
    assert first.start < first.end
    [summary, *_] = await summarize_traces(pool, TraceQuery(service="orders", limit=2))
    assert (summary.span_count, summary.orphan_span_count) == (20_000, 0)


async def test_traces_that_start_together_are_each_found_once_across_pages(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.acquire() as connection:
        at = span(1).start_time_unix_nano
        await keep(connection, *(span(number // 3, at=at + number % 2) for number in range(3, 600)))
    monkeypatch.setattr(finding, "SCAN", 1)
    monkeypatch.setattr(finding, "SCAN_MOST", 16)
    assert sorted(await found(pool, limit=500)) == list(range(1, 200))


async def test_a_search_that_runs_out_of_time_says_so(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pool.acquire() as connection:
        await keep(connection, span(1, ago=1))
    monkeypatch.setattr(finding, "SEARCH_SECONDS", 0.0)
    with pytest.raises(QueryTooSlow, match="No trace was found when the time was over"):
        await found(pool)


async def test_a_search_gives_what_it_found_by_then(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pool.acquire() as connection:
        await keep(connection, newest := span(1), span(2, ago=3600))
    look = finding._Search._look

    async def look_once(self: Any, *args: Any) -> None:
        await look(self, *args)
        self._ends_at = 0.0

    monkeypatch.setattr(finding._Search, "_look", look_once)
    at = Instant.from_ns(newest.start_time_unix_nano + SECOND)
    result = await find_traces(pool, TraceQuery(), now=at.time)
    assert [trace.trace_id for trace in result] == [trace_id(1)]
    assert not result.complete


async def test_a_regular_expression_that_meets_too_much_is_no_silent_miss(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.acquire() as connection:
        await keep(connection, *(span(number, name=f"name {number}") for number in range(1, 20)))
    regex = Call("regex", (Field("name", "span"), Scalar("1$")))
    assert sorted(await found(pool, filter=regex)) == [1, 11]
    monkeypatch.setattr(finding, "MAX_TEXTS", 10)
    with pytest.raises(QueryTooSlow):
        await found(pool, filter=regex)


async def test_regular_expressions_look_at_resources_and_scopes_too(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await keep(connection, span(1), resource={"host.name": "node-1"}, scope_name="lib-a")
        await keep(connection, span(2), resource={"host.name": "other-1"}, scope_name="lib-b")
    assert await found(pool, filter=Call("regex", (Attribute("host.name"), Scalar("^node")))) == [1]
    assert await found(pool, filter=Call("regex", (Field("name", "scope"), Scalar("b$")))) == [2]
    neither = Call("not", (Call("regex", (Attribute("host.name", "resource"), Scalar("^node|^other"))),))
    assert await found(pool, filter=neither) == []


async def test_more_resources_than_are_listed_are_asked_by_their_condition(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = span(1).start_time_unix_nano
    async with pool.acquire() as connection:
        for number in range(1, 5):
            one = span(number, at=newest - number * SECOND)
            await keep(connection, one, resource={"n": number, "host.name": f"node-{number}"})
    monkeypatch.setattr(finding, "MAX_IDS", 1)
    assert await found(pool, filter=Call("gt", (Attribute("n", "resource"), Scalar("2")))) == [3, 4]
    assert await found(pool, filter=Call("regex", (Attribute("host.name", "resource"), Scalar("[12]$")))) == [1, 2]
    assert await found(pool, attributes=(Wanted("n", 2),)) == [2]


async def test_a_span_that_otlp_did_not_write_has_the_resource_that_readers_give_it(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await keep(connection, span(1, ago=5))
        await insert_span(connection, 1, service_name="by hand")
    assert len(await found(pool, attributes=(Wanted("service.name", "by hand"),))) == 1
    assert len(await found(pool, filter=Call("exists", (Attribute("service.name", "resource"),)))) == 2
    assert await found(pool, attributes=(Wanted("service.name", "other"),)) == []


async def test_rows_that_somebody_wrote_by_hand_break_no_search(pool: asyncpg.Pool) -> None:
    raw = (b"", b"\n", b"\n\x7f", b"\xff" * 30, b"\n\x05\n\x03abc", b"\n\x02\x10\x80", b"\x0b" * 5, b"\n\x03\n\x09a")
    async with pool.acquire() as connection:
        for number, bytes_ in enumerate(raw):
            await insert_span(
                connection, number, trace_id=trace_id(number + 1), attributes='{"abc": "x"}', attributes_raw=bytes_,
                events=('{"a": 1}', "7", '[1, null, {"time_unix_nano": "x", "attributes": 7}]')[number % 3],
                events_raw=bytes_, links="null", links_raw=bytes_,
            )  # fmt: skip
    for reference in (Attribute("abc"), Attribute("abc", "event"), Attribute("abc", "link")):
        for op in ("eq", "ne", "gt", "regex"):
            await found(pool, filter=Call(op, (reference, Scalar("x"))))
    for field in (Field("time", "event"), Field("timeSinceStart", "event")):
        assert await found(pool, filter=Call("gt", (field, Scalar("1")))) == []
    named = Call("some", (Nested("event"), Call("ne", (Field("name", "event"), Scalar("x")))))
    assert await found(pool, filter=named) == []
    assert len(await summarize_traces(pool, TraceQuery())) == len(raw)


async def test_ids_match_with_and_without_leading_zeros_and_dashes(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await keep(connection, span(0x00AB, number=0xCD))
    for text in ("ab", "00000000000000ab", "0000000000000000-00000000000000AB", str(trace_id(0xAB))):
        assert await found(pool, filter=Call("eq", (Field("traceID", "span"), Scalar(text)))) == [0xAB]
    assert await found(pool, filter=Call("eq", (Field("span_id", "span"), Scalar("CD")))) == [0xAB]
    assert await found(pool, filter=Call("eq", (Field("span_id", "span"), Scalar("no id")))) == []


async def test_pinned_traces_are_found_and_counted_once(pool: asyncpg.Pool) -> None:
    pinned = trace_id(1)
    async with pool.acquire() as connection:
        await keep(connection, span(1, ago=90, number=1), span(1, ago=80, number=2, parent=1), span(2, ago=1, number=3))
        await connection.execute(
            "INSERT INTO pinned_traces (trace_id, first_time, last_time) VALUES ($1, now(), now())", pinned
        )
        await connection.execute("INSERT INTO pinned_spans SELECT * FROM service_spans WHERE trace_id = $1", pinned)
        for older_than in ("1 day", "85 s", "0 s"):
            await connection.execute(
                f"DELETE FROM service_spans WHERE trace_id = $1 AND start_time < now() - interval '{older_than}'",
                pinned,
            )
            summaries = await summarize_traces(pool, TraceQuery())
            assert [(one.trace_id.int, one.span_count) for one in summaries] == [(2, 1), (1, 2)]
        assert await found(pool, filter=Call("regex", (Field("name", "span"), Scalar("GET")))) == [2, 1]
