"""What the pytest plugin costs: `python -m benchmarks.testing`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from uuid import uuid4

from opentelemetry import metrics, trace

from ares_otel.testing import capture
from ares_otel.testing.house.client import HouseClient

_TESTS = 2_000
_SPANS = 5


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _import() -> float:
    """Microseconds that pytest's own start is longer, from the interpreter's own account."""
    command = [sys.executable, "-X", "importtime", "-c", "import pytest, ares_otel.testing.plugin"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(next(line for line in text.splitlines() if line.endswith("testing.plugin")).split("|")[1])


def main() -> None:
    print(f"import of the plugin: {statistics.median(_import() for _ in range(5)) / 1e3:.1f} ms")
    tracer = trace.get_tracer("benchmark")
    counter = metrics.get_meter("benchmark").create_counter("tests")

    def spans() -> None:
        for _ in range(_SPANS):
            tracer.start_span("span").end()
        counter.add(1)

    def a_test() -> None:
        with capture():
            spans()

    a_test()
    with_it = _seconds(lambda: [a_test() for _ in range(_TESTS)]) / _TESTS
    print(f"otel: {with_it * 1e6:.0f} µs a test of {_SPANS} spans and a metric")

    house: list[HouseClient] = []
    print(f"ares: PostgreSQL started in {_seconds(lambda: house.append(HouseClient(uuid4().hex))):.2f} s")
    [client] = house
    try:
        print(f"ares: first door after {_seconds(lambda: client.ask('server')):.2f} s")
        client.ask("release")
        for pause in (0.0, 1.0):
            for what in ("database", "server"):
                times = []
                for _ in range(6):
                    time.sleep(pause)  # what the test before takes, in which the next one's is made
                    times.append(_seconds(lambda what=what: client.ask(what)))  # type: ignore[misc]
                    client.ask("release")
                print(f"ares: {what} of a test after one of {pause:g} s: {statistics.median(times) * 1e3:.0f} ms")
    finally:
        print(f"ares: the end: {_seconds(client.close):.2f} s")


if __name__ == "__main__":
    main()
