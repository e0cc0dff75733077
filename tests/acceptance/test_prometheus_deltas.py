"""A restart, and a kill, is no reset of a counter that comes as deltas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, Sum
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.ingested import PATH
from tests.support.otlp_samples import DELTA, metrics_request, number_point
from tests.support.postgres import copied_database


async def send(ares: AresProcess, value: float) -> None:
    data = Sum(data_points=[number_point(value)], aggregation_temporality=DELTA, is_monotonic=True)
    request = metrics_request("orders", [Metric(name="orders.placed", sum=data)])
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{ares.doors['otlp-http']}/v1/metrics",
            content=request.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )
    assert answer.status_code == 200, answer.text


async def told(ares: AresProcess) -> float | None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{ares.http}{PATH}", params={"name[]": "orders_placed_total"})
    for family in text_string_to_metric_families(answer.text):
        if family.name == "orders_placed":
            return float(family.samples[0].value)
    return None


@pytest.fixture
def url(postgres_server: str) -> Iterator[str]:
    with copied_database(postgres_server) as made:
        yield made


async def test_a_counter_of_deltas_goes_on_after_ares_was_killed(url: str, tmp_path: Path) -> None:
    arguments = (tmp_path, "--database-url", url)
    with running_ares(*arguments) as ares:
        await send(ares, 5)

        async def is_five() -> bool:
            return await told(ares) == 5

        await eventually(is_five)
        await send(ares, 2)
        ares.kill()  # most likely before it was added up
    with running_ares(*arguments) as again:
        assert await told(again) in (5, 7)

        async def is_ten() -> bool:
            return await told(again) == 10

        await send(again, 3)
        await eventually(is_ten)
