"""A trade in traces, logs and metrics, with the calls of the ARES architecture (`with_trace`, `record_counter`, …).

    ares-otel up                     # in one terminal; or `make demo`
    python examples/trading.py       # in another

It prints the addresses under which Ares shows what it did. Where Ares runs elsewhere, OTEL_EXPORTER_OTLP_ENDPOINT says
where it takes telemetry, and ARES_OTEL_API_URL where its API is.
"""

from __future__ import annotations

import asyncio
import os

from opentelemetry import trace
from opentelemetry.context import Context

import ares_otel

logger = ares_otel.get_logger("trading")
metrics = ares_otel.MetricsCollector("trading")
tracer = trace.get_tracer("trading")

API = os.environ.get("ARES_OTEL_API_URL", "http://127.0.0.1:8080")


async def execute_trade(ctx: Context | None = None) -> tuple[Context, str]:
    """One trade. Gives its context for what belongs to it later, and the id of its trace."""
    ctx, trace_id = logger.with_trace(ctx)
    logger.info(ctx, "Trade execution started", {"symbol": "BTC-USD", "amount": 1.5})
    metrics.record_counter("trades.executed", 1, {"symbol": "BTC-USD", "side": "buy"})
    metrics.record_gauge("memory.usage_mb", 256.5)
    stop = metrics.start_timer("database.query", {"table": "trades"})
    await asyncio.sleep(0.01)  # the query
    stop()
    logger.info(ctx, "Trade execution completed", {"order_id": "12345"})
    return ctx, trace_id


async def settle_trade(ctx: Context) -> None:
    """The same trace with spans of OpenTelemetry's own API, a timer as a block, and an error with its exception."""
    with tracer.start_as_current_span("settle trade", ctx):
        try:
            async with metrics.start_timer("clearing.call", {"house": "north"}):
                raise TimeoutError("the clearing house did not answer")
        except TimeoutError as error:
            logger.error(None, "Settlement failed", {"order_id": "12345", "attempts": [1, 2, 3]}, exception=error)


async def main() -> None:
    ctx, trace_id = await execute_trade()
    await settle_trade(ctx)
    print(f"{API}/api/v1/observability/trace/{trace_id}")
    print(f"{API}/api/v1/observability/logs?service=trading&trace_id={trace_id}")
    print(f"{API}/api/v1/observability/metrics?service=trading&hours=1")


if __name__ == "__main__":
    ares_otel.configure("trading")
    asyncio.run(main())  # what was recorded is sent when the process ends
