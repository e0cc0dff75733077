"""Orders: a FastAPI service whose requests, SQL, logs and metrics share a trace. Ares is the five lines below `app =`.

    pip install 'ares-otel[instrument]'
    ares-otel up                                      # in one terminal; it prints `database URL`
    DATABASE_URL=URL uvicorn --app-dir examples/fastapi_orders app:app --port 8000
    curl -X POST localhost:8000/orders -H 'Content-Type: application/json' -d '{"symbol": "BTC-USD", "amount": 1.5}'
    curl localhost:8000/orders/1

DATABASE_URL is where the orders are kept: any PostgreSQL. Nothing but variables sends the telemetry elsewhere:
OTEL_EXPORTER_OTLP_ENDPOINT to another Ares or Collector, and without a server in between straight into tables:

    OTEL_TRACES_EXPORTER=ares_postgres OTEL_LOGS_EXPORTER=ares_postgres OTEL_METRICS_EXPORTER=ares_postgres \\
    ARES_OTEL_DATABASE_URL=URL DATABASE_URL=URL uvicorn --app-dir examples/fastapi_orders app:app --port 8000
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, HTTPException
from opentelemetry import metrics
from pydantic import BaseModel, Field

import ares_otel


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=5) as app.state.pool:
        await app.state.pool.execute(
            "CREATE TABLE IF NOT EXISTS example_orders "
            "(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, symbol text NOT NULL, amount float NOT NULL)"
        )
        yield


app = FastAPI(title="Orders", lifespan=lifespan)
ares_otel.configure(
    "orders",
    service_version="1.0.0",
    app=app,  # a span and the duration of each request
    instrument=("asyncpg",),  # a span for each statement
)

log = logging.getLogger("orders")  # the standard library's: its records carry the trace, the file and the line
placed = metrics.get_meter("orders").create_counter("orders.placed", unit="{order}", description="Orders, by symbol")
amounts = metrics.get_meter("orders").create_histogram("orders.amount", description="How much was ordered at once")


class Order(BaseModel):
    symbol: str = Field(max_length=20)
    amount: float = Field(gt=0)


@app.post("/orders", status_code=201)
async def place(order: Order) -> dict[str, int]:
    number = await app.state.pool.fetchval(
        "INSERT INTO example_orders (symbol, amount) VALUES ($1, $2) RETURNING id", order.symbol, order.amount
    )
    log.info("order %d placed", number, extra={"symbol": order.symbol, "amount": order.amount})
    placed.add(1, {"symbol": order.symbol})
    amounts.record(order.amount, {"symbol": order.symbol})
    return {"id": number}


@app.get("/orders/{number}")
async def look_up(number: int) -> Order:
    row = await app.state.pool.fetchrow("SELECT symbol, amount FROM example_orders WHERE id = $1", number)
    if row is None:
        log.warning("somebody asked for order %d, which is not there", number)
        raise HTTPException(404, f"There is no order {number}.")
    return Order(**row)


@app.get("/orders/{number}/share")
async def share(number: int, people: int) -> float:
    """How much each of `people` gets. Nobody has thought of zero."""
    order = await look_up(number)
    return order.amount / people
