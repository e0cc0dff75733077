"""What a call of the logger and of the metrics costs, against the same by the standard library and OpenTelemetry's API.

    python benchmarks/facade.py

Both go to the same SDK, whose processor keeps nothing. The sides take turns; the figure is the ratio of the medians.
"""

from __future__ import annotations

import logging
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time, time_ns

sys.path.insert(0, str(Path(__file__).parents[1]))

from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util.types import AnyValue

from ares_otel import Logger, MetricsCollector

ROUNDS = 15
LABELS = {"symbol": "BTC-USD", "side": "buy"}
METADATA: dict[str, AnyValue] = {"symbol": "BTC-USD", "amount": 1.5, "order_id": "12345"}

Call = Callable[[], object]


def compare(what: str, ours: Call, theirs: Call, calls: int) -> None:
    """Prints the processor's nanoseconds for a call of both and their ratio."""
    taken: dict[Call, list[float]] = {ours: [], theirs: []}
    for _ in range(ROUNDS):
        for call, times in taken.items():
            began = thread_time()
            for _ in range(calls):
                call()
            times.append((thread_time() - began) / calls * 1e9)
    mine, other = (statistics.median(times) for times in taken.values())
    print(f"| {what} | {mine:,.0f} ns | {other:,.0f} ns | **{mine / other:.2f}** |")


class KeepNothing(LogRecordProcessor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def main() -> None:
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(KeepNothing())
    tracers = TracerProvider(shutdown_on_exit=False)
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)

    logger = Logger("trading", logger_provider=loggers, tracer_provider=tracers)
    standard = logging.getLogger("trading")
    standard.propagate = False
    standard.setLevel(logging.INFO)
    standard.addHandler(LoggingHandler(logger_provider=loggers, log_code_attributes=True))
    otel = loggers.get_logger("trading")
    metrics = MetricsCollector("trading", meter_provider=meters)
    meter = meters.get_meter("other")
    counter = meter.create_counter("trades.executed")
    histogram = meter.create_histogram("database.query", unit="s")
    ctx, _ = logger.with_trace(None)

    def plain() -> None:
        otel.emit(
            timestamp=time_ns(),
            context=ctx,
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body="Trade execution started",
            attributes=METADATA,
        )

    def timed() -> None:
        began = perf_counter()
        histogram.record(perf_counter() - began, LABELS)

    print("| call | Ares | the other | ratio |")
    print("| --- | --- | --- | --- |")
    compare(
        "below the level, ÷ `logging`",
        lambda: logger.debug(ctx, "Trade execution started", METADATA),
        lambda: standard.debug("Trade execution started", extra=METADATA),
        100_000,
    )
    compare(
        "a record with three attributes, ÷ `logging` over OpenTelemetry's handler",
        lambda: logger.info(ctx, "Trade execution started", METADATA),
        lambda: standard.info("Trade execution started", extra=METADATA),
        3_000,
    )
    compare(
        "a record with three attributes, ÷ OpenTelemetry's API, which adds no file and line",
        lambda: logger.info(ctx, "Trade execution started", METADATA),
        plain,
        3_000,
    )
    compare(
        "a counter with two labels, ÷ OpenTelemetry's API",
        lambda: metrics.record_counter("trades.executed", 1, LABELS),
        lambda: counter.add(1, LABELS),
        10_000,
    )
    compare(
        "a timer with two labels, ÷ OpenTelemetry's API",
        lambda: metrics.start_timer("database.query", LABELS)(),
        timed,
        10_000,
    )


if __name__ == "__main__":
    main()
