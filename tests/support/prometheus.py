"""A real Prometheus that scrapes what a test tells it to, writes and reads remotely, and answers PromQL: Debian's
package, which is a Prometheus 2, and a current Prometheus 3, built once from `tests/support/prometheus_build` at a
pinned version, without its service discoveries (targets come from `static_configs` here) and its UI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import go_program
from tests.support.go_program import UnavailableError
from tests.support.ports import free_port

__all__ = [
    "BUILD_SECONDS",
    "PROGRAM",
    "Prometheus",
    "UnavailableError",
    "current_or_skip",
    "install",
    "needs_prometheus",
    "prometheus",
    "running_prometheus",
]

PROGRAM = shutil.which("prometheus", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")
BUILD_SECONDS = 1500
_SOURCE = Path(__file__).parent / "prometheus_build"
_START_SECONDS = 60

needs_prometheus = pytest.mark.skipif(
    PROGRAM is None, reason="Prometheus is not installed here (apt-get install --no-install-recommends prometheus)"
)


def install() -> Path:
    """The binary of Prometheus 3, built when it is not there yet: minutes, once. Raises as `go_program` says."""
    package = "github.com/prometheus/prometheus/cmd/prometheus"
    return go_program.install(
        _SOURCE, "prometheus", "Prometheus 3", package, tags=("remove_all_sd",), seconds=BUILD_SECONDS
    )


def current_or_skip() -> Path:
    """The binary of Prometheus 3; skips the test where it cannot be built. The test needs `BUILD_SECONDS`."""
    try:
        return install()
    except UnavailableError as error:
        pytest.skip(str(error))


class Prometheus:
    """A running server; `url` is its address, `log` the file with what it has said."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    @property
    def said(self) -> str:
        """The end of what it has said, for a failure that only it can explain."""
        return f"Prometheus said:\n{self._log.read_text(errors='replace')[-8000:]}"

    async def ask(self, path: str, **params: Any) -> Any:
        """The `data` of an answer of the HTTP API; `path` begins after `/api/v1/`, `match_` stands for `match[]`."""
        named = {f"{name[:-1]}[]" if name.endswith("_") else name: value for name, value in params.items()}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.get(f"{self.url}/api/v1/{path}", params=named)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def series(self, promql: str) -> list[dict[str, Any]]:
        """The series of an instant query as they are answered: `metric`, and `value`, `histogram`, `values` or
        `histograms`."""
        found: list[dict[str, Any]] = (await self.ask("query", query=promql))["result"]
        return found

    async def query(self, promql: str) -> dict[str, float]:
        """The value of each series of an instant query, by its labels as JSON, sorted by name."""
        rows = await self.series(promql)
        return {json.dumps(row["metric"], sort_keys=True): float(row["value"][1]) for row in rows}

    async def value(self, promql: str) -> float:
        """The value of the one series of a query."""
        [value] = (await self.query(promql)).values()
        return value

    async def has(self, promql: str) -> bool:
        """Whether a query has an answer."""
        return bool(await self.series(promql))


@contextmanager
def prometheus(job: dict[str, Any], features: Sequence[str] = (), *, remote_write: str = "") -> Iterator[Prometheus]:
    """Debian's Prometheus with one job, scraped each second; `job` is its entry of `scrape_configs`, and without
    targets it scrapes itself. `features` are those that are off unless they are named. It writes to the address
    `remote_write`, when there is one."""
    assert PROGRAM is not None
    writes = [{"url": remote_write, "queue_config": {"batch_send_deadline": "200ms"}}] if remote_write else []
    arguments = [f"--enable-feature={feature}" for feature in features]
    with running_prometheus(PROGRAM, {"scrape_configs": [job], "remote_write": writes}, arguments) as server:
        yield server


@contextmanager
def running_prometheus(
    binary: Path | str, config: Mapping[str, Any], arguments: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """A Prometheus on a free port with empty storage, which listens already, for the length of a block.

    Args:
        config: its configuration file. Without a section `global` it scrapes each second, a job without
            targets is itself.
        arguments: of the command, such as `--enable-feature=exemplar-storage`.
    """
    folder = Path(tempfile.mkdtemp(prefix="ares-prometheus-"))
    port = free_port()
    file = folder / "prometheus.yml"  # JSON is YAML
    itself = {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    jobs = [{**itself, **job} for job in config.get("scrape_configs", ())]
    whole = {"global": {"scrape_interval": "1s"}, **config, "scrape_configs": jobs}
    file.write_text(json.dumps(whole), encoding="utf-8")
    command = [
        str(binary),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *arguments,
    ]
    with (folder / "said").open("w+b") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            _wait_for(process, f"http://127.0.0.1:{port}")
            yield Prometheus(f"http://127.0.0.1:{port}", folder / "said")
        except BaseException as error:
            said.seek(0)
            error.add_note(f"Prometheus said:\n{said.read().decode(errors='replace')[-4000:]}")
            raise
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(trust_env=False, timeout=10) as client:
        while True:
            assert process.poll() is None, "Prometheus ended before it was ready"
            try:
                if client.get(f"{url}/-/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"Prometheus was not ready within {_START_SECONDS} s"
            time.sleep(0.05)
