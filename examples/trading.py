"""Traces, logs and metrics with the calls of the ARES architecture: `with_trace`, `info`, `record_counter`, `start_timer`.

    ares-otel up                          # in one terminal, or `make demo`
    python examples/trading.py            # in another; with OTEL_EXPORTER_OTLP_ENDPOINT where Ares is elsewhere

It prints the address under which Ares shows the trace.
"""

from __future__ import annotations

import os
import time

from opentelemetry.context import Context

import ares_otel

logger = ares_otel.get_logger("trading")
metrics = ares_otel.MetricsCollector("trading")


def execute_trade(ctx: Context | None) -> str:
    """Buys, and gives the id of the trace in which all of it can be seen."""
    ctx, trace_id = logger.with_trace(ctx)
    logger.info(ctx, "Trade execution started", {"symbol": "BTC-USD", "amount": 1.5})

    metrics.record_counter("trades.executed", 1, {"symbol": "BTC-USD", "side": "buy"})
    metrics.record_gauge("memory.usage_mb", 256.5)

    stop = metrics.start_timer("database.query", {"table": "trades"})
    time.sleep(0.01)  # the query
    stop()

    logger.info(ctx, "Trade execution completed", {"order_id": "12345"})
    return trace_id
