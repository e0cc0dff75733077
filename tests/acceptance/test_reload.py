"""SIGHUP: the real command takes a changed configuration file while senders go on, and refuses a wrong one."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.support import parts
from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.postgres import copied_database

DEFAULT = (Path(__file__).parents[2] / "collector" / "ares.yaml").read_text()
MARKED = DEFAULT.replace(
    "\nservice:\n",
    "\nprocessors:\n  attributes/mark:\n    actions: [{key: mark, value: '${env:ARES_TEST_MARK}', action: insert}]\n"
    "\nservice:\n",
    1,
).replace(
    "traces:\n      receivers: [otlp]\n", "traces:\n      receivers: [otlp]\n      processors: [attributes/mark]\n"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "ares.yaml"
    file.write_text(DEFAULT)
    return file


@pytest.fixture
def ares(postgres_server: str, tmp_path: Path, config: Path) -> Iterator[AresProcess]:
    with (
        copied_database(postgres_server) as url,
        running_ares(tmp_path, "--database-url", url, "--config", str(config), env={"ARES_TEST_MARK": "seen"}) as ares,
    ):
        yield ares


def reload(ares: AresProcess, config: Path, text: str) -> None:
    config.write_text(text)
    os.kill(ares.pid, signal.SIGHUP)


async def send(client: httpx.AsyncClient, service: str) -> bytes:
    """One span; its trace id."""
    trace_id = uuid.uuid4().bytes
    span = {"name": "work", "trace_id": trace_id, "span_id": trace_id[:8], "start_time_unix_nano": 1}
    body = parts.traces(span, resource={"service__name": service}).SerializeToString()
    answer = await client.post("/v1/traces", content=body, headers={"content-type": "application/x-protobuf"})
    assert answer.status_code == 200, answer.text
    return trace_id


async def test_a_changed_file_is_in_force_after_sighup_and_nothing_sent_meanwhile_is_lost_or_doubled(
    ares: AresProcess, config: Path
) -> None:
    sent: list[bytes] = []
    done = asyncio.Event()

    async def sender() -> None:
        async with httpx.AsyncClient(base_url=ares.otlp_http, trust_env=False, timeout=30) as client:
            while not done.is_set():
                sent.append(await send(client, "reload"))

    connection = await asyncpg.connect(ares.database)

    async def marked(wanted: bool) -> bool:
        """Whether the newest spans are of that kind."""
        enough = len(sent) + 6
        await eventually(lambda: asyncio.sleep(0, len(sent) >= enough), every=0.01)
        found = await connection.fetchval(
            "SELECT count(*) FROM v_spans WHERE trace_id = ANY($1) AND (attributes ? 'mark') = $2",
            [trace_id.hex() for trace_id in sent[-3:]],
            wanted,
        )
        return bool(found == 3)

    try:
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(sender()) for _ in range(3)]
            try:
                for turn in range(4):
                    assert await marked(turn % 2 == 1)
                    reload(ares, config, DEFAULT if turn % 2 else MARKED)
                    await eventually(partial(marked, turn % 2 == 0))
            finally:
                done.set()
            await asyncio.gather(*senders)
        stored = await connection.fetch("SELECT trace_id FROM v_spans WHERE service_name = 'reload'")
    finally:
        await connection.close()
    assert sorted(row["trace_id"] for row in stored) == sorted(trace_id.hex() for trace_id in sent)
    assert ares.stderr.count("was read again and is in force") == 4


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (DEFAULT.replace("exporters: [postgres]", "exporters: [postgress]", 1), "did you mean 'postgres'?"),
        (DEFAULT.replace("${env:ARES_OTEL_HOST:-127.0.0.1}:", "192.0.2.1:", 1), "--allow-unauthenticated"),
        ("receivers: [", "this is not valid YAML"),
    ],
    ids=["reference", "address", "syntax"],
)
async def test_a_file_that_is_wrong_leaves_the_running_configuration_in_force(
    ares: AresProcess, config: Path, wrong: str, reason: str
) -> None:
    reload(ares, config, wrong)

    async def said() -> bool:
        return "The configuration was not changed" in ares.stderr and reason in ares.stderr

    await eventually(said)
    async with httpx.AsyncClient(base_url=ares.otlp_http, trust_env=False, timeout=30) as client:
        await send(client, "still-there")
