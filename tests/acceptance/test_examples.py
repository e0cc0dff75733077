"""The programs of `examples/` beside a real Ares: shops with Flask and Django, with and without `configure`, workers,
a script and a notebook."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess
from tests.support.example import EXAMPLES, Example, instrumented, running
from tests.support.forked_application import run_application
from tests.support.ports import free_port

FOUND, MISSING, FAILED = "found", "missing", "failed"
PARENT = "00f067aa0ba902b7"
SHOPS = ("flask", "flask with configure", "django", "django with configure")
REQUESTS = {
    FOUND: ("GET", "/prices/BTC-USD", 200),
    MISSING: ("GET", "/prices/NO-SUCH", 404),
    FAILED: ("POST", "/carts/7/checkout", 500),
}


def _traceparent(trace_id: str) -> str:
    return f"00-{trace_id}-{PARENT}-01"


# -- shops ----------------------------------------------------------------


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
                headers = {"traceparent": _traceparent(traces[outcome])}
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
    server, inner = await _spans(database, shop.traces[FOUND])
    assert (server["kind"], server["parent_span_id"], server["service_name"]) == ("server", PARENT, "shop")
    assert server["operation_name"].startswith("GET ")
    assert server["operation_name"].endswith("prices/<symbol>")
    assert (inner["operation_name"], inner["parent_span_id"]) == ("find price", server["span_id"])
    assert json.loads(inner["attributes"]) == {"shop.symbol": "BTC-USD"}


async def test_what_a_shop_logs_belongs_to_the_span_it_is_logged_in(shop: Shop, database: asyncpg.Connection) -> None:
    server, inner = await _spans(database, shop.traces[MISSING])
    assert (server["status"], inner["status"]) == ("unset", "unset")
    line = next(line for line in await _logs(database, shop.traces[MISSING]) if line["message"].startswith("nobody"))
    assert (line["message"], line["log_level"], line["span_id"]) == ("nobody sells NO-SUCH", "WARN", inner["span_id"])
    source = EXAMPLES / f"{shop.instance.split('-')[0]}_shop.py"
    assert line["source_file"] == str(source)
    code = source.read_text(encoding="utf-8").splitlines()
    assert code[line["source_line"] - 1].strip() == 'log.warning("nobody sells %s", symbol)'


async def test_an_exception_in_a_shop_is_an_error_with_its_stack(shop: Shop, database: asyncpg.Connection) -> None:
    [server] = await _spans(database, shop.traces[FAILED])
    assert server["status"] == "error"
    [event] = json.loads(server["events"])
    assert "carts[number]" in event["attributes"]["exception.stacktrace"]
    [line] = await _logs(database, shop.traces[FAILED])
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


# -- workers, scripts, notebooks --------------------------------------------


def _run(program: str, ares: AresProcess, before: str = "", **env: str) -> Any:
    """Runs a program of `examples/` to its end, as a process of its own."""
    script = f"import runpy\n{before}\nrunpy.run_path({str(EXAMPLES / program)!r}, run_name='__main__')\n"
    around = {"OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc, "ARES_OTEL_API_URL": ares.http}
    return run_application(script, {**around, **env})


@pytest.fixture(scope="module")
def worked(ares: AresProcess) -> str:
    done = _run("worker.py", ares)
    assert done.returncode == 0, done.stderr
    return str(done.stderr)


async def test_a_worker_goes_on_in_the_trace_of_the_message(worked: str, database: asyncpg.Connection) -> None:
    rows = await database.fetch(
        "SELECT sent.trace_id, sent.resource_attributes->>'service.instance.id' AS sender, handled.status, "
        "handled.resource_attributes->>'service.instance.id' AS worker "
        "FROM v_spans sent JOIN v_spans handled ON handled.trace_id = sent.trace_id "
        "AND handled.parent_span_id = sent.span_id WHERE sent.kind = 'producer' AND handled.kind = 'consumer' "
        "AND sent.service_name = 'mailer' ORDER BY sent.start_time"
    )
    assert [row["status"] for row in rows] == ["unset", "unset", "error"]
    assert len({row["trace_id"] for row in rows}) == 3
    assert not {row["sender"] for row in rows} & {row["worker"] for row in rows}


async def test_who_handles_many_messages_is_linked_to_each(worked: str, database: asyncpg.Connection) -> None:
    links = await database.fetchval("SELECT links FROM v_spans WHERE operation_name = 'settle mails'")
    sent = await database.fetch("SELECT trace_id, span_id FROM v_spans WHERE operation_name = 'send mails'")
    found = {(link["trace_id"], link["span_id"]) for link in json.loads(links)}
    assert found == {(row["trace_id"], row["span_id"]) for row in sent}


async def test_a_message_that_cannot_be_handled_says_why(worked: str, database: asyncpg.Connection) -> None:
    assert "a message could not be handled" in worked
    [line] = await database.fetch("SELECT * FROM v_logs WHERE service_name = 'mailer' AND log_level = 'ERROR'")
    span = await database.fetchrow("SELECT * FROM v_spans WHERE service_name = 'mailer' AND status = 'error'")
    assert (line["trace_id"], line["span_id"]) == (span["trace_id"], span["span_id"])
    assert "is no address" in json.loads(line["metadata"])["exception.stacktrace"]
    assert span["status_message"] == "'nowhere' is no address"


async def test_forked_workers_count_for_themselves(worked: str, database: asyncpg.Connection) -> None:
    total = await database.fetchval(
        "SELECT sum(metric_value) FROM service_metrics WHERE metric_name = 'messaging.client.consumed.messages'"
    )
    assert total == 2


async def test_a_script_sends_at_its_end(ares: AresProcess, database: asyncpg.Connection) -> None:
    trace_id = uuid.uuid4().hex
    lines = "import io, sys\nsys.stdin = io.StringIO('BTC-USD,1.5\\nETH-USD,two\\n')"
    done = _run("script.py", ares, lines, TRACEPARENT=_traceparent(trace_id))
    assert (done.returncode, done.stdout) == (0, "1.5\n"), done.stderr
    [span] = await _spans(database, trace_id)
    assert (span["operation_name"], span["status"], span["parent_span_id"]) == ("import orders", "unset", PARENT)
    [line] = await _logs(database, trace_id)
    assert (line["message"], line["span_id"]) == ("line 2 is left out: 'two' is no amount", span["span_id"])
    rows = await database.fetch("SELECT labels, metric_value FROM service_metrics WHERE metric_name = 'import.lines'")
    assert {json.loads(row["labels"])["outcome"]: row["metric_value"] for row in rows} == {"read": 1, "left out": 1}


async def test_a_script_that_fails_sends_why(ares: AresProcess, database: asyncpg.Connection) -> None:
    trace_id = uuid.uuid4().hex
    lines = "import io, sys\nsys.stdin = io.TextIOWrapper(io.BytesIO(b'BTC-USD,\\xff'), 'utf-8')"
    done = _run("script.py", ares, lines, TRACEPARENT=_traceparent(trace_id))
    assert done.returncode == 1
    assert "UnicodeDecodeError" in done.stderr
    [span] = await _spans(database, trace_id)
    assert span["status"] == "error"
    [event] = json.loads(span["events"])
    assert "for number, line in enumerate(lines, 1)" in event["attributes"]["exception.stacktrace"]


async def test_the_cells_of_the_notebook_run_in_order_and_again(
    ares: AresProcess, database: asyncpg.Connection
) -> None:
    script = f"""
        import json
        cells = json.load(open({str(EXAMPLES / "notebook.ipynb")!r}, encoding="utf-8"))["cells"]
        names = {{}}
        for _ in range(2):
            for number, cell in enumerate(cells):
                if cell["cell_type"] == "code":
                    exec(compile("".join(cell["source"]), f"cell {{number}}", "exec"), names)
            print(names["trace_id"])
            assert [span["operation_name"] for span in names["shown"]["spans"]] == ["fit"]
            assert [line["message"] for line in names["shown"]["logs"]] == ["slope 2.036"]
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc, "ARES_OTEL_API_URL": ares.http}
    done = run_application(script, env)
    assert (done.returncode, done.stderr) == (0, "")
    for trace_id in done.stdout.split():
        [span] = await _spans(database, trace_id)
        assert span["service_name"] == "notebook"


async def _spans(database: asyncpg.Connection, trace_id: str) -> list[asyncpg.Record]:
    return list(await database.fetch("SELECT * FROM v_spans WHERE trace_id = $1 ORDER BY start_time", trace_id))


async def _logs(database: asyncpg.Connection, trace_id: str) -> list[asyncpg.Record]:
    return list(await database.fetch("SELECT * FROM v_logs WHERE trace_id = $1 ORDER BY timestamp", trace_id))
