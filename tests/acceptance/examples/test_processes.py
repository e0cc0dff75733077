"""Programs of `examples/` that end by themselves: workers, a script, the cells of a notebook."""

from __future__ import annotations

import json
import uuid
from subprocess import CompletedProcess

import asyncpg
import pytest

from tests.acceptance.examples.traces import PARENT, logs_of, spans_of, traceparent
from tests.support.ares_process import AresProcess
from tests.support.example import EXAMPLES
from tests.support.forked_application import run_application


def _run(program: str, ares: AresProcess, before: str = "", **env: str) -> CompletedProcess[str]:
    """Runs a program of `examples/` to its end, as a process of its own."""
    script = f"import runpy\n{before}\nrunpy.run_path({str(EXAMPLES / program)!r}, run_name='__main__')\n"
    around = {"OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc, "ARES_OTEL_API_URL": ares.http}
    return run_application(script, {**around, **env})


@pytest.fixture(scope="module")
def worked(ares: AresProcess) -> str:
    done = _run("worker.py", ares)
    assert done.returncode == 0, done.stderr
    print(done.stderr)  # shown with a failure
    return done.stderr


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
    done = _run("script.py", ares, lines, TRACEPARENT=traceparent(trace_id))
    assert (done.returncode, done.stdout) == (0, "1.5\n"), done.stderr
    [span] = await spans_of(database, trace_id)
    assert (span["operation_name"], span["status"], span["parent_span_id"]) == ("import orders", "unset", PARENT)
    [line] = await logs_of(database, trace_id)
    assert (line["message"], line["span_id"]) == ("line 2 is left out: 'two' is no amount", span["span_id"])
    rows = await database.fetch("SELECT labels, metric_value FROM service_metrics WHERE metric_name = 'import.lines'")
    assert {json.loads(row["labels"])["outcome"]: row["metric_value"] for row in rows} == {"read": 1, "left out": 1}


async def test_a_script_that_fails_sends_why(ares: AresProcess, database: asyncpg.Connection) -> None:
    trace_id = uuid.uuid4().hex
    lines = "import io, sys\nsys.stdin = io.TextIOWrapper(io.BytesIO(b'BTC-USD,\\xff'), 'utf-8')"
    done = _run("script.py", ares, lines, TRACEPARENT=traceparent(trace_id))
    assert done.returncode == 1
    assert "UnicodeDecodeError" in done.stderr
    [span] = await spans_of(database, trace_id)
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
        [span] = await spans_of(database, trace_id)
        assert span["service_name"] == "notebook"
