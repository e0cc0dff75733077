"""The endpoint of remote read over series that are given: both types of answers, errors, limits, turns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.api import problems
from ares_otel.api.remote_read import chunks, runs, samples
from ares_otel.api.routers import remote_read
from ares_otel.api.routers.remote_read import ReadLimits, remote_read_router
from ares_otel.model.prometheus.native_histogram import STALE_NAN, NativeHistogram, is_stale_bits
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.query.prometheus.select import Selected, TooManySamples, TooManySeries
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from tests.support.remote_read import (
    CHUNKS,
    PATH,
    SAMPLES,
    Read,
    body_of,
    post,
    query,
    read,
    read_chunks,
    read_samples,
    selected,
)

TYPES = pytest.mark.parametrize("type_", [SAMPLES, CHUNKS], ids=["samples", "chunks"])
UP = {"__name__": "up", "job": "orders"}
HISTOGRAM = NativeHistogram(
    schema=2, count=7, sum=1.5, zero_count=1, positive_spans=((0, 2), (3, 1)), positive_counts=(1.0, 2.0, 3.0)
)
Select = Callable[..., Any]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Select], None]:
    """Sets what is asked instead of the database."""
    return lambda function: monkeypatch.setattr(remote_read, "select", function)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(remote_read_router(None, ReadLimits(max_series=10, max_samples=1000, read_seconds=30)))
    problems.install(app)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client


def always(*found: Any) -> Select:
    async def select(pool: Any, selectors: Any, start: int, end: int, **limits: Any) -> Selected:
        return selected(*found)

    return select


def failing(error: Exception) -> Select:
    async def select(*_: Any, **__: Any) -> Selected:
        raise error

    return select


@TYPES
async def test_series_come_with_labels_and_samples(
    client: httpx.AsyncClient, answers: Callable[[Select], None], type_: int
) -> None:
    points = [(1_700_000_000_000 + 15_000 * i, math.sin(i)) for i in range(250)]
    answers(always((UP, points), ({"__name__": "höhe", "a": "日本"}, [(5, math.inf), (6, -0.0)])))
    [[first, second]] = await read(client, query(("job", "=", "orders")), type_=type_)
    assert (first.labels, first.samples) == (UP, points)
    assert (second.labels, second.samples) == ({"__name__": "höhe", "a": "日本"}, [(5, math.inf), (6, 0.0)])
    assert second.points[1].bits == 1 << 63


@TYPES
async def test_the_end_of_a_series_comes_bit_for_bit(
    client: httpx.AsyncClient, answers: Callable[[Select], None], type_: int
) -> None:
    answers(always((UP, [(1, 1.0), (2, STALE_NAN)])))
    [[found]] = await read(client, query(), type_=type_)
    assert found.points[1].bits == 0x7FF0000000000002


async def test_native_histograms_come_as_samples(client: httpx.AsyncClient, answers: Callable[[Select], None]) -> None:
    ended = NativeHistogram(schema=0, count=0, sum=STALE_NAN)
    half = NativeHistogram(schema=2, count=0.5, sum=1.5, positive_spans=((0, 1),), positive_counts=(0.5,))
    answers(always((UP, [(3, 1.0)]), ({"__name__": "wait"}, [(1, HISTOGRAM), (2, half), (3, ended)]), (UP, [(4, 2.0)])))
    [[before, found, after]] = await read(client, query())
    assert (before.samples, after.samples) == ([(3, 1.0)], [(4, 2.0)])
    assert found.points == []
    (_, whole), (_, fractions), (_, end) = found.histograms
    assert isinstance(whole, pb.Histogram)
    assert isinstance(fractions, pb.Histogram)
    assert isinstance(end, pb.Histogram)
    assert (whole.count_int, whole.zero_count_int, list(whole.positive_deltas)) == (7, 1, [1, 1, 1])
    assert [(span.offset, span.length) for span in whole.positive_spans] == [(0, 2), (3, 1)]
    assert (fractions.count_float, list(fractions.positive_counts)) == (0.5, [0.5])
    assert is_stale_bits(end.sum)


async def test_native_histograms_come_as_chunks(client: httpx.AsyncClient, answers: Callable[[Select], None]) -> None:
    answers(always((UP, [(3, 1.0)]), ({"__name__": "wait"}, [(1, HISTOGRAM), (2, HISTOGRAM)]), (UP, [(4, 2.0)])))
    [[before, found, after]] = await read(client, query(), type_=CHUNKS)
    assert (before.samples, after.samples) == ([(3, 1.0)], [(4, 2.0)])
    assert [time for time, _ in found.histograms] == [1, 2]
    assert found.histograms[0][1] == HISTOGRAM


@TYPES
async def test_each_query_has_its_own_answer(
    client: httpx.AsyncClient, answers: Callable[[Select], None], type_: int
) -> None:
    async def select(pool: Any, selectors: Any, start: int, end: int, **_: Any) -> Selected:
        [[matcher]] = [selector.matchers for selector in selectors]
        return selected() if matcher.value == "none" else selected(({"__name__": matcher.value}, [(start, float(end))]))

    answers(select)
    queries = [query(("__name__", "=", name), start=1, end=2) for name in ("a", "none", "b")]
    found = await read(client, *queries, type_=type_)
    assert [[series.labels["__name__"] for series in one] for one in found] == [["a"], [], ["b"]]
    assert found[0][0].samples == [(1, 2.0)]


@TYPES
async def test_a_request_without_queries_is_answered_with_nothing(client: httpx.AsyncClient, type_: int) -> None:
    assert await read(client, type_=type_) == []


async def test_the_limits_hold_for_all_queries_together(
    client: httpx.AsyncClient, answers: Callable[[Select], None]
) -> None:
    asked = []

    async def select(*_: Any, max_series: int, max_samples: int, newest_only: bool) -> Selected:
        asked.append((max_series, max_samples, newest_only))
        return selected((UP, [(time, 0.0) for time in range(300)]))

    answers(select)
    await read(client, query(), query(func="series"), query())
    assert asked == [(10, 1000, False), (9, 700, True), (8, 400, False)]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (TooManySamples(), 422, "1000 samples"),
        (TooManySeries(), 422, "10 series"),
        (DatabaseUnavailable(), 503, "cannot be reached"),
        (QueryTooSlow(), 503, "took too long"),
    ],
    ids=["samples", "series", "away", "slow"],
)
async def test_an_error_is_one_line_of_text(
    client: httpx.AsyncClient, answers: Callable[[Select], None], error: Exception, status: int, said: str
) -> None:
    answers(failing(error))
    answer = await post(client, body_of(query()))
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert said in answer.text
    assert answer.text.count("\n") == 1
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Encoding": "identity"}, 415),
        ({"Content_Type": "application/json"}, 415),
        ({"X_Prometheus_Remote_Read_Version": "1.0.0"}, 400),
        ({"Content_Type": "application/x-protobuf; proto=prometheus.ReadRequest"}, 200),
        ({"X_Prometheus_Remote_Read_Version": "0.1.7"}, 200),
    ],
)
async def test_headers_that_say_something_else_are_refused(
    client: httpx.AsyncClient, answers: Callable[[Select], None], headers: dict[str, str], status: int
) -> None:
    answers(always())
    assert (await post(client, body_of(query()), **headers)).status_code == status


async def test_a_body_that_is_too_large_is_413(client: httpx.AsyncClient) -> None:
    answer = await post(client, b"\0" * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("text/plain")


async def test_reading_is_a_post(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).status_code == 405


async def test_a_read_that_takes_too_long_is_given_up(answers: Callable[[Select], None]) -> None:
    async def select(*_: Any, **__: Any) -> Selected:
        await asyncio.Event().wait()
        raise AssertionError

    answers(select)
    app = FastAPI()
    app.include_router(remote_read_router(None, ReadLimits(read_seconds=0.01)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        answer = await post(client, body_of(query()))
    assert answer.status_code == 503
    assert "0.01 seconds" in answer.text


async def test_two_are_answered_at_a_time_and_others_wait(
    client: httpx.AsyncClient, answers: Callable[[Select], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go, begun = asyncio.Event(), asyncio.Queue[None]()

    async def select(*_: Any, **__: Any) -> Selected:
        begun.put_nowait(None)
        await may_go.wait()
        return selected((UP, [(1, 1.0)]))

    answers(select)
    two = [asyncio.ensure_future(read(client, query())) for _ in range(2)]
    for _ in two:
        await begun.get()
    monkeypatch.setattr(remote_read, "TURN_SECONDS", 0.01)
    answer = await post(client, body_of(query()))
    assert answer.status_code == 503
    monkeypatch.setattr(remote_read, "TURN_SECONDS", 15.0)
    third = asyncio.ensure_future(read(client, query()))
    may_go.set()
    for task in (*two, third):
        [[found]] = await task
        assert found.samples == [(1, 1.0)]


class Counting:
    """What an observer was told."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.reads: list[tuple[int, int]] = []

    def ended(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def read(self, series: int, samples: int, seconds: float) -> None:
        assert seconds >= 0
        self.reads.append((series, samples))


async def test_what_becomes_of_each_request_is_counted(answers: Callable[[Select], None]) -> None:
    counting = Counting()
    app = FastAPI()
    app.include_router(remote_read_router(None, ReadLimits(max_series=1), counting))
    problems.install(app)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answers(always((UP, [(1, 1.0), (2, 2.0)]), ({**UP, "a": "b"}, [(1, HISTOGRAM)])))
        await post(client, body_of(query()))
        await post(client, b"no snappy")
        await post(client, b"\0" * (1024 * 1024 + 1))
        for error in (TooManySeries(), DatabaseUnavailable(), ValueError()):
            answers(failing(error))
            await post(client, body_of(query()))
    assert counting.outcomes == ["answered", "refused", "refused", "too_many", "unavailable", "failed"]
    assert counting.reads == [(2, 3)]


async def test_nothing_is_read_any_longer_for_a_client_that_has_gone(
    answers: Callable[[Select], None],
) -> None:
    cancelled, begun, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def select(*_: Any, **__: Any) -> Selected:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    answers(select)
    app = FastAPI()
    counting = Counting()
    app.include_router(remote_read_router(None, ReadLimits(), counting))
    messages = [{"type": "http.request", "body": body_of(query()), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b"", "http_version": "1.1"}
    answering = asyncio.ensure_future(app(scope, receive, send))
    await begun.wait()
    gone.set()
    await cancelled.wait()
    await answering
    assert counting.outcomes == ["left"]


async def test_an_answer_that_nobody_takes_gives_its_turn_back(
    client: httpx.AsyncClient, answers: Callable[[Select], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        yield b"first"
        raise ConnectionResetError

    answers(always((UP, [(1, 1.0)])))
    with monkeypatch.context() as patched:
        patched.setattr(chunks.ChunksAnswer, "chunks", broken)
        for _ in range(3):
            await post(client, body_of(query(), accepted=[CHUNKS]))
    assert (await post(client, body_of(query(), accepted=[CHUNKS]))).status_code == 200


MANY = st.lists(
    st.tuples(
        st.dictionaries(st.text(min_size=1, max_size=4), st.text(min_size=1, max_size=4), max_size=3),
        st.lists(st.floats(allow_nan=False), min_size=1, max_size=30).map(lambda some: list(enumerate(some)))
        | st.lists(st.just(HISTOGRAM), min_size=1, max_size=3).map(lambda some: list(enumerate(some))),
    ),
    max_size=6,
)


@given(MANY, st.integers(1, 20), st.integers(1, 100))
def test_both_types_have_every_sample_however_they_are_portioned(found: Any, portion: int, frame: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for module in (runs, samples, chunks):
            patched.setattr(module, "PORTION", portion)
        patched.setattr(samples, "_PIECE", frame)
        patched.setattr(chunks, "_PIECE", frame)
        as_samples = samples.SamplesAnswer([selected(*found)] * 2).chunks()
        as_chunks = chunks.ChunksAnswer([selected(*found)] * 2).chunks()
        both = [_read(b"".join(as_samples), SAMPLES), _read(b"".join(as_chunks), CHUNKS)]
    for results in both:
        assert [len(results.get(i, [])) for i in range(2)] == [len(found)] * 2
        for series, (labels, expected) in zip(results.get(1, []), found, strict=True):
            assert series.labels == labels
            if isinstance(expected[0][1], NativeHistogram):
                assert [time for time, _ in series.histograms] == [time for time, _ in expected]
            else:
                assert series.samples == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_times_of_any_size_come_as_samples(times: list[int]) -> None:
    found = [(time, float(i)) for i, time in enumerate(times)]
    pieces = samples.SamplesAnswer([selected((UP, found))]).chunks()
    assert _read(b"".join(pieces), SAMPLES)[0][0].samples == found


def test_a_series_is_one_frame_unless_it_is_very_large(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [(i * 1000, math.sin(i)) for i in range(5000)]
    assert len(_read(b"".join(chunks.ChunksAnswer([selected((UP, points))]).chunks()), CHUNKS)[0]) == 1
    monkeypatch.setattr(chunks, "MAX_FRAME", 10_000)
    parts = _read(b"".join(chunks.ChunksAnswer([selected((UP, points))]).chunks()), CHUNKS)[0]
    assert len(parts) > 1
    assert [sample for part in parts for sample in part.samples] == points


def test_an_answer_beyond_four_gibibytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MAX_LENGTH", 10)
    with pytest.raises(samples.TooLong, match="streamed chunks"):
        samples.SamplesAnswer([selected((UP, [(1, 1.0)]))])


def _read(content: bytes, type_: int) -> dict[int, list[Read]]:
    headers = {"content-type": chunks.MEDIA_TYPE}
    if type_ == SAMPLES:
        headers = {"content-type": samples.MEDIA_TYPE, "content-encoding": "snappy"}
    answer = httpx.Response(200, headers=headers, content=b"")
    answer._content = content  # httpx knows no snappy
    return read_samples(answer) if type_ == SAMPLES else read_chunks(answer)
