"""What remote control costs a span: `python benchmarks/remote_sampler.py`, from the project's root.

`should_sample` of the sampler that settings steer ÷ the SDK's `ParentBased(TraceIdRatioBased)`, and a span with the
stamp of the revision ÷ one without; medians of rounds that take turns.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

sys.path.insert(0, str(Path(__file__).parents[1]))

from ares_otel.sdk.remote.sampler import RemoteSampler
from ares_otel.sdk.remote.stamps import SpanStamp

ROUNDS, CALLS = 41, 5000
RULES: list[dict[str, Any]] = [{"operation": f"GET /never/{n}/*", "ratio": 1} for n in range(20)]
CHILD = set_span_in_context(NonRecordingSpan(SpanContext(1, 1, True, TraceFlags(TraceFlags.SAMPLED))))
IDS = [(n * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128 for n in range(1, CALLS + 1)]


def steered(ratio: float | None, rules: list[dict[str, Any]] | None, base: Sampler | None = None) -> Sampler:
    sampler = RemoteSampler(base or ParentBased(ALWAYS_ON))
    sampler.apply(ratio, rules)
    return sampler


def deciding(sampler: Sampler, parent: Any) -> Callable[[], None]:
    def decide() -> None:
        for id in IDS:
            sampler.should_sample(parent, id, "GET /orders/{id}", SpanKind.SERVER, None, None)

    return decide


def spans(stamped: bool) -> Callable[[], None]:
    provider = TracerProvider(shutdown_on_exit=False)
    if stamped:
        provider.add_span_processor(SpanStamp(lambda: 41))
    tracer = provider.get_tracer("benchmark")

    def make() -> None:
        for _ in IDS:
            tracer.start_span("GET /orders/{id}").end()

    return make


def ratio(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    """Time of one ÷ time of the other, and microseconds of a call of one: medians."""
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        one()
        between = time.perf_counter()
        other()
        times.append((between - began, time.perf_counter() - between))
    return statistics.median(a / b for a, b in times), statistics.median(a for a, _ in times) / CALLS * 1e6


def main() -> None:
    sdk = ParentBased(TraceIdRatioBased(0.25))
    for where, parent in (("roots", None), ("children", CHILD)):
        reference = deciding(sdk, parent)
        for what, sampler in (
            ("no settings", steered(None, None, sdk)),
            ("sampling.ratio", steered(0.25, None)),
            ("20 rules that do not match, and a ratio", steered(0.25, RULES)),
        ):
            factor, micros = ratio(deciding(sampler, parent), reference)
            print(f"{where}, {what}: {factor:.2f} × ParentBased(TraceIdRatioBased), {micros:.2f} µs")
    factor, micros = ratio(spans(True), spans(False))
    print(f"a span with ares.config.revision: {factor:.2f} × one without, {micros:.2f} µs")


if __name__ == "__main__":
    main()
