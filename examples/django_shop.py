"""A shop with Django, in one file: settings, URLs and views. Everything in it is plain OpenTelemetry.

Nothing of Ares is needed. The variables are OpenTelemetry's own, and Ares listens where its SDKs send by themselves:

    pip install django opentelemetry-distro opentelemetry-exporter-otlp opentelemetry-instrumentation-django \\
        opentelemetry-instrumentation-logging
    ares-otel up                                                                   # in another terminal
    cd examples
    OTEL_SERVICE_NAME=shop DJANGO_SETTINGS_MODULE=django_shop PYTHONPATH=. \\
        opentelemetry-instrument python -m django runserver --noreload 8002

Ctrl-C ends it, and what was recorded is sent. OTEL_PYTHON_LOG_CODE_ATTRIBUTES=true adds file and line to log records.

Or with one call of Ares in place of the command, as at the end of this file; it also sends when SIGTERM ends it:

    pip install django ares-otel opentelemetry-instrumentation-django
    python examples/django_shop.py

    curl localhost:8002/prices/BTC-USD; curl -X POST 'localhost:8002/carts/7/checkout'
"""

from __future__ import annotations

import logging
import os
import sys

from django.http import HttpRequest, JsonResponse
from django.urls import path
from opentelemetry import metrics, trace

DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = "an example has no secrets"
ROOT_URLCONF = "django_shop"
MIDDLEWARE: list[str] = []  # OpenTelemetry's instrumentation puts its own in here
USE_TZ = True

PRICES = {"BTC-USD": 64_000.0, "ETH-USD": 3_100.0}

log = logging.getLogger("shop")
tracer = trace.get_tracer("shop")
looked_up = metrics.get_meter("shop").create_counter("shop.prices.looked_up", unit="{lookup}")


def price(request: HttpRequest, symbol: str) -> JsonResponse:
    with tracer.start_as_current_span("find price", attributes={"shop.symbol": symbol}):
        looked_up.add(1, {"symbol": symbol if symbol in PRICES else "other"})
        if symbol in PRICES:
            return JsonResponse({symbol: PRICES[symbol]})
        log.warning("nobody sells %s", symbol)
    return JsonResponse({"error": f"nobody sells {symbol}"}, status=404)


def checkout(request: HttpRequest, number: int) -> JsonResponse:
    """Fails: carts are not written yet, and the trace says in which line."""
    carts: dict[int, dict[str, float]] = {}
    return JsonResponse(carts[number])


urlpatterns = [path("prices/<symbol>", price), path("carts/<int:number>/checkout", checkout)]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    import ares_otel

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_shop")
    ares_otel.configure("shop", instrument=("django",))
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", os.environ.get("PORT", "8002")])
