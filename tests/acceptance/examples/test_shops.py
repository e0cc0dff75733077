"""The shops of `examples/` with Flask and Django, under `opentelemetry-instrument` and with `configure()`."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import asyncpg
import httpx
import pytest

from tests.acceptance.examples.traces import PARENT, logs_of, spans_of, traceparent
from tests.support.ares_process import AresProcess
from tests.support.example import EXAMPLES, Example, instrumented, running
from tests.support.ports import free_port

FOUND, MISSING, FAILED = "found", "missing", "failed"
SHOPS = ("flask", "flask with configure", "django", "django with configure")
REQUESTS = {
    FOUND: ("GET", "/prices/BTC-USD", 200),
    MISSING: ("GET", "/prices/NO-SUCH", 404),
    FAILED: ("POST", "/carts/7/checkout", 500),
}


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop that was asked for things and has ended: trace ids in hex by what became of the requests."""

    instance: str
    traces: Mapping[str, str]


def _shop(name: str, endpoint: str) -> Example:
    port = free_port()
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={name.replace(' ', '-')}",
        "PORT": str(port),
    }
    framework = name.split()[0]
    if name.endswith("configure"):
        return Example([sys.executable, f"examples/{framework}_shop.py"], port, env)
    env |= {"OTEL_SERVICE_NAME": "shop", "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "true"}
    words: tuple[str, ...]
    if framework == "flask":
        words = ("flask", "--app", "examples/flask_shop.py", "run", "--port", str(port))
    else:
        env |= {"DJANGO_SETTINGS_MODULE": "django_shop", "PYTHONPATH": str(EXAMPLES)}
        words = ("django", "runserver", "--noreload", str(port))
    return Example(instrumented(*words), port, env)


@pytest.fixture(scope="module")
def shops(ares: AresProcess) -> dict[str, Shop]:
    """All four at once, each asked the same and then ended by Ctrl-C."""
    found = {}
    with ExitStack() as stack:
        started = {name: _shop(name, ares.otlp_grpc) for name in SHOPS}
        for name, shop in started.items():
            stack.enter_context(running(shop))
            traces = {outcome: uuid.uuid4().hex for outcome in REQUESTS}
            for outcome, (method, path, status) in REQUESTS.items():
                headers = {"traceparent": traceparent(traces[outcome])}
                answer = httpx.request(method, shop.url + path, headers=headers, timeout=60, trust_env=False)
                assert answer.status_code == status
            found[name] = Shop(name.replace(" ", "-"), traces)
        for shop in started.values():
            shop.signal(signal.SIGINT)
        for shop in started.values():
            shop.wait()
    return found


@pytest.fixture(params=SHOPS)
def shop(request: pytest.FixtureRequest, shops: dict[str, Shop]) -> Shop:
    return shops[request.param]


async def test_a_request_to_a_shop_goes_on_in_the_trace_of_whoever_asked(
    shop: Shop, database: asyncpg.Connection
) -> None:
    server, inner = await spans_of(database, shop.traces[FOUND])
    assert (server["kind"], server["parent_span_id"], server["service_name"]) == ("server", PARENT, "shop")
    assert server["operation_name"].startswith("GET ")
    assert server["operation_name"].endswith("prices/<symbol>")
    assert (inner["operation_name"], inner["parent_span_id"]) == ("find price", server["span_id"])
    assert json.loads(inner["attributes"]) == {"shop.symbol": "BTC-USD"}


async def test_what_a_shop_logs_belongs_to_the_span_it_is_logged_in(shop: Shop, database: asyncpg.Connection) -> None:
    server, inner = await spans_of(database, shop.traces[MISSING])
    assert (server["status"], inner["status"]) == ("unset", "unset")
    line = next(line for line in await logs_of(database, shop.traces[MISSING]) if line["message"].startswith("nobody"))
    assert (line["message"], line["log_level"], line["span_id"]) == ("nobody sells NO-SUCH", "WARN", inner["span_id"])
    source = EXAMPLES / f"{shop.instance.split('-')[0]}_shop.py"
    assert line["source_file"] == str(source)
    code = source.read_text(encoding="utf-8").splitlines()
    assert code[line["source_line"] - 1].strip() == 'log.warning("nobody sells %s", symbol)'


async def test_an_exception_in_a_shop_is_an_error_with_its_stack(shop: Shop, database: asyncpg.Connection) -> None:
    [server] = await spans_of(database, shop.traces[FAILED])
    assert server["status"] == "error"
    [event] = json.loads(server["events"])
    assert "carts[number]" in event["attributes"]["exception.stacktrace"]
    [line] = await logs_of(database, shop.traces[FAILED])
    assert (line["log_level"], line["span_id"]) == ("ERROR", server["span_id"])
    about = json.loads(line["metadata"])
    assert about["exception.type"] == "KeyError"
    assert "carts[number]" in about["exception.stacktrace"]


async def test_a_shop_counts(shop: Shop, database: asyncpg.Connection) -> None:
    rows = await database.fetch(
        "SELECT m.labels->>'symbol' AS symbol, m.metric_value FROM service_metrics m "
        "JOIN metric_series s USING (tenant_id, series_id) JOIN otel_resources r USING (tenant_id, resource_id) "
        "WHERE m.metric_name = 'shop.prices.looked_up' AND r.attributes->>'service.instance.id' = $1",
        shop.instance,
    )
    assert {row["symbol"]: row["metric_value"] for row in rows} == {"BTC-USD": 1, "other": 1}
