"""Orders: reserves stock, charges the card with retries, and ships paid orders in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from itertools import count

import httpx
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from pydantic import BaseModel, Field

from ares_otel.demo.catalogue import PRODUCTS
from ares_otel.demo.runtime import Runtime

log = logging.getLogger("shop.orders")

ATTEMPTS = 3
"""Times a charge is tried while the payment service answers 503."""

SHIPPING_SECONDS = 3.0
KEPT = 500
"""Orders remembered; the oldest are forgotten."""


class NewOrder(BaseModel):
    """An order as the storefront sends it."""

    sku: str = Field(max_length=64)
    quantity: int = Field(ge=1, le=10)
    card: str = Field(max_length=64)


def build(runtime: Runtime) -> FastAPI:
    """The application."""
    rng = runtime.rng()
    payments, inventory = runtime.client("payments"), runtime.client("inventory")
    tracer, meter = runtime.telemetry.tracer, runtime.telemetry.meter
    placed = meter.create_counter("shop.orders", unit="{order}", description="Orders by status")
    retried = meter.create_counter("shop.payment.retries", unit="{retry}", description="Charges tried again")
    value = meter.create_histogram("shop.order.value", unit="EUR", description="Value of the orders placed")
    numbers = count(1)
    orders: OrderedDict[str, dict[str, str | int]] = OrderedDict()
    paid: deque[tuple[str, SpanContext]] = deque(maxlen=KEPT)

    async def charge(order_id: str, amount: int, card: str) -> httpx.Response:
        with tracer.start_as_current_span("charge card", attributes={"order.id": order_id}) as span:
            for attempt in range(1, ATTEMPTS + 1):
                span.add_event("payment.attempt", {"attempt": attempt})
                answer = await payments.post(
                    "/charges", json={"order_id": order_id, "amount": amount, "card": card, "attempt": attempt}
                )
                if answer.status_code != 503 or attempt == ATTEMPTS:
                    break
                delay = 0.05 * 2**attempt * rng.uniform(0.8, 1.2)
                span.add_event("payment.retry", {"attempt": attempt, "delay_ms": round(delay * 1_000, 1)})
                log.warning(
                    "Payment attempt %d of %d failed, next in %.0f ms",
                    attempt,
                    ATTEMPTS,
                    delay * 1_000,
                    extra={"order.id": order_id, "payment.attempt": attempt},
                )
                retried.add(1)
                await asyncio.sleep(delay)
            span.set_attribute("payment.attempts", attempt)
            if answer.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR, f"payments answered {answer.status_code}"))
            return answer

    async def ship() -> None:
        while True:
            await asyncio.sleep(SHIPPING_SECONDS)
            batch = [paid.popleft() for _ in range(len(paid))]
            if not batch:
                continue
            # A batch has many parents, so its trace is its own and links to the traces of the orders.
            links = [Link(context, {"order.id": order_id}) for order_id, context in batch]
            with tracer.start_as_current_span(
                "ship orders",
                kind=SpanKind.CONSUMER,
                links=links,
                attributes={"messaging.batch.message_count": len(batch)},
            ) as span:
                await asyncio.sleep(rng.uniform(0.02, 0.06))
                for order_id, _ in batch:
                    if order_id in orders:
                        orders[order_id]["status"] = "shipped"
                span.add_event("handed to carrier", {"carrier": rng.choice(("post", "bike courier"))})
                log.info("Shipped %d orders", len(batch), extra={"otel.event.name": "orders.shipped"})

    app = runtime.app("Orders", background=[ship], clients=[payments, inventory])

    @app.get("/orders/{order_id}")
    async def find(order_id: str) -> JSONResponse:
        if order_id not in orders:
            return JSONResponse({"error": "no such order"}, 404)
        return JSONResponse({"order_id": order_id, **orders[order_id]})

    @app.post("/orders")
    async def place(order: NewOrder) -> JSONResponse:
        span = trace.get_current_span()
        order_id = f"ord-{next(numbers)}"
        amount = PRODUCTS[order.sku].price * order.quantity
        span.set_attributes({"order.id": order_id, "order.sku": order.sku, "order.amount": amount / 100})
        reserved = await inventory.post(
            "/reservations", json={"order_id": order_id, "sku": order.sku, "quantity": order.quantity}
        )
        if reserved.status_code == 409:
            placed.add(1, {"status": "sold_out"})
            log.warning("%s is sold out", order.sku, extra={"order.id": order_id, "shop.sku": order.sku})
            return JSONResponse({"error": "sold out"}, 409)
        reserved.raise_for_status()
        charged = await charge(order_id, amount, order.card)
        if charged.status_code != 201:
            await inventory.delete(f"/reservations/{order_id}")
            declined = charged.status_code == 402
            placed.add(1, {"status": "declined" if declined else "failed"})
            log.log(
                logging.WARNING if declined else logging.ERROR,
                "Order %s not placed: payments answered %d",
                order_id,
                charged.status_code,
                extra={"order.id": order_id, "http.response.status_code": charged.status_code},
            )
            return JSONResponse(
                {"error": "payment declined" if declined else "payment failed"}, 402 if declined else 502
            )
        orders[order_id] = {"status": "paid", "sku": order.sku, "amount": amount}
        if len(orders) > KEPT:
            orders.popitem(last=False)
        paid.append((order_id, span.get_span_context()))
        placed.add(1, {"status": "placed"})
        value.record(amount / 100, {"sku": order.sku})
        span.add_event("order.placed", {"order.id": order_id})
        log.info(
            "Order %s placed for %.2f EUR",
            order_id,
            amount / 100,
            extra={"order.id": order_id, "order.amount": amount / 100, "otel.event.name": "order.placed"},
        )
        return JSONResponse({"order_id": order_id}, 201)

    return app
