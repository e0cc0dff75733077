"""Retention and sealing in a real Ares: hot settings, the disk of the embedded server, REST and /metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess, run_ares, running_ares
from tests.support.eventually import eventually
from tests.support.partitions import make_partition, name_of


@pytest.fixture
def ares(data_dir: Path) -> Iterator[AresProcess]:
    with running_ares(data_dir) as ares:
        yield ares


def put(ares: AresProcess, key: str, value: Any) -> None:
    body = {"value": value, "updated_by": "alice"}
    answer = httpx.put(f"{ares.http}/api/v1/config/ares-api/{key}", json=body)
    assert answer.status_code in (200, 201), answer.text


def states(ares: AresProcess) -> dict[str, str]:
    """State by partition name, as REST tells it."""
    answer = httpx.get(f"{ares.http}/api/v1/partitions")
    assert answer.status_code == 200, answer.text
    return {row["partition_name"]: row["state"] for row in answer.json()["partitions"]}


def metric(ares: AresProcess, sample: str) -> float:
    """A sample of /metrics, 0 when it is not there."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", httpx.get(f"{ares.http}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_settings_steer_retention_and_sealing_while_ares_runs(ares: AresProcess, data_dir: Path) -> None:
    sql = await asyncpg.connect(ares.database)
    old = await make_partition(sql, "service_logs", 20, rows=3)

    put(ares, "seal.pause_seconds", 0)
    put(ares, "seal.grace_hours", 0)

    async def sealed() -> bool:
        return states(ares)[old.name] == states(ares)[name_of("service_spans", 1)] == "sealed"

    await eventually(sealed)
    assert metric(ares, 'ares_otel_partitions_sealed_total{table="service_logs"}') == 3

    put(ares, "retention.logs.days", 10)

    async def leaving() -> bool:
        return states(ares)[old.name] == "leaving"

    await eventually(leaving)
    assert states(ares)[name_of("service_logs", 2)] == "sealed"

    put(ares, "retention.disk_percent", 1)  # the disk of every machine is fuller than that

    async def dropped() -> bool:
        return old.name not in states(ares) and name_of("service_spans", 1) not in states(ares)

    await eventually(dropped)
    assert metric(ares, "ares_otel_disk_nearly_full") == 1
    assert metric(ares, 'ares_otel_partitions_dropped_total{reason="disk",table="service_logs"}') == 3
    assert metric(ares, 'ares_otel_partitions_freed_bytes_total{table="service_logs"}') > 0
    assert 0 <= metric(ares, "ares_otel_partition_next_run_seconds") <= 60
    assert metric(ares, 'ares_otel_partition_bytes{table="service_spans"}') > 0
    assert metric(ares, 'ares_otel_partition_next_timestamp_seconds{action="make"}') > 0
    assert states(ares)[name_of("service_logs", 0)] == "open"
    assert "has to go" in ares.stderr
    await sql.close()

    listed = run_ares(["partitions", "ls", "--data-dir", str(data_dir)])
    assert listed.returncode == 0, listed.stderr
    assert name_of("service_logs", 0) in listed.stdout


async def test_an_ares_that_cannot_see_the_disk_drops_nothing_for_it(database_url: str, tmp_path: Path) -> None:
    with running_ares(tmp_path, "--database-url", database_url) as ares:
        put(ares, "seal.pause_seconds", 0)
        put(ares, "retention.disk_percent", 1)
        put(ares, "seal.grace_hours", 0)

        async def sealed() -> bool:
            return states(ares)[name_of("service_spans", 1)] == "sealed"

        await eventually(sealed)
        assert metric(ares, "ares_otel_disk_nearly_full") == 0
        assert name_of("service_spans", 2) in states(ares)
