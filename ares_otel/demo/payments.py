"""Payments: charges cards at a bank that is sometimes slow, sometimes away, and sometimes says no."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, Field

from ares_otel.demo.catalogue import Card
from ares_otel.demo.runtime import Runtime
from ares_otel.demo.telemetry import EXPONENTIAL

log = logging.getLogger("shop.payments")

SLOW_SECONDS = 0.3
"""From here on a charge is worth a warning."""


class BankUnreachableError(ConnectionError):
    """The bank does not answer."""


class Charge(BaseModel):
    """What to charge. `amount` is in euro cents; `attempt` counts from 1."""

    order_id: str = Field(max_length=64)
    amount: int = Field(ge=1)
    card: str = Field(max_length=64)
    attempt: int = Field(ge=1)


def build(runtime: Runtime) -> FastAPI:
    """The application."""
    rng = runtime.rng()
    tracer, meter = runtime.telemetry.tracer, runtime.telemetry.meter
    charges = meter.create_counter("payment.charges", unit="{charge}", description="Charges by outcome")
    revenue = meter.create_counter("payment.revenue", unit="EUR", description="Money charged")
    duration = meter.create_histogram(EXPONENTIAL, unit="s", description="Time the bank takes")
    app = runtime.app("Payments")

    async def ask_bank(charge: Charge, brand: str) -> bool:
        """True when the bank agrees. Raises BankUnreachableError when it does not answer."""
        with tracer.start_as_current_span(
            "authorize",
            kind=SpanKind.CLIENT,
            attributes={
                "peer.service": f"{brand}-network",
                "payment.brand": brand,
                "payment.attempt": charge.attempt,
            },
        ) as span:
            slow = charge.card == Card.SLOW
            await asyncio.sleep(rng.uniform(0.35, 0.8) if slow else rng.uniform(0.01, 0.04))
            if charge.card == Card.UNREACHABLE or (charge.card == Card.FLAKY and charge.attempt == 1):
                raise BankUnreachableError(f"connection to the {brand} network reset by peer")
            agreed = charge.card != Card.DECLINED
            span.add_event("bank.answer", {"agreed": agreed})
            return agreed

    @app.post("/charges")
    async def charge(charge: Charge) -> JSONResponse:
        brand, _, last4 = charge.card.partition("-")
        extra = {"order.id": charge.order_id, "payment.brand": brand}
        trace.get_current_span().set_attributes({"order.id": charge.order_id, "payment.amount": charge.amount / 100})
        log.debug("Charging the card that ends with %s", last4, extra=extra)
        fee = {"visa": 0.014, "mastercard": 0.016}[brand]  # knows no other brand: the demo's crash
        started = perf_counter()
        try:
            agreed = await ask_bank(charge, brand)
        except BankUnreachableError:
            charges.add(1, {"outcome": "unreachable", "payment.brand": brand})
            if charge.attempt >= 3:
                log.critical("The %s network is away, nothing can be charged there", brand, extra=extra)
            else:
                log.exception("The bank cannot be reached", extra=extra)
            return JSONResponse({"error": "bank unreachable"}, 503, headers={"Retry-After": "1"})
        finally:
            elapsed = perf_counter() - started
            duration.record(elapsed, {"payment.brand": brand})
        if elapsed > SLOW_SECONDS:
            log.warning("Slow charge: %.0f ms", elapsed * 1_000, extra={**extra, "duration_ms": elapsed * 1_000})
        if not agreed:
            charges.add(1, {"outcome": "declined", "payment.brand": brand})
            log.warning("Card declined", extra=extra)
            return JSONResponse({"error": "card declined"}, 402)
        charges.add(1, {"outcome": "charged", "payment.brand": brand})
        revenue.add(charge.amount / 100, {"payment.brand": brand})
        log.info(
            "Charged %.2f EUR", charge.amount / 100, extra={**extra, "payment.fee": round(charge.amount * fee / 100, 4)}
        )
        return JSONResponse({"status": "charged"}, 201)

    return app
