"""A real Prometheus, Debian's package, that scrapes what a test tells it to and answers PromQL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port

PROGRAM = shutil.which("prometheus", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")

needs_prometheus = pytest.mark.skipif(
    PROGRAM is None, reason="Prometheus is not installed here (apt-get install --no-install-recommends prometheus)"
)


class Prometheus:
    """A running server; `url` is its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def query(self, promql: str) -> dict[str, float]:
        """The value of each series of an instant query, by its labels as JSON, sorted by name."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/api/v1/query", params={"query": promql})
        body = answer.json()
        assert body["status"] == "success", body
        rows: list[dict[str, Any]] = body["data"]["result"]
        return {json.dumps(row["metric"], sort_keys=True): float(row["value"][1]) for row in rows}

    async def value(self, promql: str) -> float:
        """The value of the one series of a query."""
        [value] = (await self.query(promql)).values()
        return value

    async def has(self, promql: str) -> bool:
        """Whether a query has an answer."""
        return bool(await self.query(promql))


@contextmanager
def prometheus(job: dict[str, Any], features: Sequence[str] = (), *, remote_write: str = "") -> Iterator[Prometheus]:
    """A server with one job, scraped each second; `job` is its entry of `scrape_configs`, and without targets it
    scrapes itself. `features` are those that are off unless they are named. It writes to the address `remote_write`,
    when there is one."""
    assert PROGRAM is not None
    folder = Path(tempfile.mkdtemp(prefix="ares-prometheus-"))
    port = free_port()
    config = folder / "prometheus.yml"  # JSON is YAML
    job = {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}], **job}
    writes = [{"url": remote_write, "queue_config": {"batch_send_deadline": "200ms"}}] if remote_write else []
    whole = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job], "remote_write": writes}
    config.write_text(json.dumps(whole), encoding="utf-8")
    process = subprocess.Popen(
        [
            PROGRAM,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            *(f"--enable-feature={feature}" for feature in features),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
