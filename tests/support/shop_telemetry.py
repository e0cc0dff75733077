"""Code of a shop that makes spans, log records and metrics, for tests of the fixture `otel`. As in an application, the
tracer and the instruments are older than any test."""

from __future__ import annotations

import logging

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind

tracer = trace.get_tracer("shop", "1.0")
orders = metrics.get_meter("shop").create_counter("orders", unit="{order}")
log = logging.getLogger("shop.orders")


def place_order(order: int = 1) -> None:
    """A request with a statement below it, a warning in there, and one more order."""
    with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER, attributes={"http.route": "/orders"}):
        with tracer.start_as_current_span("INSERT orders", kind=SpanKind.CLIENT) as span:
            span.set_attribute("order.id", order)
            span.add_event("retried", {"attempt": 2})
            log.warning("order %d is large", order, extra={"order.id": order})
        orders.add(1, {"side": "buy"})
