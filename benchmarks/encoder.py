"""The row encoders side by side: `.venv/bin/python -m benchmarks.encoder [REQUESTS]`, from the project's root.

Both encode the same bodies, in turns, in one process: OTLP bytes to COPY bytes, definitions and increments, without a
database. The figure of each is its fastest round of seven, in processor time, so that what else runs on the machine
counts little. Requests that the native encoder leaves to the reference are counted and said.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ares_otel.cli.bench.data import Source
from ares_otel.model.batch import Batch
from ares_otel.model.errors import StartError
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows.encoded import PARTITIONED, SERIES, Window
from ares_otel.storage.rows.implementation import NATIVE, PYTHON, Implementation, choose
from ares_otel.storage.rows.known import KnownSeries

ROUNDS = 7
SEED = 6
DAY_NS = 86_400_000_000_000
ITEMS = {TRACES: "span", LOGS: "log record", METRICS: "data point"}


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    try:
        encoders = {name: choose(name) for name in (PYTHON, NATIVE)}
    except StartError as error:
        sys.exit(str(error))
    for signal in (TRACES, LOGS, METRICS):
        measure(signal, requests, encoders)


def measure(signal: Signal, requests: int, encoders: dict[str, Implementation]) -> None:
    """Prints the line of one signal."""
    now = time.time_ns()
    made = Source(SEED, requests).requests(signal, requests, now_ns=now)
    windows = dict.fromkeys(PARTITIONED, Window(now - DAY_NS, now + DAY_NS))
    known = {name: known_series(encoder, signal, made.bodies, now, windows) for name, encoder in encoders.items()}
    best = dict.fromkeys(encoders, float("inf"))
    left = 0
    for _ in range(ROUNDS):
        for name, encoder in encoders.items():
            batches = [batch_of(signal, body, now) for body in made.bodies]
            begin = time.process_time()
            encoded = [encoder.encode(batch, windows, known[name]) for batch in batches]
            best[name] = min(best[name], time.process_time() - begin)
            if name == "native":
                left = sum(bool(one.fallback) for one in encoded)
    size = sum(map(len, made.bodies)) / made.items
    each = {name: seconds / made.items * 1e6 for name, seconds in best.items()}
    print(
        f"{signal.name}: {made.items} {ITEMS[signal]}s in {requests} requests, {size:.0f} bytes each: "
        f"native {each['native']:.2f} µs, python {each['python']:.2f} µs a {ITEMS[signal]}; "
        f"python ÷ native {each['python'] / each['native']:.1f}; {left} requests left to the reference"
    )


def known_series(
    encoder: Implementation, signal: Signal, bodies: list[bytes], now: int, windows: dict[str, Window]
) -> KnownSeries:
    """What a process knows after it wrote these requests once: as it is in a running server."""
    known = encoder.known_series()
    for body in bodies:
        encoded = encoder.encode(batch_of(signal, body, now), windows)
        known.add(id_.bytes for id_ in encoded.definitions.get(SERIES, {}))
    return known


def batch_of(signal: Signal, body: bytes, now: int) -> Batch:
    return Batch(signal, body, received_ns=now, receiver="otlp", transport="grpc")


if __name__ == "__main__":
    main()
