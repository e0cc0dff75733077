"""Questions worth asking while the demo runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

_SQL = (
    ("Which operations are slow, and which fail?", "SELECT * FROM v_service_performance ORDER BY p95_ms DESC LIMIT 10"),
    ("Who is there, and how well?", "SELECT * FROM v_system_health"),
    (
        "What went wrong last, and in which trace?",
        (
            "SELECT timestamp, service_name, message, trace_id FROM v_logs WHERE log_level = 'ERROR' "
            "ORDER BY timestamp DESC LIMIT 5"
        ),
    ),
    (
        "Which traces cross the most services?",
        (
            "SELECT trace_id, count(*) AS spans, array_agg(DISTINCT service_name) AS services FROM v_spans "
            "GROUP BY trace_id ORDER BY count(DISTINCT service_name) DESC, max(start_time) DESC LIMIT 5"
        ),
    ),
    (
        "How much is on the shelf?",
        (
            "SELECT DISTINCT ON (labels) labels->>'sku' AS sku, metric_value AS stock FROM service_metrics "
            "WHERE metric_name = 'inventory.stock' ORDER BY labels, timestamp DESC"
        ),
    ),
)

_REST = (
    ("The same over HTTP: slow and failing operations", "/performance?service=payments"),
    ("Errors of one service", "/logs?service=orders&level=ERROR&limit=5"),
    ("A metric", "/metrics?service=payments&metric=payment.charges&limit=5"),
    ("Health of all services", "/health"),
)


def queries(doors: Mapping[str, str], *, psql: str | None = None) -> list[tuple[str, str]]:
    """Commands to paste into a shell, each with its question.

    doors: URL by the names that `ares-otel up` prints; `database` gives the SQL ones, `http` the REST ones.
    psql: the command that opens psql on that database; when not given, psql with the URL.
    """
    commands = []
    if "database" in doors:
        command = psql or f"psql {shlex.quote(doors['database'])}"
        commands += [(title, f"{command} -c {_quoted(sql)}") for title, sql in _SQL]
    if "http" in doors:
        base = doors["http"].rstrip("/") + "/api/v1/observability"
        commands += [(title, f"curl -s {shlex.quote(base + path)}") for title, path in _REST]
    return commands


def _quoted(sql: str) -> str:
    """For a shell, readable: the queries hold single quotes and nothing that double quotes would not keep."""
    assert not set(sql) & set('"$`\\!')
    return f'"{sql}"'
