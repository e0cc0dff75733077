"""The stream of changes of settings: in order, complete, resumable, and over promptly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from ares_otel.control.config import Author
from ares_otel.control.config import changes as feed_module
from ares_otel.pipeline.http_door import HttpDoor
from tests.support.api import check_problem
from tests.support.config_api import ROOT, ConfigApi, Event, next_events, read_events, running_config_api


@asynccontextmanager
async def served(api: ConfigApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API behind a real door: a stream that is still open cannot be read in process."""
    door = HttpDoor("http", api.app, host="127.0.0.1", port=0, setting="--http-port")
    await door.start()
    try:
        async with httpx.AsyncClient(base_url=door.url, timeout=30) as client:
            yield client
    finally:
        await api.feed.stop()
        await door.stop()


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ConfigApi]:
    async with running_config_api(database_url) as made:
        yield made


@asynccontextmanager
async def watching(
    client: httpx.AsyncClient, service: str, *, headers: dict[str, str] | None = None, query: str = ""
) -> AsyncIterator[AsyncIterator[Event]]:
    async with client.stream("GET", f"{ROOT}/{service}/watch{query}", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield read_events(response)


@pytest.mark.parametrize("listens", [True, False])
async def test_a_watcher_gets_the_settings_and_then_every_change_of_its_service(
    database_url: str, listens: bool
) -> None:
    async with (
        running_config_api(database_url, listens=listens) as api,
        served(api) as client,
        watching(client, "agent-coordinator") as events,
    ):
        [snapshot] = await next_events(events, 1)
        assert snapshot.name == "snapshot"
        assert {c["config_key"]: c["config_value"] for c in snapshot.data["configs"]} == {
            "polling_interval": 5,
            "task.max_concurrent": 5,
            "task.retry_count": 3,
        }
        await api.put("agent-coordinator/polling_interval", 6)
        await api.put("other/key", 1)
        await api.pool.execute("UPDATE service_config SET config_value = '7' WHERE config_key = 'polling_interval'")
        await api.delete("agent-coordinator/polling_interval")
        told = await next_events(events, 3)
        assert [(e.name, e.data["key"], e.data["version"], e.data["deleted"], e.data.get("value")) for e in told] == [
            ("config", "polling_interval", 2, False, 6),
            ("config", "polling_interval", 3, False, 7),
            ("config", "polling_interval", 4, True, None),
        ]
        assert [e.data["updated_by"] for e in told][::2] == ["alice", "bob"]
        assert snapshot.id < told[0].id < told[1].id < told[2].id


async def test_a_watcher_goes_on_behind_the_last_event_that_it_saw(api: ConfigApi) -> None:
    async with served(api) as client:
        async with watching(client, "s") as events:
            [snapshot] = await next_events(events, 1)
            await api.put("s/k", 1)
            [first] = await next_events(events, 1)
        await api.put("s/k", 2)
        for headers, query in (
            ({"Last-Event-ID": str(first.id)}, ""),
            (None, f"?last_event_id={first.id}"),
        ):
            async with watching(client, "s", headers=headers, query=query) as events:
                [missed] = await next_events(events, 1)
                assert (missed.name, missed.data["value"]) == ("config", 2)
        async with watching(client, "s", query="?last_event_id=999999") as events:
            [anew] = await next_events(events, 1)
            assert anew.name == "snapshot"
        check_problem(await client.get(f"{ROOT}/s/watch", headers={"Last-Event-ID": "x"}), 422, "Last-Event-ID")
        assert snapshot.id < first.id


async def test_a_watcher_never_sees_a_later_change_before_an_earlier_one(api: ConfigApi, database_url: str) -> None:
    """Transactions that begin early and end late are where a sequence alone goes wrong."""
    writers = [await asyncpg.connect(database_url) for _ in range(4)]

    async def write(number: int) -> None:
        for step in range(10):
            async with writers[number].transaction():
                for key in (f"a{number}", f"b{number}"):
                    await writers[number].execute(
                        "INSERT INTO service_config (service_name, config_key, config_value) "
                        "VALUES ('s', $1, $2::jsonb) ON CONFLICT (service_name, config_key) "
                        "DO UPDATE SET config_value = excluded.config_value",
                        key,
                        str(step),
                    )
                    await asyncio.sleep(0.002 * number)  # the slower ones overlap more

    async with served(api) as client, watching(client, "s") as events:
        await next_events(events, 1)
        writing = asyncio.gather(*(write(number) for number in range(4)))
        told = await next_events(events, 80)
        await writing
    assert [e.id for e in told] == sorted(e.id for e in told)
    stored = await api.pool.fetch("SELECT id FROM service_config_history WHERE service_name = 's' ORDER BY id")
    assert [e.id for e in told] == [row["id"] for row in stored]
    for writer in writers:
        await writer.close()


async def test_a_watcher_misses_nothing_when_the_listening_connection_breaks(api: ConfigApi) -> None:
    async with served(api) as client, watching(client, "s") as events:
        await next_events(events, 1)
        await api.put("s/k", 1)
        await next_events(events, 1)
        await api.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'"
        )
        await api.put("s/k", 2)
        await api.put("s/k", 3)
        assert [e.data["value"] for e in await next_events(events, 2)] == [2, 3]


async def test_streams_end_when_ares_stops(api: ConfigApi) -> None:
    async with served(api) as client, watching(client, "s") as events:
        await next_events(events, 1)
        await api.feed.stop()
        async with asyncio.timeout(10):
            assert [event async for event in events] == []
        check_problem(await client.get(f"{ROOT}/s/watch"), 503)


async def test_there_are_only_so_many_watchers_and_one_that_leaves_makes_room(
    api: ConfigApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_WATCHERS", 1)
    async with served(api) as client:
        async with watching(client, "s") as events:
            await next_events(events, 1)
            await api.put("s/k", 1)
            await next_events(events, 1)
            refused = check_problem(await client.get(f"{ROOT}/s/watch"), 503)
            assert refused["type"] == "urn:ares-otel:problem:too-many-streams"
        async with asyncio.timeout(20):
            while api.feed.watchers:
                await api.service.put("s", "k", api.feed.watchers, Author("a"))
        async with watching(client, "s") as events:
            await next_events(events, 1)


async def test_head_of_a_stream_ends_at_once(api: ConfigApi) -> None:
    async with served(api) as client:
        answer = await client.head(f"{ROOT}/s/watch")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")


async def test_secrets_are_not_in_a_stream(api: ConfigApi) -> None:
    async with served(api) as client, watching(client, "s", query="?last_event_id=0") as events:
        await api.put("s/token", "canary-7f", is_encrypted=True)
        await api.put("s/token", "canary-8f")
        first, second = await next_events(events, 2)
        assert first.data["is_encrypted"]
        assert second.data["is_encrypted"]
        assert "value" not in second.data
        assert "canary" not in f"{first}{second}"
