"""One Prometheus writes to Ares, another one reads there: both have the same series with the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.prometheus import (
    BUILD_SECONDS,
    PROGRAM,
    Prometheus,
    current_or_skip,
    needs_prometheus,
    prometheus,
    running_prometheus,
)
from tests.support.remote_read import PATH

pytestmark = [needs_prometheus, pytest.mark.timeout(BUILD_SECONDS)]
SECONDS = 3
"""How much is compared."""


@pytest.fixture(scope="module")
def writing(ares: AresProcess) -> Iterator[Prometheus]:
    """Scrapes itself, and writes what it finds to Ares."""
    with prometheus({"job_name": "written"}, remote_write=f"{ares.http}/prometheus/api/v1/write") as server:
        yield server


@pytest.fixture(scope="module", params=["samples", "chunks"])
def reading(ares: AresProcess, request: pytest.FixtureRequest) -> Iterator[Prometheus]:
    """Has nothing but what it reads from Ares."""
    binary = current_or_skip() if request.param == "chunks" else PROGRAM
    assert binary is not None
    config = {"remote_read": [{"url": f"{ares.http}{PATH}", "read_recent": True}], "scrape_configs": []}
    with running_prometheus(binary, config) as server:
        yield server


async def samples(server: Prometheus, end: float) -> dict[str, Any]:
    """All samples of the seconds before a time, by the labels of their series. Whether one that is exactly so old is
    among them depends on the version of Prometheus; here it is not."""
    found = await server.ask("query", query=f'{{job="written"}}[{SECONDS}s]', time=end)
    rows = {
        str(sorted(row["metric"].items())): [value for value in row["values"] if value[0] > end - SECONDS]
        for row in found["result"]
    }
    return {labels: values for labels, values in rows.items() if values}


async def test_what_one_writes_another_one_reads(writing: Prometheus, reading: Prometheus) -> None:
    async def scraped() -> float:
        rows = await writing.series(f'timestamp(up{{job="written"}}) and count_over_time(up[1m]) > {SECONDS + 1}')
        return float(rows[0]["value"][1]) if rows else 0.0

    newest = await eventually(scraped)
    written = await samples(writing, newest)
    assert len(written) > 300

    async def same() -> bool:
        return await samples(reading, newest) == written

    await eventually(same)
