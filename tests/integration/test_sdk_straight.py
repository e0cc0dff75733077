"""`configure(database_url=…)`: the same without a server, from the first span to forks and the end."""

from __future__ import annotations

import asyncpg

from tests.support.forked_application import run_application

APPLICATION = """
    import asyncio, logging, os, sys, time
    import ares_otel, asyncpg
    from opentelemetry import metrics, trace

    telemetry = ares_otel.configure("orders", database_url=os.environ["DATABASE"], port=8000)
    counter = metrics.get_meter("app").create_counter("made")

    def record(name):
        with trace.get_tracer("app").start_as_current_span(name):
            logging.warning("%s is logged", name)
        counter.add(1)

    async def registered():
        connection = await asyncpg.connect(os.environ["DATABASE"])
        try:
            while not await connection.fetchval("SELECT count(*) FROM service_registry WHERE name = 'orders'"):
                await asyncio.sleep(0.02)
        finally:
            await connection.close()

    record("parent")
    if (pid := os.fork()) == 0:
        record("child")
        sys.exit()
    os.waitpid(pid, 0)
    asyncio.run(registered())
    assert telemetry.settings.get_string("greeting", "") in ("", "hello")
    assert telemetry.force_flush()
    print(os.getpid(), pid)
"""


async def test_spans_logs_metrics_settings_and_the_registry_need_only_the_database(
    database_url: str, sql: asyncpg.Connection
) -> None:
    run = run_application(APPLICATION, {"DATABASE": database_url})

    assert run.returncode == 0, run.stderr
    parent, child = map(int, run.stdout.split())
    spans = await sql.fetch(
        "SELECT operation_name, resource_attributes->>'process.pid' AS pid, "
        "resource_attributes->>'service.instance.id' AS instance FROM v_spans WHERE service_name = 'orders'"
    )
    assert {row["operation_name"]: int(row["pid"]) for row in spans} == {"parent": parent, "child": child}
    assert len({row["instance"] for row in spans}) == 2
    logs = await sql.fetch(
        "SELECT message, operation_name FROM service_logs l JOIN service_spans s USING (trace_id, span_id) "
        "WHERE l.service_name = 'orders'"
    )
    assert {row["operation_name"]: row["message"] for row in logs} == {
        "parent": "parent is logged",
        "child": "child is logged",
    }
    made = await sql.fetch("SELECT DISTINCT metric_value FROM service_metrics WHERE metric_name = 'made'")
    assert [row["metric_value"] for row in made] == [1.0]
    assert await sql.fetchval("SELECT count(*) FROM service_registry WHERE name = 'orders'") == 0, "it said good-bye"


def test_a_database_that_is_away_does_not_hold_the_end() -> None:
    script = """
        import ares_otel, logging
        ares_otel.configure("orders", database_url="postgresql://nobody@127.0.0.1:9/nothing")
        logging.warning("lost")
        print("works")
    """
    run = run_application(script, {"ARES_OTEL_EXIT_TIMEOUT": "0.5"})

    assert (run.returncode, run.stdout) == (0, "works\n"), run.stderr
