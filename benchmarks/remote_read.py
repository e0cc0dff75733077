"""How fast samples become answers of remote read: `python -m benchmarks.remote_read [SAMPLES]`.

CPU of one thread, the best of some rounds; and how much memory an answer takes besides its samples. The loop is the
encoding of chunks over Python's numbers, sample by sample, as native histograms have it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from ares_otel.api.remote_read.chunks import ChunksAnswer
from ares_otel.api.remote_read.samples import SamplesAnswer
from ares_otel.model.prometheus.bit_writer import BitWriter, XorValue
from ares_otel.model.prometheus.xor_chunks import SAMPLES, xor_chunks
from ares_otel.query.prometheus.select import Selected

ROUNDS = 5
_PAGE = 4096


def some(series: int, points: int) -> Selected:
    """Counters that are scraped every 15 seconds or so."""
    random = np.random.default_rng(1)
    total = series * points
    times = np.tile(1_700_000_000_000 + np.arange(points) * 15_000, series) + random.integers(-5, 5, total)
    values = np.cumsum(random.integers(0, 50, total)).astype(float)
    labels = [
        (("__name__", "orders_placed_total"), ("http_route", "/orders"), ("instance", f"pod-{i:06}"), ("job", "shop"))
        for i in range(series)
    ]
    return Selected(labels, ["counter"] * series, np.arange(series + 1) * points, times, values, {})


def looped(selected: Selected) -> Iterator[bytes]:
    """Chunks, sample by sample; of the first 20 series, for it takes long."""
    for i in range(20):
        for begin in range(int(selected.offsets[i]), int(selected.offsets[i + 1]), SAMPLES):
            end = min(begin + SAMPLES, int(selected.offsets[i + 1]))
            times, values = selected.timestamps[begin:end].tolist(), selected.values[begin:end].tolist()
            writer, value, delta = BitWriter(), XorValue(values[0]), 0
            writer.write(len(times), 16)
            writer.signed(times[0])
            writer.double(values[0])
            for k in range(1, len(times)):
                before, delta = delta, times[k] - times[k - 1]
                writer.signed(delta - before)
                value.write(values[k], writer)
            yield writer.bytes()


def rate(made: Callable[[], Iterator[bytes]], samples: int) -> tuple[float, float]:
    """Samples a second of CPU, and bytes a sample."""
    best, size = float("inf"), 0
    for _ in range(ROUNDS):
        begun = time.process_time()
        size = sum(map(len, made()))
        best = min(best, time.process_time() - begun)
    return samples / best, size / samples


def memory() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE


def grown(made: Iterator[bytes]) -> float:
    """MiB that an answer takes at most, looked at after each piece."""
    before = most = memory()
    for _ in made:
        most = max(most, memory())
    return (most - before) / 2**20


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    selected = some(total // 250, 250)
    count = len(selected.timestamps)
    few = 100 * SAMPLES
    portion = some(few // 240, 240)
    print(f"{count} samples of {total // 250} series; samples a second of CPU, bytes a sample")
    chunks = rate(lambda: iter([xor_chunks(portion.offsets, portion.timestamps, portion.values).data]), few)
    print(f"chunks, as arrays        {chunks[0]:>12,.0f} {chunks[1]:8.2f}")
    loop = rate(lambda: looped(selected), 20 * 250)
    print(f"chunks, in a loop        {loop[0]:>12,.0f} {loop[1]:8.2f}")
    for name, made in (
        ("STREAMED_XOR_CHUNKS", lambda: ChunksAnswer([selected]).chunks()),
        ("SAMPLES", lambda: SamplesAnswer([selected]).chunks()),
    ):
        speed, size = rate(made, count)
        print(f"{name:24} {speed:>12,.0f} {size:8.2f}   {grown(made()):.0f} MiB more memory")


if __name__ == "__main__":
    main()
