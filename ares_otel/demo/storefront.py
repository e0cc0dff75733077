"""The storefront: what customers see. Calls orders; its process also plays the customers."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace
from pydantic import BaseModel, Field

from ares_otel.demo.catalogue import PRODUCTS
from ares_otel.demo.runtime import Runtime
from ares_otel.demo.traffic import send_traffic

log = logging.getLogger("shop.storefront")

_RESULTS = {201: "placed", 402: "declined", 409: "sold_out"}


class Checkout(BaseModel):
    """What a customer buys."""

    sku: str = Field(max_length=64)
    quantity: int = Field(ge=1, le=10)
    card: str = Field(max_length=64)


def build(runtime: Runtime) -> FastAPI:
    """The application."""
    rng = runtime.rng()
    orders = runtime.client("orders")
    tracer, meter = runtime.telemetry.tracer, runtime.telemetry.meter
    checkouts = meter.create_counter("shop.checkouts", unit="{checkout}", description="Checkouts by result")
    active = meter.create_up_down_counter("shop.checkouts.active", unit="{checkout}", description="Checkouts under way")
    duration = meter.create_histogram("shop.checkout.duration", unit="s", description="Time a checkout takes")

    async def traffic() -> None:
        await send_traffic(runtime.own_url, rate=runtime.rate, seed=runtime.seed)

    app = runtime.app("Storefront", background=[traffic], clients=[orders])

    @app.get("/products")
    async def products() -> list[dict[str, str | int]]:
        with tracer.start_as_current_span("render catalogue") as span:
            hit = rng.random() < 0.8
            span.add_event("cache.lookup", {"cache.hit": hit, "cache.key": "catalogue"})
            log.debug("Catalogue cache %s", "hit" if hit else "miss", extra={"cache.hit": hit})
            await asyncio.sleep(rng.uniform(0.001, 0.005) if hit else rng.uniform(0.03, 0.08))
            span.set_attribute("shop.products", len(PRODUCTS))
        return [{"sku": p.sku, "title": p.title, "price": p.price} for p in PRODUCTS.values()]

    @app.get("/orders/{order_id}")
    async def order(order_id: str) -> JSONResponse:
        answer = await orders.get(f"/orders/{order_id}")
        if answer.status_code == 404:
            log.warning("A customer asked for an order that does not exist", extra={"order.id": order_id})
        return JSONResponse(answer.json(), answer.status_code)

    @app.post("/checkout")
    async def checkout(cart: Checkout) -> JSONResponse:
        trace.get_current_span().set_attributes({"shop.sku": cart.sku, "shop.quantity": cart.quantity})
        log.info(
            "Checkout of %d x %s", cart.quantity, cart.sku, extra={"shop.sku": cart.sku, "shop.quantity": cart.quantity}
        )
        started = perf_counter()
        active.add(1)
        try:
            answer = await orders.post("/orders", json=cart.model_dump())
        finally:
            active.add(-1)
        result = _RESULTS.get(answer.status_code, "failed")
        checkouts.add(1, {"result": result})
        duration.record(perf_counter() - started, {"result": result})
        if result == "failed":
            log.error(
                "Checkout failed: orders answered %d",
                answer.status_code,
                extra={"shop.sku": cart.sku, "http.response.status_code": answer.status_code},
            )
        return JSONResponse(answer.json(), answer.status_code)

    return app
