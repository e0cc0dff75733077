"""Inventory: what is on the shelf, what is reserved, and a restock now and then."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from pydantic import BaseModel, Field

from ares_otel.demo.catalogue import PRODUCTS
from ares_otel.demo.runtime import Runtime

log = logging.getLogger("shop.inventory")

RESTOCK_SECONDS = 15.0
KEPT = 2_000
"""Reservations remembered; older ones can no longer be given back."""


class Reservation(BaseModel):
    """What to put aside, and for which order."""

    order_id: str = Field(max_length=64)
    sku: str = Field(max_length=64)
    quantity: int = Field(ge=1, le=10)


def build(runtime: Runtime) -> FastAPI:
    """The application."""
    rng = runtime.rng()
    tracer, meter = runtime.telemetry.tracer, runtime.telemetry.meter
    stock = {product.sku: product.stock for product in PRODUCTS.values()}
    reserved: OrderedDict[str, Reservation] = OrderedDict()

    def levels(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(number, {"sku": sku}) for sku, number in stock.items()]

    meter.create_observable_gauge("inventory.stock", [levels], unit="{item}", description="Articles on the shelf")
    items = meter.create_up_down_counter("inventory.reserved", unit="{item}", description="Articles put aside")
    misses = meter.create_counter("inventory.sold_out", unit="{request}", description="Requests for a sold-out article")

    async def restock() -> None:
        while True:
            await asyncio.sleep(RESTOCK_SECONDS)
            with tracer.start_as_current_span("restock shelves") as span:
                for product in PRODUCTS.values():
                    added = product.stock - stock[product.sku]
                    if added > 0:
                        stock[product.sku] += added
                        span.add_event("restocked", {"sku": product.sku, "added": added})
                log.info("Shelves are full again", extra={"otel.event.name": "inventory.restocked"})

    app = runtime.app("Inventory", background=[restock])

    @app.post("/reservations")
    async def reserve(wanted: Reservation) -> JSONResponse:
        with tracer.start_as_current_span("lock shelf", attributes={"shop.sku": wanted.sku}) as span:
            await asyncio.sleep(rng.uniform(0.002, 0.015))
            left = stock[wanted.sku] - wanted.quantity
            span.set_attributes({"inventory.left": left, "shop.quantity": wanted.quantity})
            if left >= 0:
                stock[wanted.sku] = left
        if left < 0:
            misses.add(1, {"sku": wanted.sku})
            trace.get_current_span().add_event("sold out", {"shop.sku": wanted.sku})
            log.warning(
                "Not enough %s: %d wanted, %d there",
                wanted.sku,
                wanted.quantity,
                left + wanted.quantity,
                extra={"shop.sku": wanted.sku, "order.id": wanted.order_id},
            )
            return JSONResponse({"error": "sold out"}, 409)
        reserved[wanted.order_id] = wanted
        if len(reserved) > KEPT:
            reserved.popitem(last=False)
        items.add(wanted.quantity, {"sku": wanted.sku})
        log.debug("Reserved %d x %s", wanted.quantity, wanted.sku, extra={"order.id": wanted.order_id})
        return JSONResponse({"left": left}, 201)

    @app.delete("/reservations/{order_id}")
    async def release(order_id: str) -> JSONResponse:
        back = reserved.pop(order_id, None)
        if back is None:
            return JSONResponse({"error": "no such reservation"}, 404)
        stock[back.sku] += back.quantity
        items.add(-back.quantity, {"sku": back.sku})
        log.info("Reservation given back", extra={"order.id": order_id, "shop.sku": back.sku})
        return JSONResponse({"released": back.quantity})

    return app
