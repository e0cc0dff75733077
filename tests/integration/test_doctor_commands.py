"""`ares-otel doctor` and `doctor --account` as the person on call uses them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from google.protobuf.message import Message

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from tests.support.ares_process import run_ares, running_ares
from tests.support.otlp_samples import any_value, log_record, logs_request, metrics_request, span, trace_request
from tests.support.poison import POISON, refuse_poison, take_poison
from tests.support.rejected import insert_rejected

NOBODY = "http://127.0.0.1:1"


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_ares(["doctor", *arguments])


def page(result: subprocess.CompletedProcess[str]) -> dict[str, list[tuple[str, str]]]:
    """The lines by name: state and sentence."""
    assert result.stderr == ""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in result.stdout.splitlines():
        head, _, sentence = line.partition(": ")
        state, name = head.split()
        found.setdefault(name, []).append((state, sentence))
    return found


def in_database(url: str, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> None:
    async def whole() -> None:
        connection = await asyncpg.connect(url)
        try:
            await work(connection)
        finally:
            await connection.close()

    asyncio.run(whole())


def send(url: str, signal: Signal, request: Message) -> bytes:
    """Sends by OTLP/HTTP; the answer's body."""
    answer = httpx.post(
        f"{url}{signal.http_path}",
        content=request.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_running_ares_is_well_and_every_item_is_accounted_for(data_dir: Path) -> None:
    with running_ares(data_dir) as ares:
        where = ("--data-dir", str(data_dir), "--url", ares.http)
        result = doctor(*where)
        assert result.returncode == 0, result.stdout
        found = page(result)
        assert set(found) == {
            *("database", "durability", "migrations", "partitions", "retention", "rejected", "spools", "spool"),
            *("disk", "encoder", "process", "metrics"),
        }
        assert [name for name, said in found.items() if said[0][0] != "ok" and name != "disk"] == []

        body = logs_request(records=[log_record(), log_record(trace_id=b"short")])
        for _ in range(2):  # the second is a retry
            send(ares.otlp_http, LOGS, body)
            send(ares.otlp_http, TRACES, trace_request(spans=[span(), span()]))
        send(ares.otlp_http, METRICS, metrics_request())
        result = doctor("--account", "--json", *where)
        document = json.loads(result.stdout)
        assert document["imbalances"] == []
        assert document["trouble"] == []
        assert (result.returncode, document["balanced"]) == (0, True)
        [logs] = [one for one in document["receivers"] if (one["signal"], one["receiver"]) == ("logs", "otlp")]
        assert [logs[name] for name in ("transport", "received", "stored", "deduplicated", "rejected", "open")] == [
            *("http", 4, 1, 1, 2, 0)
        ]
        ledger = {one["signal"]: one for one in document["database"]}
        assert {one["difference"] for one in ledger.values()} == {0}
        assert ledger["traces"]["stored"] >= 4
        text = doctor("--account", *where).stdout
        assert "balanced: every item is accounted for." in text
        assert "RECEIVER  TRANSPORT  RECEIVED  STORED  DEDUPLICATED  REJECTED  REFUSED  DROPPED  SPOOLED  OPEN" in text

        database = ares.database
        in_database(database, lambda c: c.execute("DELETE FROM service_spans WHERE service_name <> 'ares-api'"))
        result = doctor("--account", *where)
        assert result.returncode == 1
        assert "not balanced: traces in the database: receipts say" in result.stdout

        ares.kill()
        found = page(doctor("--data-dir", str(data_dir), "--url", ares.http))
        assert found["process"][0][0] == "problem"
        result = doctor("--account", *where)
        assert result.returncode == 1
        assert f"unknown: Nothing answers at {ares.http}" in result.stdout


def test_what_the_database_refuses_is_seen_mended_and_stored_and_the_account_holds_all_the_time(data_dir: Path) -> None:
    with running_ares(data_dir) as ares:
        where = ("--data-dir", str(data_dir))
        ask = (*where, "--url", ares.http)
        in_database(ares.database, refuse_poison)
        records = [log_record(), log_record(body=any_value(POISON)), log_record()]
        answer = LOGS.response.FromString(send(ares.otlp_http, LOGS, logs_request(service="orders", records=records)))
        assert answer.partial_success.rejected_log_records == 1  # type: ignore[attr-defined]
        [entry] = json.loads(run_ares(["rejected", "ls", "--json", *where]).stdout)
        assert (entry["service_name"], entry["items"], entry["sqlstate"], entry["told"]) == ("orders", 1, "23514", True)
        over_rest = httpx.get(f"{ares.http}/api/v1/observability/rejected/{entry['id']}").json()
        [resource] = over_rest["otlp"]["resourceLogs"]
        assert resource["scopeLogs"][0]["logRecords"][0]["body"] == {"stringValue": POISON}
        assert page(doctor(*ask))["rejected"][0][0] == "warning"
        assert "balanced: every item" in doctor("--account", *ask).stdout
        assert run_ares(["rejected", "retry", "--all", *where]).returncode == 1
        in_database(ares.database, take_poison)
        assert "Stored 1 entry with 1 item" in run_ares(["rejected", "retry", "--all", *where]).stdout
        assert run_ares(["rejected", "ls", *where]).stdout == ""
        assert "balanced: every item" in doctor("--account", *ask).stdout


def test_without_a_database_that_is_said_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    result = doctor("--data-dir", str(tmp_path), "--url", NOBODY)
    assert result.returncode == 1
    found = page(result)
    assert found["database"] == [
        ("problem", f"No Ares runs on {tmp_path}; start `ares-otel up`, or name its directory by --data-dir.")
    ]
    assert found["spool"][0][0] == "ok"
    assert found["process"][0][0] == "problem"
    assert "migrations" not in found
    as_json = json.loads(doctor("--data-dir", str(tmp_path), "--url", NOBODY, "--json").stdout)
    assert {one["name"]: one["state"] for one in as_json}["database"] == "problem"


def test_a_database_without_tables_needs_migrations(empty_database_url: str) -> None:
    found = page(doctor("--database-url", empty_database_url, "--url", NOBODY))
    [(state, sentence)] = found["migrations"]
    assert state == "problem"
    assert "001_service_registry.sql first; run `ares-otel migrate`" in sentence
    assert "partitions" not in found
    account = doctor("--account", "--database-url", empty_database_url, "--url", NOBODY)
    assert account.returncode == 1
    assert "unknown: The database lacks tables or columns of this version; run `ares-otel migrate`." in account.stdout


def test_settings_of_the_server_that_break_the_promise_are_problems(database_url: str) -> None:
    """The server of the tests runs without durability."""
    said = page(doctor("--database-url", database_url, "--url", NOBODY))["durability"]
    assert [state for state, _ in said] == ["problem"] * 3
    assert "fsync=on" in said[0][1]


def test_missing_partitions_and_gaps_are_found(database_url: str) -> None:
    today = datetime.now(UTC)

    async def drop(connection: asyncpg.Connection) -> None:
        await connection.execute(f"DROP TABLE service_logs_{today:%Y%m%d}")
        await connection.execute(f"DROP TABLE service_spans_{today + timedelta(days=2):%Y%m%d}")

    in_database(database_url, drop)
    said = page(doctor("--database-url", database_url, "--url", NOBODY))["partitions"]
    assert [state for state, _ in said] == ["problem", "warning"]
    assert said[0][1].startswith("service_logs has no partition for now")
    assert "stand apart" in said[1][1]


def test_refused_items_of_a_day_are_a_warning(database_url: str) -> None:
    arguments = ("--database-url", database_url, "--url", NOBODY)
    assert page(doctor(*arguments))["rejected"][0] == ("ok", "The database refused nothing within a day.")
    old = datetime.now(UTC) - timedelta(days=2)
    in_database(database_url, lambda c: insert_rejected(c, rejected_at=old))
    assert "1 older entries are kept" in page(doctor(*arguments))["rejected"][0][1]
    in_database(database_url, lambda c: insert_rejected(c, logs_request(records=3)))
    [(state, sentence)] = page(doctor(*arguments))["rejected"]
    assert state == "warning"
    assert sentence.startswith("The database refused 3 items of 1 services within a day")
    assert "ares-otel rejected ls" in sentence


def test_a_partition_that_cannot_be_dropped_is_a_warning_with_the_reason(database_url: str) -> None:
    in_database(
        database_url,
        lambda c: c.execute(
            "INSERT INTO partition_jobs (partition_name, table_name, range_start, range_end, failures, failed_at,"
            " last_error) VALUES ('service_logs_20260101', 'service_logs', now(), now(), 2, now(), 'no\\x1b way')"
        ),
    )
    [(state, sentence)] = page(doctor("--database-url", database_url, "--url", NOBODY))["retention"]
    assert state == "warning"
    assert "failed for 1 partitions" in sentence
    assert "service_logs_20260101: no" in sentence


def test_a_spool_that_holds_requests_and_does_not_report_is_a_problem(database_url: str) -> None:
    in_database(
        database_url,
        lambda c: c.execute(
            "INSERT INTO ingest_spools (spool_id, place, seen_at, oldest_at) VALUES"
            " (gen_random_uuid(), 'one:/spool', now() - interval '1 hour', now() - interval '2 hours'),"
            " (gen_random_uuid(), 'two:/spool', now(), now() - interval '1 minute'),"
            " (gen_random_uuid(), 'three:/spool', now() - interval '1 hour', NULL)"
        ),
    )
    said = page(doctor("--database-url", database_url, "--url", NOBODY))["spools"]
    assert [(state, sentence.split()[2]) for state, sentence in said] == [
        ("problem", "one:/spool"),
        ("warning", "two:/spool"),
    ]


def test_options_that_would_do_nothing_or_point_elsewhere_are_obeyed(database_url: str, tmp_path: Path) -> None:
    result = doctor("--since", "1h")
    assert (result.returncode, result.stdout) == (1, "")
    assert "--since belongs to --account" in result.stderr
    place = tmp_path / "elsewhere"
    said = page(doctor("--database-url", database_url, "--url", NOBODY, "--spool-dir", str(place)))["spool"]
    assert str(place) in said[0][1]

    async def receipts(connection: asyncpg.Connection) -> None:
        await connection.execute(
            "INSERT INTO ingest_receipts (key, signal, received_at, accepted) VALUES"
            " ('a', 'logs', now() - interval '3 hours', 7), ('b', 'logs', now() - interval '1 hour', 0)"
        )

    in_database(database_url, receipts)
    account = ("--account", "--json", "--database-url", database_url, "--url", NOBODY)
    assert len(json.loads(doctor(*account).stdout)["imbalances"]) == 1
    assert json.loads(doctor(*account, "--since", "2h").stdout)["imbalances"] == []
