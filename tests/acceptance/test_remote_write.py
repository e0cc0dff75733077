"""A real Prometheus writes into Ares, and the same series have the same values on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.prometheus import Prometheus, needs_prometheus, prometheus

pytestmark = needs_prometheus
STORED = """
SELECT m.metric_name, m.labels::text AS labels, s.timestamp, s.value, s.flags
FROM metric_series m JOIN metric_samples s USING (series_id)
WHERE m.labels->>'job' = 'itself'
"""


@pytest.fixture(scope="module")
def writing(ares: AresProcess) -> Iterator[Prometheus]:
    """Configured as docs/remote-write.md says; it scrapes itself."""
    with prometheus({"job_name": "itself"}, remote_write=f"{ares.http}/prometheus/api/v1/write") as server:
        yield server


async def test_a_prometheus_has_written_what_it_has(
    ares: AresProcess, writing: Prometheus, database: asyncpg.Connection
) -> None:
    async def written() -> bool:
        found = f"SELECT count(DISTINCT timestamp) FROM ({STORED}) found WHERE metric_name = 'up'"
        return bool(await database.fetchval(found) >= 3)

    await eventually(written)
    stored: dict[str, dict[int, str]] = {}
    for row in await database.fetch(STORED):
        labels = json.dumps({**json.loads(row["labels"]), "__name__": row["metric_name"]}, sort_keys=True)
        time = round(row["timestamp"].timestamp() * 1000)
        assert not row["flags"]
        assert time not in stored.setdefault(labels, {}), "a sample is stored twice"
        stored[labels][time] = repr(row["value"])
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{writing.url}/api/v1/query", params={"query": '{job="itself"}[1h]'})
    theirs = {
        json.dumps(series["metric"], sort_keys=True): {round(t * 1000): repr(float(v)) for t, v in series["values"]}
        for series in answer.json()["data"]["result"]
    }
    assert len(stored) > 100
    assert stored.keys() <= theirs.keys()
    for labels, samples in stored.items():
        assert samples.items() <= theirs[labels].items(), labels
    times = sorted(stored[next(labels for labels in stored if '"__name__": "up"' in labels)])
    missing = {
        labels: sorted(set(samples) - set(stored.get(labels, {})))
        for labels, samples in theirs.items()
        if any(time <= times[-2] and time not in stored.get(labels, {}) for time in samples)
    }
    assert not missing
