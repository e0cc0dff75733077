"""A shop with Flask. Everything in it is plain OpenTelemetry.

Nothing of Ares is needed. The variables are OpenTelemetry's own, and Ares listens where its SDKs send by themselves:

    pip install flask opentelemetry-distro opentelemetry-exporter-otlp opentelemetry-instrumentation-flask \\
        opentelemetry-instrumentation-logging
    ares-otel up                                                                   # in another terminal
    OTEL_SERVICE_NAME=shop opentelemetry-instrument flask --app examples/flask_shop.py run --port 8001

Ctrl-C ends it, and what was recorded is sent. OTEL_PYTHON_LOG_CODE_ATTRIBUTES=true adds file and line to log records.

Or with one call of Ares in place of the command, as at the end of this file; it also sends when SIGTERM ends it:

    pip install flask ares-otel opentelemetry-instrumentation-flask
    python examples/flask_shop.py

    curl localhost:8001/prices/BTC-USD; curl -X POST 'localhost:8001/carts/7/checkout'
"""

from __future__ import annotations

import logging
import os

from flask import Flask
from opentelemetry import metrics, trace
from werkzeug.exceptions import NotFound

PRICES = {"BTC-USD": 64_000.0, "ETH-USD": 3_100.0}

app = Flask(__name__)
log = logging.getLogger("shop")
tracer = trace.get_tracer("shop")
looked_up = metrics.get_meter("shop").create_counter("shop.prices.looked_up", unit="{lookup}")


@app.get("/prices/<symbol>")
def price(symbol: str) -> dict[str, float]:
    with tracer.start_as_current_span("find price", attributes={"shop.symbol": symbol}):
        looked_up.add(1, {"symbol": symbol if symbol in PRICES else "other"})
        if symbol in PRICES:
            return {symbol: PRICES[symbol]}
        log.warning("nobody sells %s", symbol)
    raise NotFound  # after the span: an exception that leaves it would make it an error


@app.post("/carts/<int:number>/checkout")
def checkout(number: int) -> dict[str, float]:
    """Fails: carts are not written yet, and the trace says in which line."""
    carts: dict[int, dict[str, float]] = {}
    return carts[number]


if __name__ == "__main__":
    import ares_otel

    ares_otel.configure("shop", app=app)
    app.run(port=int(os.environ.get("PORT", "8001")))
