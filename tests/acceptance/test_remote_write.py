"""Metrics that are written to the HTTP API's port, by hand and by a real Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import asyncpg
import httpx
import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from ares_otel.model.prometheus.native_histogram import STALE_NAN
from ares_otel.model.prometheus.proto import remote_v1_pb2 as v1
from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.ingested import gauge
from tests.support.otlp_samples import metrics_request
from tests.support.prometheus import Prometheus, needs_prometheus, prometheus
from tests.support.remote_write import PATH, V1, V2, Told, packed, request_v1, request_v2, written

NOW = time.time_ns() // 10**6
OTLP = "/prometheus/api/v1/otlp/v1/metrics"
STORED = """
SELECT m.metric_name, m.labels::text AS labels, s.timestamp, s.value, s.flags
FROM metric_series m JOIN metric_samples s USING (series_id)
WHERE m.labels->>'job' = 'itself'
"""


async def post(ares: AresProcess, path: str, body: bytes, content_type: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(ares.http + path, content=body, headers={"content-type": content_type, **headers})


@pytest.mark.parametrize("version", [V1, V2], ids=["1.0", "2.0"])
async def test_what_is_written_to_the_api_is_in_the_tables_once(
    ares: AresProcess, database: asyncpg.Connection, version: str
) -> None:
    name = f"written_{'two' if version == V2 else 'one'}_total"
    labels = {"__name__": name, "job": "shop/orders", "instance": "pod:80", "path": "/a"}
    told = Told(labels, [(NOW, 1.5), (NOW + 1, STALE_NAN)], type=1)
    body = packed(request_v2([told]) if version == V2 else request_v1([told]))
    for _ in range(2):
        answer = await post(ares, PATH, body, version, **{"content-encoding": "snappy"})
        assert (answer.status_code, answer.content) == (204, b"")
        if version == V2:
            assert written(answer) == (2, 0, 0)
    rows = await database.fetch(
        "SELECT m.service_name, m.metric_type, m.labels, m.metadata, s.timestamp, s.value, s.flags"
        " FROM metric_series m JOIN metric_samples s USING (series_id) WHERE metric_name = $1 ORDER BY s.timestamp",
        name,
    )
    del labels["__name__"]
    assert [(row["service_name"], row["metric_type"]) for row in rows] == [("orders", "counter")] * 2
    assert [json.loads(row["labels"]) for row in rows] == [labels] * 2
    assert json.loads(rows[0]["metadata"]) == {"prometheus.type": "counter"}
    assert [(round(row["timestamp"].timestamp() * 1000), row["value"], row["flags"]) for row in rows] == [
        (NOW, 1.5, None),
        (NOW + 1, None, 1),
    ]


async def test_metadata_that_is_written_is_in_its_table(ares: AresProcess, database: asyncpg.Connection) -> None:
    told = v1.MetricMetadata(type=v1.MetricMetadata.COUNTER, metric_family_name="told_total", help="Things.")
    answer = await post(ares, PATH, packed(request_v1([], [told])), V1)
    assert answer.status_code == 204

    async def kept() -> bool:
        found = await database.fetch("SELECT type, help FROM prometheus_metadata WHERE metric_name = 'told_total'")
        return [tuple(row) for row in found] == [("counter", "Things.")]

    await eventually(kept)


async def test_errors_on_the_api_are_those_of_remote_write(ares: AresProcess) -> None:
    wrong = await post(ares, PATH, packed(request_v2([Told({"a": "b"}, [(NOW, 1.0)])])), V2)
    assert (wrong.status_code, written(wrong)) == (400, (0, 0, 0))
    assert wrong.headers["content-type"] == "text/plain; charset=utf-8"
    assert "__name__" in wrong.text
    foreign = await post(ares, PATH, b"", V2, host="elsewhere.example")
    assert (foreign.status_code, written(foreign)) == (421, (0, 0, 0))
    assert foreign.headers["content-type"] == "text/plain; charset=utf-8"
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(ares.http + PATH)).status_code == 405
        assert (await client.get(f"{ares.http}{PATH}/x")).status_code == 404


async def test_otlp_is_taken_where_a_sender_appends_its_path_to_a_prometheus(
    ares: AresProcess, database: asyncpg.Connection
) -> None:
    """Statement 27: partial success instead of an error for everybody."""
    good, bad = gauge("alias.good", 1.0), gauge("alias.bad", 1.0)
    bad.name = ""
    request = metrics_request("alias", [good, bad])
    answer = await post(ares, OTLP, request.SerializeToString(), V1)
    assert (answer.status_code, answer.headers["content-type"]) == (200, V1)
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_data_points, "metric.name" in partial.error_message) == (1, True)
    answer = await post(ares, OTLP, json_format.MessageToJson(request).encode(), "application/json")
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedDataPoints"] == "1"
    assert await database.fetchval("SELECT count(*) FROM service_metrics WHERE metric_name = 'alias.good'") == 2
    wrong = await post(ares, OTLP, b"\xff", V1)
    assert wrong.status_code == 400
    assert Status.FromString(wrong.content).message
    assert (await post(ares, OTLP, b"", "text/plain")).status_code == 415


@pytest.fixture(scope="module")
def writing(ares: AresProcess) -> Iterator[Prometheus]:
    """Configured as docs/remote-write.md says; it scrapes itself."""
    with prometheus({"job_name": "itself"}, remote_write=f"{ares.http}/prometheus/api/v1/write") as server:
        yield server


@needs_prometheus
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
