"""The event bus over REST: publish, follow, resume, and how it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import CollectorRegistry

from ares_otel.api import event_models as models
from ares_otel.api.app import create_app
from ares_otel.api.event_streams import EventStreams
from ares_otel.api.problems import problem_body
from ares_otel.eventbus import SwitchingBus, create_event_bus
from ares_otel.eventbus.subscribers import AnalyticsSubscriber
from ares_otel.model.bus import DATA_LIMIT
from ares_otel.pipeline.http_door import HttpDoor
from tests.support.api import check_problem
from tests.support.bus import Listener, until

ROOT = "/api/v1/events"


@dataclass
class EventsApi:
    client: httpx.AsyncClient
    bus: SwitchingBus
    streams: EventStreams
    door: HttpDoor

    @asynccontextmanager
    async def follow(self, pattern: str, **headers: str) -> AsyncIterator[asyncio.Queue[dict[str, str]]]:
        """The events of a stream, as fields, once the stream is open."""
        found: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        async with self.client.stream("GET", f"{ROOT}/{pattern}", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")

            async def read() -> None:
                fields: dict[str, str] = {}
                async for line in answer.aiter_lines():
                    if not line:
                        await found.put(fields)
                        fields = {}
                    else:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                await found.put({"end": ""})

            reading = asyncio.create_task(read())
            try:
                assert await found.get() == {"retry": "1000"}
                yield found
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


@pytest.fixture
async def api() -> AsyncIterator[EventsApi]:
    async def ready() -> list[str]:
        return []

    bus = await create_event_bus(source="test")
    analytics = AnalyticsSubscriber(bus)
    await analytics.start()
    streams = EventStreams(bus, limit=3, beat_seconds=0.2)
    async with asyncpg.create_pool("postgresql://ares@127.0.0.1:1/none", min_size=0, max_size=1) as pool:
        app = create_app(
            pool,
            version="1",
            registry=CollectorRegistry(),
            ready=ready,
            event_streams=streams,
            event_topics=analytics.topics,
        )
        door = HttpDoor("http", app, host="127.0.0.1", port=0, setting="--http-port", error_bodies=problem_body)
        await door.start()
        try:
            async with httpx.AsyncClient(base_url=door.url, timeout=20) as client:
                yield EventsApi(client, bus, streams, door)
        finally:
            await streams.stop()
            await door.stop()
            await bus.close()


async def test_an_event_that_is_posted_reaches_the_subscribers(api: EventsApi) -> None:
    listener = Listener()
    await api.bus.subscribe("trade.*", listener)
    answer = await api.client.post(f"{ROOT}/trade.executed", json={"price": 1.5})
    assert answer.status_code == 202
    await until(lambda: listener.events)
    assert answer.json() == {"id": listener.events[0].id, "topic": "trade.executed"}
    assert listener.data == [{"price": 1.5}]


@pytest.mark.parametrize(
    "body", [b"null", b"0", b'""', b"[]", b'"\xf0\x9f\x99\x82"', b'"' + b"x" * (DATA_LIMIT - 2) + b'"']
)
async def test_any_json_up_to_a_mebibyte_is_an_event(api: EventsApi, body: bytes) -> None:
    assert (await api.client.post(f"{ROOT}/a", content=body)).status_code == 202


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b"[" * 5000, b'"\\ud800"', b"1" * 30, b'{"a":1,"a":2}'])
async def test_anything_else_is_refused(api: EventsApi, body: bytes) -> None:
    check_problem(await api.client.post(f"{ROOT}/a", content=body), 422, "body")


async def test_a_larger_body_is_refused(api: EventsApi) -> None:
    answer = await api.client.post(f"{ROOT}/a", content=b'"' + b"x" * (DATA_LIMIT + 1) + b'"')
    assert check_problem(answer, 413)["type"] == "urn:ares-otel:problem:content-too-large"


@pytest.mark.parametrize("topic", ["service.online", "config.changed", "spans.error", "tail.spans", "tail"])
async def test_topics_of_ares_itself_are_not_for_others(api: EventsApi, topic: str) -> None:
    problem = check_problem(await api.client.post(f"{ROOT}/{topic}", content=b"1"), 422, "topic")
    assert "service.*" in problem["detail"] or "service.*" in str(problem["errors"])


@pytest.mark.parametrize("topic", ["a.*", "**", "a..b", "a%20b", "x" * 201, "%C3%A4", "a%00"])
async def test_a_wrong_topic_is_named(api: EventsApi, topic: str) -> None:
    check_problem(await api.client.post(f"{ROOT}/{topic}", content=b"1"), 422, "topic")


@pytest.mark.parametrize("pattern", ["a*", "**.a", "a..b", "x" * 201])
async def test_a_wrong_pattern_is_named(api: EventsApi, pattern: str) -> None:
    check_problem(await api.client.get(f"{ROOT}/{pattern}"), 422, "topic")


async def test_unknown_parameters_are_named(api: EventsApi) -> None:
    check_problem(await api.client.get(f"{ROOT}?x=1"), 422, "x")
    check_problem(await api.client.get(f"{ROOT}/a?x=1"), 422, "x")
    check_problem(await api.client.post(f"{ROOT}/a?x=1", content=b"1"), 422, "x")
    check_problem(await api.client.get(f"{ROOT}/a", headers={"Last-Event-ID": "a b"}), 422, "last_event_id")


async def test_a_stream_shows_what_the_pattern_wants_as_it_happens(api: EventsApi) -> None:
    async with api.follow("trade.*") as found:
        await api.bus.publish("other", 1)
        event = await api.bus.publish("trade.executed", {"text": "a\nb\r"})
        shown = await found.get()
        while not shown.get("id"):  # comments in silence
            shown = await found.get()
        assert shown["id"] == event.id
        data = json.loads(shown["data"])
        assert set(data) == {"id", "topic", "data", "published_at", "source"}
        assert data["data"] == {"text": "a\nb\r"}
        assert await found.get() == {"": "still here"}


async def test_who_comes_back_goes_on_behind_the_last_event(api: EventsApi) -> None:
    events = [await api.bus.publish(f"n.{number % 2}", number) for number in range(6)]
    async with api.follow("n.0", **{"Last-Event-ID": events[1].id}) as found:
        assert [json.loads((await found.get())["data"])["data"] for _ in range(2)] == [2, 4]
        await api.bus.publish("n.0", 6)
        assert json.loads((await found.get())["data"])["data"] == 6


async def test_who_comes_back_too_late_is_told(api: EventsApi) -> None:
    async with api.follow("n", **{"Last-Event-ID": "long-ago"}) as found:
        assert await found.get() == {"event": "gap", "data": '{"missing":null}'}


async def test_no_more_streams_than_allowed_are_open_and_they_are_given_back(api: EventsApi) -> None:
    async with api.follow("a"), api.follow("a"), api.follow("a"):
        body = check_problem(await api.client.get(f"{ROOT}/a"), 503)
        assert body["type"] == "urn:ares-otel:problem:too-many-streams"
        assert (await api.client.post(f"{ROOT}/a", content=b"1")).status_code == 202
    await until(lambda: api.streams.open == 0)
    assert not api.bus.wanted_by_anyone("a")
    async with api.follow("a"):
        assert api.bus.wanted_by_anyone("a")


async def test_head_of_a_stream_ends_at_once(api: EventsApi) -> None:
    answer = await api.client.head(f"{ROOT}/a")
    assert answer.status_code == 200
    await until(lambda: api.streams.open == 0)


async def test_streams_end_when_ares_stops(api: EventsApi) -> None:
    async with api.follow("a") as found:
        await api.streams.stop()
        while (await found.get()) != {"end": ""}:
            pass
        check_problem(await api.client.get(f"{ROOT}/a"), 503)


async def test_the_state_of_the_bus_is_shown(api: EventsApi) -> None:
    for number in range(60):
        await api.bus.publish("trade.executed", number)
    await api.bus.publish("a", 1)

    async def state() -> Any:
        answer = await api.client.get(ROOT)
        assert answer.status_code == 200
        return models.BusState.model_validate(answer.json(), extra="forbid")

    await until(lambda: api.bus.counts.delivered == 61)
    shown = await state()
    assert (shown.mode, shown.wanted, shown.healthy, shown.published) == ("memory", "memory", True, 61)
    assert [(row.topic, row.published) for row in shown.topics] == [("trade.executed", 60), ("a", 1)]
    assert 0 < shown.topics[0].per_second <= 1.0


def test_examples_are_answers_as_the_models_have_them() -> None:
    for model, example in ((models.BusState, models.STATE), (models.PublishedEvent, models.PUBLISHED)):
        assert model.model_validate(example, extra="forbid").model_dump(mode="json") == example


async def test_the_document_and_the_page_have_every_path_and_parameter(api: EventsApi) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    document = (await api.client.get("/openapi.json")).json()
    paths = {path: item for path, item in document["paths"].items() if path.startswith(ROOT)}
    assert {path: set(item) for path, item in paths.items()} == {ROOT: {"get"}, f"{ROOT}/{{topic}}": {"get", "post"}}
    for path, item in paths.items():
        assert f"`{path}`" in page
        for operation in item.values():
            assert operation["summary"]
            assert operation["description"]
            [good] = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert all(content["example"] for content in good["content"].values())
            for parameter in operation.get("parameters", ()):
                assert parameter["description"]
                assert f"| `{parameter['name']}` | events |" in page
