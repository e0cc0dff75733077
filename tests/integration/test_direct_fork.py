"""A process that forks while its exporters hold something: each batch is stored once, by the process that made it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


SCRIPT = """
import os, sys
from ares_otel.sdk.direct import session
from tests.support.sdk_application import Application, some_spans
from tests.faults.support.pg_proxy import proxy

session.FIRST_DELAY, session.LONGEST_DELAY = 0.02, 0.1
with proxy(sys.argv[1]) as way:
    app = Application(way.url)
    app.spans.export(some_spans(app, 1, "before"))
    assert app.spans.force_flush(20_000)
    connections = way.attempts
    way.away()
    app.spans.export(some_spans(app, 1, "waiting in the parent"))
    child = os.fork()
    if child == 0:
        # The proxy's thread is not here; the database itself is.
        stats = app.spans.stats()
        assert (stats.exported, stats.waiting) == (0, 0), stats
        own = Application(sys.argv[1])
        own.spans.export(some_spans(own, 1, "in the child"))
        assert own.spans.force_flush(20_000)
        own.shutdown()
        app.spans.export(some_spans(app, 1, "lost in the child: its way is closed"))
        app.spans.shutdown(0)
        assert app.spans.stats().dropped == {"shutdown": 1}, app.spans.stats()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    way.back()
    assert app.spans.force_flush(20_000)
    app.spans.export(some_spans(app, 1, "after"))
    assert app.spans.force_flush(20_000)
    app.shutdown()
"""

SAME_EXPORTER = """
import os, sys
from tests.support.sdk_application import Application, some_spans

app = Application(sys.argv[1])
app.spans.export(some_spans(app, 1, "parent"))
assert app.spans.force_flush(20_000)
children = []
for number in range(2):
    child = os.fork()
    if child == 0:
        app.spans.export(some_spans(app, 1, f"child {number}"))
        assert app.spans.force_flush(20_000)
        app.shutdown()
        os._exit(0)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
app.spans.export(some_spans(app, 1, "parent"))
assert app.spans.force_flush(20_000)
app.shutdown()
"""


async def run(script: str, url: str) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script, url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") or "Traceback" not in done.stderr, done.stderr


async def test_children_store_what_is_theirs_over_connections_of_their_own(
    database_url: str, sql: asyncpg.Connection
) -> None:
    await run(SAME_EXPORTER, database_url)
    found = await sql.fetch("SELECT attributes ->> 'text' AS text, count(*) FROM service_spans GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in found] == [("child 0", 1), ("child 1", 1), ("parent", 2)]


async def test_what_waits_in_the_parent_is_not_the_childs(database_url: str, sql: asyncpg.Connection) -> None:
    await run(SCRIPT, database_url)
    found = await sql.fetch("SELECT attributes ->> 'text' AS text FROM service_spans ORDER BY 1")
    assert [row["text"] for row in found] == ["after", "before", "in the child", "waiting in the parent"]
