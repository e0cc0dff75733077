"""The event bus of the running command: over Redis and back by a setting, between two Ares, and in the terminal."""

from __future__ import annotations

import json
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.ares_process import AresProcess, command, environment, running_ares
from tests.support.redis import needs_redis, redis_server


def _mode(ares: AresProcess, wanted: str) -> dict[str, Any]:
    """The state of the bus, once it has that mode."""
    deadline = time.monotonic() + 20
    while True:
        state: dict[str, Any] = httpx.get(f"{ares.http}/api/v1/events").raise_for_status().json()
        if state["mode"] == wanted or time.monotonic() > deadline:
            assert state["mode"] == wanted, state
            return state
        time.sleep(0.05)


def _set(ares: AresProcess, key: str, value: Any) -> None:
    body = {"value": value, "updated_by": "test"}
    httpx.put(f"{ares.http}/api/v1/config/ares-api/{key}", json=body).raise_for_status()


def _log(ares: AresProcess, message: str) -> None:
    record = {"severityNumber": 17, "body": {"stringValue": message}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}]}
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    httpx.post(f"{ares.otlp_http}/v1/logs", json=body).raise_for_status()


@needs_redis
def test_a_setting_moves_two_running_ares_to_redis_where_they_share_events(tmp_path: Path, data_dir: Path) -> None:
    with (
        redis_server() as redis,
        running_ares(data_dir) as first,
        running_ares(tmp_path, "--database-url", first.database) as second,
    ):
        assert _mode(first, "memory")["wanted"] == "memory"
        _set(first, "eventbus.redis_url", f"127.0.0.1:{redis.port}")
        _set(first, "eventbus.type", "redis")
        _mode(first, "redis")
        _mode(second, "redis")
        with httpx.stream("GET", f"{second.http}/api/v1/events/trade.*", timeout=20) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
            sent = httpx.post(f"{first.http}/api/v1/events/trade.executed", json={"price": 1.5})
            assert sent.status_code == 202
            [data] = [json.loads(next(line for line in lines if line.startswith("data: "))[6:])]
        assert data["id"] == sent.json()["id"]
        assert data["data"] == {"price": 1.5}
        redis.kill()
        assert _mode(first, "memory")["healthy"] is False
        assert 'ares_otel_bus_mode{mode="memory"} 1.0' in httpx.get(f"{first.http}/metrics").text
        redis.start()
        _mode(first, "redis")
        _set(second, "eventbus.type", "memory")
        assert _mode(first, "memory")["healthy"] is True
        assert _mode(second, "memory")["wanted"] == "memory"


def test_the_tail_shows_what_is_stored_in_the_terminal_and_ends_with_ares(data_dir: Path) -> None:
    with running_ares(data_dir, "--shutdown-grace=600") as ares:  # far longer than the stop may take
        tail = subprocess.Popen(
            [*command("tail"), "--url", ares.http, "--service", "orders", "--level", "error"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert tail.stderr is not None
            assert tail.stdout is not None
            assert "listening to" in tail.stderr.readline()
            deadline = time.monotonic() + 20
            while "ares_otel_bus_streams 1.0" not in httpx.get(f"{ares.http}/metrics").text:
                assert time.monotonic() < deadline
            while not select.select([tail.stdout], [], [], 0.3)[0]:  # what listens is looked up four times a second
                assert time.monotonic() < deadline
                _log(ares, "hostile \x1b[31m text")
            line = tail.stdout.readline()
            assert "ERROR orders: hostile  [31m text" in line
            ares.stop()  # an open stream does not hold it up
        finally:
            tail.kill()
            tail.communicate()


def test_the_tail_says_in_one_line_that_there_is_no_ares() -> None:
    done = subprocess.run(
        [*command("tail"), "--url", "http://127.0.0.1:1"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "--url" in done.stderr
