"""Remote read over stored metrics, as a client that takes both types of answers sees it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogram, Metric

from ares_otel.api.routers.remote_read import ReadLimits, remote_read_router
from ares_otel.model.prometheus.native_histogram import is_stale_bits
from ares_otel.storage.store import Store
from tests.support.api import Api
from tests.support.ingested import counter, gauge, send
from tests.support.otlp_samples import CUMULATIVE, exponential_point, metrics_request, number_point
from tests.support.remote_read import CHUNKS, SAMPLES, Read, body_of, post, query, read

TYPES = pytest.mark.parametrize("type_", [SAMPLES, CHUNKS], ids=["samples", "chunks"])
EVERYTHING = ("__name__", "=~", ".+")
NOW = time.time_ns() // 10**9
"""In whole seconds, so that milliseconds lose nothing."""


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


def at(seconds_ago: int) -> dict[str, Any]:
    return {"time_unix_nano": (NOW - seconds_ago) * 10**9}


def exponential() -> Metric:
    data = ExponentialHistogram(data_points=[exponential_point()], aggregation_temporality=CUMULATIVE)
    return Metric(name="mail.wait", unit="s", exponential_histogram=data)


async def one(api: Api, *matchers: tuple[str, str, str], type_: int = SAMPLES, **times: Any) -> Read:
    [[found]] = await read(api.client, query(*matchers, **times), type_=type_)
    return found


@TYPES
async def test_every_kind_of_metric_is_read_under_its_names_in_prometheus(api: Api, store: Store, type_: int) -> None:
    await send(store, metrics_request("orders"), metrics_request("orders", [exponential()]))
    [found] = await read(api.client, query(EVERYTHING), type_=type_)
    names = {series.labels["__name__"] for series in found}
    assert {
        "process_memory_usage_bytes",
        "http_server_request_duration_seconds_bucket",
        "http_server_request_duration_seconds_sum",
        "http_server_request_duration_seconds_count",
        "target_info",
    } <= names
    assert all(series.labels["job"] == "orders" for series in found)
    assert [sorted(series.labels.items()) for series in found] == sorted(
        sorted(series.labels.items()) for series in found
    )
    assert "mail_wait_seconds" in [series.labels["__name__"] for series in found if series.histograms]


async def test_both_types_have_the_same_samples(api: Api, store: Store) -> None:
    for ago in range(200, 0, -1):
        await send(
            store,
            metrics_request("orders", [gauge("queue.length", ago / 7, **at(ago)), counter(value=200 - ago, **at(ago))]),
        )
    [as_samples] = await read(api.client, query(EVERYTHING))
    [as_chunks] = await read(api.client, query(EVERYTHING), type_=CHUNKS)
    assert as_samples == as_chunks
    lengths = {series.labels["__name__"]: len(series.points) for series in as_samples}
    assert (lengths["queue_length"], lengths["orders_placed_total"]) == (200, 200)


@TYPES
async def test_the_time_is_inclusive_at_both_ends(api: Api, store: Store, type_: int) -> None:
    await send(store, *(metrics_request(metrics=[gauge(value=float(ago), **at(ago))]) for ago in (4, 3, 2, 1)))
    found = await one(api, ("__name__", "=", "queue_length"), type_=type_, start=(NOW - 3) * 1000, end=(NOW - 2) * 1000)
    assert found.samples == [((NOW - 3) * 1000, 3.0), ((NOW - 2) * 1000, 2.0)]
    narrowed = await one(
        api, ("__name__", "=", "queue_length"), type_=type_, start_ms=(NOW - 2) * 1000, end_ms=(NOW - 2) * 1000
    )
    assert narrowed.samples == [((NOW - 2) * 1000, 2.0)]


@TYPES
async def test_a_point_without_a_value_ends_the_series(api: Api, store: Store, type_: int) -> None:
    ending = gauge("it.ends")
    ending.gauge.data_points[0].CopyFrom(number_point(None, attributes=[], flags=1, **at(1)))
    await send(store, metrics_request(metrics=[gauge("it.ends", 5, **at(2))]), metrics_request(metrics=[ending]))
    found = await one(api, ("__name__", "=", "it_ends"), type_=type_)
    (_, before), (_, end) = found.samples
    assert before == 5
    assert is_stale_bits(end)


async def test_labels_alone_come_with_the_newest_sample(api: Api, store: Store) -> None:
    await send(store, *(metrics_request(metrics=[gauge(value=float(ago), **at(ago))]) for ago in (3, 2, 1)))
    found = await one(api, ("__name__", "=", "queue_length"), func="series", start_ms=0, end_ms=NOW * 1000)
    assert found.samples == [((NOW - 1) * 1000, 1.0)]


@TYPES
async def test_texts_of_any_kind_come_as_they_are(api: Api, store: Store, type_: int) -> None:
    hostile = "'; DROP TABLE metric_series; --\"\\ \n<img src=x> \N{SNOWMAN}"
    await send(store, metrics_request(metrics=[gauge(labels={"path": hostile}, **at(1))]))
    assert (await one(api, ("path", "=", hostile), type_=type_)).labels["path"] == hostile


@pytest.mark.parametrize("operator", ["=", "!=", "=~", "!~"])
@pytest.mark.parametrize("text", ["\0", "a\0b", "\N{SNOWMAN}'\"\\\\", "x" * 4000])
async def test_no_matcher_makes_an_error(api: Api, store: Store, operator: str, text: str) -> None:
    await send(store, metrics_request(metrics=[gauge(**at(1))]))
    for name, value in ((text[:1000], "value"), ("job", text)):
        answer = await post(api.client, body_of(query(("__name__", "=", "queue_length"), (name, operator, value))))
        assert answer.status_code == 200, answer.text


async def test_nothing_that_fits_is_an_answer_too(api: Api) -> None:
    assert await read(api.client, query(EVERYTHING)) == [[]]
    assert await read(api.client, query(EVERYTHING), type_=CHUNKS) == [[]]
    assert await read(api.client, query(EVERYTHING, start=10, end=5)) == [[]]
    assert await read(api.client, query(EVERYTHING, start=-(2**63), end=2**63 - 1)) == [[]]


@pytest.mark.parametrize(
    ("limits", "said"),
    [(ReadLimits(max_samples=3), "3 samples"), (ReadLimits(max_series=2), "series")],
    ids=["samples", "series"],
)
async def test_more_than_there_may_be_is_refused_with_advice(
    api: Api, store: Store, limits: ReadLimits, said: str
) -> None:
    metrics = [gauge(f"queue.{i}", **at(1)) for i in range(4)]
    await send(store, metrics_request(metrics=metrics))
    app = FastAPI()
    app.include_router(remote_read_router(api.pool, limits))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        answer = await post(client, body_of(query(EVERYTHING)))
        assert answer.status_code == 422
        assert said in answer.text
        [few] = await read(client, query(("__name__", "=~", "queue_[12]")))
    assert len(few) == 2


async def test_a_native_histogram_counts_as_many_samples(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[exponential()]))
    native = query(("__name__", "=", "mail_wait_seconds"))
    for most, status in ((9, 422), (10, 200)):
        app = FastAPI()
        app.include_router(remote_read_router(api.pool, ReadLimits(max_samples=most)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            assert (await post(client, body_of(native))).status_code == status
