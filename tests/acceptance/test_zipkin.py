"""Zipkin into a real Ares: the door, the rows, one trace with OTLP, and the promise of a 202."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from ares_otel.model.zipkin.json_spans import read_span
from ares_otel.model.zipkin.proto_spans import write_spans
from tests.faults.support.account import read_metrics, unbalanced
from tests.support import parts
from tests.support.ares_process import AresProcess, run_ares, running_ares
from tests.support.eventually import eventually
from tests.support.postgres import copied_database
from tests.support.zipkin_receiver import PATH, body_of, zipkin_span

RECIPE = Path(__file__).parents[2] / "collector" / "zipkin.yaml"
DEFAULT = Path(__file__).parents[2] / "collector" / "ares.yaml"
FREE_PORT = {"ZIPKIN_PORT": "0"}
NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION no_room();
"""
TRACE = "463ac35c9f6413ad48485a3953bb6124"


@pytest.fixture(scope="module")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    """Started once, with two workers, from the configuration that the page shows."""
    folder = tmp_path_factory.mktemp("zipkin")
    flags = ("--config", str(RECIPE), "--workers", "2")
    with (
        copied_database(postgres_server) as url,
        running_ares(folder, "--database-url", url, *flags, env=FREE_PORT) as ares,
    ):
        yield ares


@pytest.fixture
def own_url(postgres_server: str) -> Iterator[str]:
    """A database for an Ares of the test's own."""
    with copied_database(postgres_server) as url:
        yield url


@pytest.fixture
async def database(ares: AresProcess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(ares.database)
    yield connection
    await connection.close()


async def post(url: str, body: bytes, content_type: str = "application/json", **headers: str) -> httpx.Response:
    """On a connection of its own: the system gives it to one of the workers."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
        return await client.post(url + PATH, content=body, headers={"content-type": content_type, **headers})


def now(**fields: Any) -> dict[str, Any]:
    return {"timestamp": time.time_ns() // 1000, **fields}


async def test_a_span_becomes_a_row_with_everything_that_it_says(ares: AresProcess, database: Any) -> None:
    at = time.time_ns() // 1000
    span = zipkin_span(
        7,
        "row",
        kind="CLIENT",
        parentId="6b221d5bc9e6496c",
        timestamp=at,
        duration=1431,
        remoteEndpoint={"serviceName": "db", "ipv4": "172.19.0.2", "port": 5432},
        annotations=[{"timestamp": at + 5, "value": "ws"}],
        tags={"http.status_code": "500", "error": "boom", "service.version": "3", "null": "a\0b"},
    )
    answer = await post(ares.doors["zipkin"], body_of(span))
    assert (answer.status_code, answer.content) == (202, b"")
    [row] = await database.fetch("SELECT * FROM v_spans WHERE service_name = 'row'")
    assert (row["trace_id"], row["span_id"], row["parent_span_id"]) == (TRACE, f"{7:016x}", "6b221d5bc9e6496c")
    assert (row["operation_name"], row["kind"], row["duration_ms"]) == ("span 7", "client", 1.431)
    assert (row["status"], row["status_message"]) == ("error", "boom")
    assert '"service.version": "3"' in row["resource_attributes"]
    for text in ('"peer.service": "db"', '"network.peer.port": 5432', '"http.status_code": 500', '"null": "a\ufffdb"'):
        assert text in row["attributes"]
    assert f'"time_unix_nano": {(at + 5) * 1000}' in row["events"]


async def test_a_request_that_is_sent_again_is_stored_once_whichever_worker_gets_it(
    ares: AresProcess, database: Any
) -> None:
    spans = [zipkin_span(number, "again", **now()) for number in (1, 2)]
    for body, content_type in (
        (body_of(*spans), "application/json"),
        (write_spans([read_span(span) for span in spans]), "application/x-protobuf"),
    ):
        for _ in range(4):
            assert (await post(ares.doors["zipkin"], body, content_type)).status_code == 202
        packed = await post(ares.doors["zipkin"], gzip.compress(body), content_type, **{"content-encoding": "gzip"})
        assert packed.status_code == 202
    count = await database.fetchval("SELECT count(*) FROM service_spans WHERE service_name = 'again'")
    assert count == 4, "two for each of the two different bodies"


async def test_a_span_without_a_timestamp_is_filed_under_the_time_at_which_it_came(
    ares: AresProcess, database: Any
) -> None:
    await post(ares.doors["zipkin"], body_of(zipkin_span(1, "timeless", timestamp=None, duration=5)))
    [row] = await database.fetch(
        "SELECT start_time = received_at AS now, duration_ns, attributes FROM service_spans"
        " WHERE service_name = 'timeless'"
    )
    assert (row["now"], row["duration_ns"]) == (True, 5000)
    assert '"otel.zipkin.absentField.startTime": true' in row["attributes"]


async def test_what_came_in_is_accounted_for_also_what_was_left_out(ares: AresProcess, database: Any) -> None:
    before = (await read_metrics(ares.http)).sum("ares_otel_receiver_rejected_spans_total", receiver="zipkin")
    answer = await post(ares.doors["zipkin"], body_of(zipkin_span(1, "part", **now()), {"id": "none"}))
    assert (answer.status_code, answer.text) == (
        202,
        "1 of 2 spans cannot be kept; the first: [1]: id is not hexadecimal, of at most 32 digits.\n",
    )
    assert (await post(ares.doors["zipkin"], body_of({}, {}))).status_code == 400
    metrics = await read_metrics(ares.http)
    assert metrics.sum("ares_otel_receiver_rejected_spans_total", receiver="zipkin") == before + 3
    assert unbalanced(metrics) == []
    assert await database.fetchval("SELECT count(*) FROM service_spans WHERE service_name = 'part'") == 1


async def test_the_official_sdk_sends_what_it_sends_to_zipkin(ares: AresProcess, database: Any) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "Sdk", "service.version": "1"}))
    provider.add_span_processor(SimpleSpanProcessor(ZipkinExporter(endpoint=ares.doors["zipkin"] + PATH)))

    def work() -> None:
        tracer = provider.get_tracer("lib", "2")
        with (
            contextlib.suppress(ValueError),
            tracer.start_as_current_span("outer", kind=SpanKind.SERVER) as outer,
        ):
            outer.set_attribute("n", 5)
            outer.add_event("hello", {"a": 1})
            raise ValueError("no")
        provider.shutdown()

    await asyncio.to_thread(work)
    [row] = await database.fetch("SELECT * FROM v_spans WHERE service_name = 'Sdk'")
    assert (row["operation_name"], row["kind"], row["status"]) == ("outer", "server", "error")
    assert row["status_message"] == "ValueError: no"
    assert (row["scope_name"], row["scope_version"]) == ("lib", "2")
    assert '"n": 5' in row["attributes"]
    assert '"service.version": "1"' in row["resource_attributes"]
    assert '"name": "hello"' in row["events"]
    assert '"exception.message": "no"' in row["events"]


async def test_a_trace_over_services_that_speak_otlp_and_services_that_speak_zipkin_is_one(ares: AresProcess) -> None:
    trace, at = "5af7183fb1d4cf5f" * 2, time.time_ns() // 1000 * 1000
    root = {
        "trace_id": bytes.fromhex(trace),
        "span_id": b"\1" * 8,
        "name": "call",
        "kind": Span.SPAN_KIND_CLIENT,
        "start_time_unix_nano": at,
        "end_time_unix_nano": at + 9_000_000,
    }
    zipkin = {"traceId": trace, "parentId": "01" * 8, "timestamp": at // 1000 + 1}
    last = {**root, "span_id": b"\3" * 8, "parent_span_id": b"\2" * 8, "name": "query"}
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        for fields, service in ((root, "front"), (last, "store")):
            answer = await client.post(
                f"{ares.otlp_http}/v1/traces",
                content=parts.traces(fields, resource={"service__name": service}).SerializeToString(),
                headers={"content-type": "application/x-protobuf"},
            )
            assert answer.status_code == 200
        # The server shares its id with nobody; the client beside it shares one, as Zipkin's libraries do it.
        between = [
            zipkin_span(0x0202020202020202, "middle", **zipkin, kind="SERVER"),
            zipkin_span(0x0404040404040404, "middle", **zipkin, kind="CLIENT"),
            zipkin_span(0x0404040404040404, "cache", **zipkin, kind="SERVER", shared=True),
        ]
        assert (await post(ares.doors["zipkin"], body_of(*between))).status_code == 202
        found = (await client.get(f"{ares.http}/api/v1/observability/trace/{trace}")).raise_for_status().json()
    spans = found["spans"]
    assert {span["service_name"] for span in spans} == {"front", "middle", "cache", "store"}
    assert len(spans) == 5
    parents = {span["operation_name"]: span["parent_span_id"] for span in spans}
    assert parents["query"] == "02" * 8


async def test_what_was_answered_202_survives_a_kill_committed_or_in_the_spool(own_url: str, tmp_path: Path) -> None:
    told: set[str] = set()

    async def send(url: str, first: int) -> None:
        for number in range(first, first + 10_000):
            batch = [zipkin_span(number * 100 + n, "killed", **now()) for n in range(1, 20)]
            try:
                answer = await post(url, body_of(*batch))
            except httpx.TransportError:
                return
            if answer.status_code == 202:
                told.update(span["id"] for span in batch)

    async def stored() -> list[str]:
        rows = await connection.fetch("SELECT span_id FROM service_spans WHERE service_name = 'killed'")
        return [row["span_id"].hex() for row in rows]

    async def more_than(count: int) -> None:
        await eventually(lambda: asyncio.sleep(0, len(told) > count), every=0.01)

    flags = ("--database-url", own_url, "--config", str(RECIPE))
    connection = await asyncpg.connect(own_url)
    try:
        with running_ares(tmp_path, *flags, env=FREE_PORT) as ares:
            senders = [asyncio.create_task(send(ares.doors["zipkin"], first)) for first in (1, 20_000, 40_000)]
            await more_than(200)
            await connection.execute(NO_ROOM)
            await more_than(len(told) + 400)
            ares.kill()
            await asyncio.gather(*senders)
        assert not told <= set(await stored()), "some of it waits in the spool"
        await connection.execute("DROP TRIGGER no_room ON service_spans")
        with running_ares(tmp_path, *flags, env=FREE_PORT):

            async def all_there() -> bool:
                return told <= set(await stored())

            await eventually(all_there, every=0.05)
        rows = await stored()
        assert len(rows) == len(set(rows))
    finally:
        await connection.close()


async def test_sighup_opens_the_door_and_closes_it_again(own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ares.yaml"
    file.write_text(DEFAULT.read_text())
    with running_ares(tmp_path, "--database-url", own_url, "--config", str(file), env=FREE_PORT) as ares:

        async def read_again(times: int) -> None:
            os.kill(ares.pid, signal.SIGHUP)
            await eventually(lambda: asyncio.sleep(0, ares.stderr.count("is in force") == times), every=0.02)

        assert "zipkin" not in ares.doors
        file.write_text(RECIPE.read_text())
        await read_again(1)
        [door] = re.findall(r"The door zipkin is now (\S+)\.", ares.stderr)
        assert (await post(door, body_of(zipkin_span(1, **now())))).status_code == 202
        file.write_text(DEFAULT.read_text())
        await read_again(2)
        with pytest.raises(httpx.ConnectError):
            await post(door, body_of(zipkin_span(2)))


async def test_two_ares_are_joined_by_zipkin(ares: AresProcess, own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ares.yaml"
    file.write_text(
        RECIPE.read_text()
        .replace("  # zipkin:\n", "  zipkin:\n")
        .replace("  #   endpoint: http://zipkin.example.com:9411", f"    endpoint: {ares.doors['zipkin']}")
        .replace("exporters: [postgres]", "exporters: [postgres, zipkin]", 1)
    )
    with running_ares(tmp_path, "--database-url", own_url, "--config", str(file), env=FREE_PORT) as near:
        sent = zipkin_span(1, "joined", **now(), kind="SERVER", tags={"n": "5", "service.version": "1"})
        assert (await post(near.doors["zipkin"], body_of(sent))).status_code == 202
        rows = []
        for database in (near.database, ares.database):
            connection = await asyncpg.connect(database)

            async def there(connection: Any = connection) -> Any:
                return await connection.fetchrow(
                    "SELECT trace_id, span_id, operation_name, kind, start_time, duration_ms, attributes,"
                    " resource_attributes FROM v_spans WHERE service_name = 'joined'"
                )

            rows.append(await eventually(there))
            await connection.close()
    assert rows[0] == rows[1]


def test_the_recipe_is_valid() -> None:
    done = run_ares(["validate", "--config", str(RECIPE)])
    assert done.returncode == 0, done.stderr
