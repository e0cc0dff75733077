"""What stands beside and in front of Ares: slow clients, Redis, the official Collector."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.support.account import spool_is_empty
from tests.faults.support.case import Case
from tests.faults.support.load import under_load
from tests.faults.support.marks import long_faults
from tests.faults.support.pg_proxy import proxy
from tests.faults.support.raw_sender import Doors
from tests.faults.support.site import Site, running_site
from tests.support import collector
from tests.support.eventually import eventually
from tests.support.redis import needs_redis, redis_server


@pytest.mark.parametrize("clients", [pytest.param(100, id="100 clients"), long_faults(2000, seconds=300, id="2,000")])
async def test_f20_clients_that_send_a_byte_now_and_then_leave_the_others_alone(
    case: Case, database_url: str, folder: Path, clients: int
) -> None:
    """Half of them never end their headers, half never their body."""
    async with running_site(folder / "data", database_url) as site:
        with slow_clients(site.doors, clients) as sockets:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(500)
                for one in sockets:
                    with contextlib.suppress(OSError):
                        one.send(b"x")
                await load.acknowledged(500)
            assert set(load.answers) <= {"answered", "HTTP 503"}, load.answers
            gone = sum(ended(one) for one in sockets)
            print(f"{gone} of {clients} slow clients were left; the others heard {dict(load.answers)}")
        await case.ends(database_url, site)


@contextlib.contextmanager
def slow_clients(doors: Doors, count: int) -> Iterator[list[socket.socket]]:
    """Connections to OTLP/HTTP that begin a request and do not end it."""
    host, _, port = doors.http[0].partition(":")
    sockets: list[socket.socket] = []
    head = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
    try:
        for number in range(count):
            one = socket.create_connection((host, int(port)), timeout=10)
            sockets.append(one)
            with contextlib.suppress(OSError):
                one.sendall(head if number % 2 else head + b"content-length: 1000\r\n\r\n")
            one.setblocking(False)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def ended(one: socket.socket) -> bool:
    """Whether the other side has answered or closed."""
    try:
        one.recv(1000)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@needs_redis
async def test_f22_redis_that_is_killed_frozen_full_and_emptied_leaves_ingest_alone(
    case: Case, database_url: str, folder: Path
) -> None:
    with redis_server() as redis:
        async with running_site(folder / "data", database_url) as site:
            await put(site, "eventbus.redis_url", redis.url)
            await put(site, "eventbus.type", "redis")
            await bus(site, "redis")
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(200)
                redis.kill()
                await bus(site, "memory")
                await load.acknowledged(200)
                redis.start("--maxmemory", "1mb")  # empty, and full at once
                await load.acknowledged(200)
                redis.kill()
                redis.start()
                await bus(site, "redis")
                redis.freeze()
                await load.acknowledged(200)
                redis.thaw()
                await load.acknowledged(200)
            assert load.refusals == 0, load.answers
            await case.ends(database_url, site)


async def put(site: Site, key: str, value: str) -> None:
    """Changes a setting of Ares."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        body = {"value": value, "updated_by": "test"}
        (await client.put(f"{site.api}/api/v1/config/ares-api/{key}", json=body)).raise_for_status()


async def bus(site: Site, mode: str) -> None:
    """Waits until the event bus runs in that mode."""

    async def look() -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return bool((await client.get(f"{site.api}/api/v1/events")).json()["mode"] == mode)

    await eventually(look)


@pytest.fixture(scope="module")
def otelcol() -> Path:
    """The official Collector, with its persistent queue."""
    try:
        return collector.install()
    except collector.UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.long_faults
@pytest.mark.timeout(collector.BUILD_SECONDS + 120)
async def test_what_the_official_collector_took_into_its_persistent_queue_is_stored_once_through_every_outage(
    case: Case, database_url: str, folder: Path, otelcol: Path
) -> None:
    """Its OK means that a request is on its disk; it repeats what was not answered until it is."""
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url, spool=False) as site:
            env = {"ARES_OTEL_ENDPOINT": site.doors.grpc[0], "OTELCOL_STORAGE": str(folder / "queue")}
            with collector.running_collector(otelcol, "agent", env) as front:
                doors = Doors((front.grpc.removeprefix("http://"),), (front.http.removeprefix("http://"),))
                # A request that is repeated to the Collector is another request to Ares: it batches anew.
                async with under_load(case.oracle, doors, repeat_every=0, pause=0.05) as load:
                    await load.acknowledged(300)
                    await site.restart()
                    await load.acknowledged(300)
                    way.away()
                    await load.acknowledged(300)
                    way.back()
                    await load.acknowledged(300)
                await everything_is_stored(case, database_url)
            await spool_is_empty(site.api)
            await case.ends(database_url, site)


async def everything_is_stored(case: Case, url: str) -> None:
    """Waits until the Collector has passed everything on."""
    began = time.monotonic()

    async def look() -> bool:
        return (await case.oracle.compare(url))[0].lost == 0

    await eventually(look, seconds=90)
    print(f"the Collector was done {time.monotonic() - began:.1f} s after its senders")
