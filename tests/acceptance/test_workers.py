"""`ares-otel up --workers 2`: from outside it is one Ares."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import grpc.aio
import httpx
import pytest

from ares_otel.api.jaeger.proto import storage_v2_pb2
from ares_otel.model.batch import DEFAULT_TENANT, batch_key
from ares_otel.model.signal import TRACES
from ares_otel.receivers.otlp.http_app import PROMETHEUS_PATH
from tests.faults.support.account import Metrics, read_metrics, unbalanced
from tests.support.ares_process import AresProcess, run_ares, running_ares, said
from tests.support.eventually import eventually
from tests.support.ingested import gauge
from tests.support.jaeger_shop import jaeger_clients, spans_of
from tests.support.otlp_samples import metrics_request, span, trace_request
from tests.support.postgres import copied_database
from tests.support.remote_write import PATH as WRITE
from tests.support.remote_write import V2, packed, request_v2, series, written
from tests.support.senders import different_requests, send_all
from tests.support.spool import opened, otlp_record

OTLP = {"content-type": "application/x-protobuf"}
IN_FORCE = "was read again and is in force"
DEFAULT = (Path(__file__).parents[2] / "collector" / "ares.yaml").read_text()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "ares.yaml"
    file.write_text(DEFAULT)
    return file


@pytest.fixture(scope="module")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[AresProcess]:
    """Started once, with two workers, on a spool that a third one and a process without workers left behind."""
    folder = tmp_path_factory.mktemp("ares")
    leave(folder / "spool" / "worker-3", "left by a third")
    leave(folder / "spool" / "worker-1", "left by a first")
    leave(folder / "spool", "left by one alone")
    flags = ("--workers", "2", "--config", str(config))
    with copied_database(postgres_server) as url, running_ares(folder, "--database-url", url, *flags) as ares:
        yield ares


async def test_what_is_written_to_the_api_goes_through_the_workers(ares: AresProcess) -> None:
    """Remote write, and OTLP where a sender appends its path to a Prometheus's address: see test_remote_write.py."""
    now = time.time_ns() // 10**6
    told = [series("over_workers_total", (now + place, 1.0), place=str(place)) for place in range(20)]
    body = packed(request_v2(told))
    metrics = metrics_request("over workers", [gauge("over.workers", 1.0)]).SerializeToString()
    async with httpx.AsyncClient(base_url=ares.http, trust_env=False) as client:
        for _ in range(4):  # the second time it is a retry, which another worker may get
            answer = await client.post(WRITE, content=body, headers={"content-type": V2})
            assert (answer.status_code, written(answer)) == (204, (20, 0, 0))
        assert (await client.post(PROMETHEUS_PATH, content=metrics, headers=OTLP)).status_code == 200
    connection = await asyncpg.connect(ares.database)
    count = "SELECT count(*) FROM service_metrics WHERE metric_name = $1"
    assert await connection.fetchval(count, "over_workers_total") == 20
    assert await connection.fetchval(count, "over.workers") == 1
    await connection.close()


def leave(directory: Path, service: str) -> None:
    """A spool in which a request waits."""
    with opened(directory) as spool:
        assert asyncio.run(spool.append(otlp_record(TRACES, trace_request(service=service, spans=3))))


async def over_both_workers(ares: AresProcess, service: str, requests: int = 48) -> int:
    """Sends that many requests of two spans, each on a connection of its own; returns the spans."""
    return await spread(ares, different_requests(requests, 2, service))


async def spread(ares: AresProcess, bodies: list[bytes]) -> int:
    """Sends requests of two spans, half of them over HTTP, each on a connection of its own; returns the spans."""
    middle = len(bodies) // 2
    for body in bodies[:middle]:
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.post(f"{ares.otlp_http}/v1/traces", content=body, headers=OTLP)).raise_for_status()
    target = ares.otlp_grpc.removeprefix("http://")
    for body in bodies[middle:]:
        await send_all(target, [body])
    return 2 * len(bodies)


async def count(database: asyncpg.Connection, service: str) -> int:
    return int(await database.fetchval("SELECT count(*) FROM service_spans WHERE service_name = $1", service))


async def settled(ares: AresProcess) -> Metrics:
    """The figures, when nothing is under way."""

    async def look() -> Metrics | None:
        metrics = await read_metrics(ares.http)
        assert unbalanced(metrics) == []
        return metrics

    found = await eventually(look, every=0.05)
    assert found is not None
    return found


async def ready(ares: AresProcess) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.get(f"{ares.http}/readyz")


def reload(ares: AresProcess, config: Path, text: str) -> None:
    config.write_text(text)
    ares.signal(signal.SIGHUP)


async def set_level(ares: AresProcess, level: str) -> None:
    body = {"value": level, "updated_by": "a test", "reason": "a test"}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.put(f"{ares.http}/api/v1/config/ares-api/logging.level", json=body)
    answer.raise_for_status()


async def all_ready(ares: AresProcess) -> None:
    async def look() -> bool:
        return (await ready(ares)).status_code == 200

    await eventually(look, every=0.05)


class TestOneAres:
    def test_every_door_is_printed_once(self, ares: AresProcess) -> None:
        assert list(ares.doors) == ["http", "otlp-grpc", "otlp-http", "jaeger-grpc", "sampling", "database"]
        assert len(ares.workers) == 2

    async def test_both_workers_store_and_the_figures_of_both_add_up(
        self, ares: AresProcess, database: asyncpg.Connection
    ) -> None:
        before = await read_metrics(ares.http)
        bodies = different_requests(48, 2, "spread")
        sent = await spread(ares, bodies)
        assert await count(database, "spread") == sent
        keys = [batch_key(DEFAULT_TENANT, TRACES, body) for body in bodies]  # the supervisor stores spans of its API
        stored_by = "SELECT count(DISTINCT stored_by) FROM ingest_receipts WHERE key = ANY ($1::bytea[])"
        assert await database.fetchval(stored_by, keys) == 2
        after = await settled(ares)
        for name in ("otelcol_receiver_accepted_spans_total", "otelcol_exporter_sent_spans_total"):
            assert after.sum(name) - before.sum(name) == sent
        assert after.sum("ares_otel_workers", state="ready") == 2

    async def test_the_doctor_finds_every_item_of_all_workers(self, ares: AresProcess) -> None:
        done = await asyncio.to_thread(
            run_ares, ["doctor", "--account", "--url", ares.http, "--database-url", ares.database]
        )
        assert done.returncode == 0, done.stdout + done.stderr
        page = await asyncio.to_thread(run_ares, ["doctor", "--url", ares.http, "--database-url", ares.database])
        assert re.search(r"^(ok|warning) +workers: (All )?2 ", page.stdout, re.MULTILINE), page.stdout

    async def test_it_is_one_service_in_the_registry_and_in_the_health_view(
        self, ares: AresProcess, database: asyncpg.Connection
    ) -> None:
        await over_both_workers(ares, "seen", requests=8)

        async def seen() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM service_registry WHERE name = 'seen'"))

        await eventually(seen, every=0.05)
        assert await database.fetchval("SELECT count(*) FROM service_registry WHERE name = 'ares-api'") == 1
        assert await database.fetchval("SELECT count(*) FROM v_system_health WHERE service_name = 'ares-api'") == 1

    async def test_the_live_tail_shows_what_every_worker_stores(self, ares: AresProcess) -> None:
        async with (
            httpx.AsyncClient(base_url=ares.http, trust_env=False, timeout=30) as client,
            client.stream("GET", "/api/v1/events/tail.spans") as stream,
        ):
            assert stream.status_code == 200
            lines = stream.aiter_lines()
            sent: dict[str, int] = {}
            shown: Counter[str] = Counter()

            async def listen() -> None:
                async for line in lines:
                    shown.update(re.findall(r'"service_name":"(round \d+)"', line))

            listening = asyncio.create_task(listen())

            async def a_whole_round() -> bool:  # each worker hears of a listener after a moment of its own
                name = f"round {len(sent)}"
                sent[name] = await over_both_workers(ares, name)
                return any(shown[name] == spans for name, spans in sent.items())

            await eventually(a_whole_round, every=0.05)
            listening.cancel()

    async def test_what_former_workers_and_a_single_process_left_in_their_spools_is_stored(
        self, ares: AresProcess, database: asyncpg.Connection
    ) -> None:
        for service in ("left by a third", "left by a first", "left by one alone"):

            async def stored(service: str = service) -> bool:
                return await count(database, service) == 3

            await eventually(stored, every=0.05)
        assert (await settled(ares)).sum(
            "ares_otel_spool_items_total", outcome="found"
        ) >= 6  # a killed worker's are forgotten

    async def test_traces_written_to_jaegers_port_are_stored_by_a_worker_whose_answer_it_is(
        self, ares: AresProcess
    ) -> None:
        async with jaeger_clients(ares.jaeger_grpc) as jaeger:
            odd = span(trace_id=b"short")
            request = trace_request(spans=[span(), odd])
            for _ in range(2):  # a retry is answered as the first time, whichever worker it meets
                answer = await jaeger.writes.Export(request, compression=grpc.Compression.Gzip)
                assert answer.partial_success.rejected_spans == 1
                assert "trace_id" in answer.partial_success.error_message
            trace_id = request.resource_spans[0].scope_spans[0].spans[0].trace_id
            asked = storage_v2_pb2.GetTracesRequest(query=[storage_v2_pb2.GetTraceParams(trace_id=trace_id)])
            pieces = [piece async for piece in jaeger.reader.GetTraces(asked)]
            assert len(spans_of(pieces)) == 1
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await jaeger.channel.unary_unary(f"/{TRACES.service}/Export", None, None)(b"\xff\xff\xff")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            trailers: Any = caught.value.trailing_metadata()
            assert "grpc-status-details-bin" in dict(trailers)


class TestLife:
    async def test_a_killed_worker_is_started_again_and_the_others_go_on(
        self, ares: AresProcess, database: asyncpg.Connection
    ) -> None:
        await all_ready(ares)
        before = await read_metrics(ares.http)
        victim = ares.workers[0]
        victim.kill()
        await said(ares, f"(process {victim.pid}) ended by SIGKILL")
        answer = await ready(ares)
        assert answer.status_code == 503
        assert "is being started again" in answer.json()["detail"]
        await over_both_workers(ares, "in between", requests=8)  # all of them are taken by the other one
        await all_ready(ares)
        assert len(ares.workers) == 2
        assert victim not in ares.workers
        after = await settled(ares)
        assert after.sum("ares_otel_worker_restarts_total") == before.sum("ares_otel_worker_restarts_total") + 1
        name = "otelcol_receiver_accepted_spans_total"
        assert after.sum(name) >= before.sum(name)
        sent = await over_both_workers(ares, "afterwards")
        assert await count(database, "afterwards") == sent

    async def test_a_worker_that_hangs_is_named_by_readiness_and_its_figures_do_not_vanish(
        self, ares: AresProcess
    ) -> None:
        await all_ready(ares)
        before = (await settled(ares)).sum("otelcol_receiver_accepted_spans_total")
        frozen = ares.workers[0]
        frozen.send_signal(signal.SIGSTOP)
        try:
            answer, metrics = await asyncio.gather(ready(ares), read_metrics(ares.http))
        finally:
            frozen.send_signal(signal.SIGCONT)
        assert answer.status_code == 503
        assert f"(process {frozen.pid}) does not answer" in answer.json()["detail"]
        assert metrics.sum("otelcol_receiver_accepted_spans_total") == before
        await all_ready(ares)

    async def test_a_changed_file_is_in_force_in_every_worker_and_a_wrong_one_in_none(
        self, ares: AresProcess, database: asyncpg.Connection, config: Path
    ) -> None:
        await all_ready(ares)
        marked = DEFAULT.replace(
            "\nservice:\n",
            "\nprocessors:\n  attributes/mark:\n    actions: [{key: mark, value: here, action: insert}]\nservice:\n",
        ).replace(
            "traces:\n      receivers: [otlp]\n",
            "traces:\n      receivers: [otlp]\n      processors: [attributes/mark]\n",
        )
        before = ares.stderr.count(IN_FORCE)
        reload(ares, config, marked)
        await eventually(lambda: asyncio.sleep(0, ares.stderr.count(IN_FORCE) > before), every=0.02)
        sent = await over_both_workers(ares, "marked")
        with_mark = "SELECT count(*) FROM service_spans WHERE service_name = $1 AND attributes ->> 'mark' = 'here'"
        assert await database.fetchval(with_mark, "marked") == sent
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            # What is wrong shows only when it is started: the port is somebody's.
            other = f"receivers:\n  otlp/other: {{protocols: {{http: {{endpoint: '{address}'}}}}}}\n"
            changed = DEFAULT.replace("receivers:\n", other, 1).replace(
                "receivers: [otlp]", "receivers: [otlp, otlp/other]"
            )
            reload(ares, config, changed)
            await said(ares, f"{address} is in use")
        sent = await over_both_workers(ares, "still marked")
        assert await database.fetchval(with_mark, "still marked") == sent

    async def test_a_hot_setting_reaches_every_worker(self, ares: AresProcess, config: Path) -> None:
        await all_ready(ares)
        await set_level(ares, "debug")
        sizes = iter(range(20_000_000, 21_000_000))

        async def said_by_both() -> bool:
            # A receiver that is exchanged says so at the level debug.
            body_size = f"      http:\n        max_request_body_size: {next(sizes)}\n"
            reload(ares, config, DEFAULT.replace("      http:\n", body_size))
            return all(f"worker {number} ares_otel.http: The otlp-http door" in ares.stderr for number in (1, 2))

        await eventually(said_by_both, every=0.3)
        assert ares.stderr.count("logging.level is now debug") == 1
        await set_level(ares, "info")


class TestMistakes:
    def test_a_second_ares_with_workers_on_the_same_port_is_refused(self, ares: AresProcess, tmp_path: Path) -> None:
        port = ares.otlp_grpc.rpartition(":")[2]
        flags = [
            "--http-port=0",
            "--otlp-http-port=0",
            "--otlp-grpc-port",
            port,
            "--jaeger-grpc-port=0",
            "--sampling-port=0",
            "--workers",
            "2",
        ]
        done = run_ares(["up", "--data-dir", str(tmp_path), "--database-url", ares.database, *flags])
        assert done.returncode == 1
        assert done.stdout == ""
        assert f"127.0.0.1:{port} is in use by" in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr

    def test_a_worker_that_cannot_start_ends_the_start_with_its_reason(self, ares: AresProcess, tmp_path: Path) -> None:
        flags = [
            "--http-port=0",
            "--otlp-http-port=0",
            "--otlp-grpc-port=0",
            "--jaeger-grpc-port=0",
            "--sampling-port=0",
            "--workers=2",
        ]
        with opened(tmp_path / "spool" / "worker-2"):
            done = run_ares(["up", "--data-dir", str(tmp_path), "--database-url", ares.database, *flags])
        assert done.returncode == 1
        assert done.stdout == ""
        assert f"The spool {tmp_path / 'spool' / 'worker-2'} is in use by process {os.getpid()}" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_number_that_is_none_is_refused(self, tmp_path: Path) -> None:
        done = run_ares(["up", "--data-dir", str(tmp_path / "data"), "--workers=0"])
        assert done.returncode == 2
        assert "--workers" in done.stderr
        assert not (tmp_path / "data").exists()
