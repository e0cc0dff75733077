"""A running application is in the service registry; the same by REST and by SQL."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry.sdk.resources import Resource

from ares_otel.control.heartbeats import Heartbeats
from ares_otel.sdk.remote import registration as registration_module
from ares_otel.sdk.remote.registration import Registration
from ares_otel.storage.rows.encoded import ServiceSeen
from tests.support.eventually import eventually
from tests.support.postgres import copied_database
from tests.support.remote import Ares, ares_on, comes, stranger

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def module_database(postgres_server: str) -> Iterator[str]:
    with copied_database(postgres_server) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ares(module_database: str) -> AsyncIterator[Ares]:
    async with ares_on(module_database) as made:
        yield made


@pytest.fixture
def name() -> str:
    """A service that no other test has."""
    return f"orders-{next(_numbers)}"


@pytest.fixture(params=["rest", "sql"])
def source(request: pytest.FixtureRequest, ares: Ares) -> dict[str, Any]:
    return {"api_url": ares.api_url} if request.param == "rest" else {"database_url": ares.database_url}


def resource(name: str, instance: str = "one", attributes: Mapping[str, str | int] | None = None) -> Resource:
    names = {"service.name": name, "service.instance.id": instance, "service.version": "1.4.2"}
    return Resource.create({**names, **(attributes or {})})


async def rows(ares: Ares, name: str) -> list[Any]:
    found: list[Any] = await ares.pool.fetch(
        "SELECT *, metadata::text AS meta FROM service_registry WHERE name = $1 ORDER BY id", name
    )
    return found


async def row(ares: Ares, name: str, **expected: Any) -> Any:
    """The service's only row, when it has these columns."""

    async def look() -> Any:
        found = await rows(ares, name)
        assert len(found) == 1
        assert {column: found[0][column] for column in expected} == expected
        return found[0]

    return await eventually(look, every=0.02)


async def test_it_registers_beats_and_leaves(
    ares: Ares, name: str, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ares.interval = 0.1
    await ares.put("ares-api", "service.heartbeat_interval", 0.1)
    registration = Registration(
        resource(name, attributes={"service.namespace": "shop", "host.name": "box", "process.pid": 7}),
        port=8000,
        health_url="http://10.1.2.3:8000/health",
        metadata={"team": "checkout", "host.name": "mine"},
        **source,
    )
    registration.start()
    registration.start()
    found = await row(ares, name, instance_id="one", version="1.4.2", port=8000, status="online", registered=True)
    assert found["health_url"] == "http://10.1.2.3:8000/health"
    for part in ('"team": "checkout"', '"host.name": "mine"', '"process.pid": 7', '"service.namespace": "shop"'):
        assert part in found["meta"]
    beat = None
    for _ in range(2):

        async def later(last: Any = beat) -> Any:
            [found] = await rows(ares, name)
            now = found["last_registration_heartbeat"]
            return now if now is not None and now != last else None

        beat = await eventually(later, every=0.02)
    assert await asyncio.to_thread(registration.stop, 20)
    assert await rows(ares, name) == []
    assert registration.stop(0)
    assert not [one for one in caplog.records if one.threadName == "ares-otel registry"], "all went well"
    registration.start()
    await row(ares, name, registered=True)
    assert await asyncio.to_thread(registration.stop, 20)


async def test_it_is_the_row_that_its_telemetry_made(ares: Ares, name: str, source: dict[str, Any]) -> None:
    telemetry = Heartbeats(ares.pool)
    await telemetry.start()
    telemetry.seen([ServiceSeen(name, "", "1.4.2", "one", "python")])
    await row(ares, name, registered=False)
    registration = Registration(resource(name), **source)
    registration.start()
    found = await row(ares, name, registered=True)
    assert found["last_telemetry"] is not None
    await telemetry.stop()
    assert await asyncio.to_thread(registration.stop, 20)


async def test_an_ares_that_forgets_it_hears_of_it_again(ares: Ares, name: str, source: dict[str, Any]) -> None:
    ares.interval = 0.1
    await ares.put("ares-api", "service.heartbeat_interval", 0.1)
    registration = Registration(resource(name), **source)
    registration.start()
    first = await row(ares, name, registered=True)
    await ares.pool.execute("DELETE FROM service_registry WHERE name = $1", name)
    again = await row(ares, name, registered=True)
    assert again["id"] != first["id"]
    assert await asyncio.to_thread(registration.stop, 20)
    assert await rows(ares, name) == []


async def test_an_ares_that_is_away_is_waited_for(ares: Ares, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ares.interval = 0.1
    await ares.stop()
    registration = Registration(resource(name), api_url=ares.api_url)
    registration.start()
    for round in (1, 2):
        await comes(lambda: caplog.text.count("is not in the service registry just now") == round)  # noqa: B023
        await ares.start()
        await row(ares, name, registered=True)
        await comes(lambda: caplog.text.count("is in the service registry again") == round)  # noqa: B023
        await ares.stop()
    await comes(lambda: caplog.text.count("is not in the service registry just now") == 3)
    await ares.start()
    await row(ares, name, registered=True)
    assert await asyncio.to_thread(registration.stop, 20)
    assert await rows(ares, name) == []


async def test_a_database_that_is_away_is_waited_for_and_its_password_not_said(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    registration = Registration(resource(name), database_url="postgresql://ares:canary@127.0.0.1:1/none")
    registration.start()
    await comes(lambda: "is not in the service registry just now" in caplog.text)
    assert registration.stop(20), "nothing to take off"
    assert "canary" not in caplog.text


async def test_what_the_registry_refuses_is_left_out_and_said(
    ares: Ares, name: str, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    registration = Registration(
        resource(name),
        health_url="http://127.0.0.1:8000/",
        port=70_000,
        metadata={"large": "x" * 20_000},
        **source,
    )
    registration.start()
    await row(ares, name, registered=True, health_url=None, port=None)
    assert await asyncio.to_thread(registration.stop, 20)
    for field in ("health_url", "port", "metadata"):
        assert caplog.text.count(f"registers without its {field}") == 1


async def test_a_name_that_the_registry_refuses_is_said_and_asked_rarely(
    ares: Ares, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    registration = Registration(resource("or\0ders"), **source)
    registration.start()
    await comes(lambda: "it refuses the name: " in caplog.text)
    assert registration.stop(20)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("own", [True, False], ids=["an instance of its own", "the same instance"])
async def test_a_forked_process_registers_as_its_own_instance(
    ares: Ares, name: str, source: dict[str, Any], own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_module, "CHILD_SECONDS", 0.05)
    parent = os.getpid()

    def made() -> Resource:
        return resource(name, "child" if own and os.getpid() != parent else "parent")

    registration = Registration(made, **source)
    registration.start()
    await row(ares, name, instance_id="parent")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0 if registration.stop(20) else 1)
    os.close(read)
    ended = asyncio.create_task(asyncio.to_thread(os.waitpid, child, 0))
    if own:
        await eventually(lambda: two(ares, name), every=0.02)
    os.write(write, b"x")
    assert os.waitstatus_to_exitcode((await ended)[1]) == 0
    os.close(write)
    await row(ares, name, instance_id="parent")
    assert await asyncio.to_thread(registration.stop, 20)
    assert await rows(ares, name) == []


async def two(ares: Ares, name: str) -> bool:
    return [found["instance_id"] for found in await rows(ares, name)] == ["parent", "child"]


ANSWERS = {
    "another program": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",
    "no such path": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    "a redirect": b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "a refusal of another form": b"HTTP/1.1 422 No\r\ncontent-length: 13\r\n\r\n" + b'{"errors":[]}',
    "a row of another form": b"HTTP/1.1 201 Created\r\ncontent-length: 8\r\n\r\n" + b'{"id":1}',
    "a large answer": b"HTTP/1.1 201 Created\r\ncontent-length: 9000000\r\n\r\n" + b" " * 2_000_000,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_what_is_not_ares_is_said_once(answer: bytes, name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with stranger(send) as server:
        registration = Registration(resource(name), api_url=server.url)
        registration.start()
        await comes(lambda: "is not in the service registry just now" in caplog.text)
        assert registration.stop(20)
        assert len(server.requests) == 1


async def test_an_end_that_cannot_tell_the_registry_is_on_time(ares: Ares, name: str) -> None:
    """Ares takes connections and says nothing any more."""
    registered = asyncio.Event()
    hang = asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        if registered.is_set():
            await hang.wait()
        body = b'{"id": 1, "name": "%s", "heartbeat_interval": 3600}' % name.encode()
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        registered.set()

    async with stranger(send) as server:
        registration = Registration(resource(name), api_url=server.url)
        registration.start()
        await asyncio.wait_for(registered.wait(), 30)
        assert await asyncio.to_thread(registration.stop, 0.3) is False
        hang.set()
