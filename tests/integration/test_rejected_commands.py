"""`ares-otel rejected …` as a person and as a script use it, on a real database."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from ares_otel.cli.moments import moment
from ares_otel.cli.shown import json_shown
from ares_otel.model.errors import StartError
from ares_otel.model.signal import TRACES
from ares_otel.query.ledger import ledger_imbalances, read_ledger
from tests.support.ares_process import command, environment, run_ares, start_ares
from tests.support.otlp_samples import any_value, log_record, logs_request, metrics_request, trace_request
from tests.support.rejected import insert_rejected

Run = Callable[..., subprocess.CompletedProcess[str]]
T = TypeVar("T")
HOSTILE = "\x1b[2J\x9b31m\u202eevil\nid 1"


@pytest.fixture
def run(database_url: str) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_ares(["rejected", *arguments], env={"ARES_OTEL_DATABASE_URL": database_url})

    return run


def said(result: subprocess.CompletedProcess[str], status: int = 0) -> str:
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


def in_database(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async def whole() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(whole())


def add(url: str, *arguments: Any, **changes: Any) -> int:
    return in_database(url, lambda connection: insert_rejected(connection, *arguments, **changes))


def count(url: str, table: str) -> int:
    number: int = in_database(url, lambda connection: connection.fetchval(f"SELECT count(*) FROM {table}"))
    return number


def test_the_list_is_newest_first_and_everything_that_is_given_holds(run: Run, database_url: str) -> None:
    assert said(run("ls")) == ""
    now = datetime.now(UTC)
    old = add(database_url, service="old", rejected_at=now - timedelta(days=3), sqlstate=None, reason="tried 5 times")
    new = add(database_url, service="new", rejected_at=now)
    span = add(
        database_url, trace_request(spans=2), signal="traces", service="new", rejected_at=now - timedelta(hours=1)
    )
    lines = said(run("ls")).splitlines()
    assert lines[0].split() == ["ID", "WHEN", "SIGNAL", "SERVICE", "ITEMS", "SQLSTATE", "REASON"]
    assert [int(line.split()[0]) for line in lines[1:]] == [new, span, old]
    assert lines[2].split()[3:6] == ["traces", "new", "2"]
    assert lines[3].split()[-4:] == ["-", "tried", "5", "times"]

    def ids(*options: str) -> list[int]:
        return [row["id"] for row in json.loads(said(run("ls", "--json", *options)))]

    assert ids("--service", "new") == [new, span]
    assert ids("--signal", "logs") == [new, old]
    assert ids("--since", "2h") == [new, span]
    assert ids("--since", "2d") == [new, span]
    assert ids("--since", (now - timedelta(minutes=5)).isoformat().replace("+00:00", "Z")) == [new]
    assert ids("--limit", "1") == [new]
    assert "There are older entries" in run("ls", "-n", "2").stderr


def test_text_of_senders_does_not_reach_the_terminal_as_commands(run: Run, database_url: str) -> None:
    request = logs_request(records=[log_record(body=any_value(HOSTILE))])
    row = add(database_url, request, service=HOSTILE, reason=HOSTILE)
    shown = said(run("ls")) + said(run("show", str(row))) + said(run("ls", "--json"))
    assert "\\x1b[2J\\x9b31m\\u202eevil\\nid 1" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert len(said(run("ls")).splitlines()) == 2
    found = json.loads(said(run("show", str(row), "--json")))
    assert found["service_name"] == HOSTILE
    [record] = found["otlp"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record["body"]["stringValue"] == HOSTILE


def test_json_for_a_terminal_is_still_json() -> None:
    value = {"a\x00b": ["\x7f\x9b\u2028\ud7ff", "\U000e0001 ünïcode 日本", 1.5, None]}
    assert json.loads(json_shown(value)) == value
    assert "ünïcode 日本" in json_shown(value)


def test_one_entry_is_shown_whole_and_its_payload_goes_to_a_file(run: Run, database_url: str, tmp_path: Path) -> None:
    request = trace_request(spans=1)
    row = add(database_url, request, signal="traces", key=bytes(range(16)))
    file = tmp_path / "payload.pb"
    text = said(run("show", str(row), "--payload", str(file)))
    assert f"key           {bytes(range(16)).hex()}" in text
    assert f"{request.ByteSize()} bytes, written to {file}" in text
    assert TRACES.request.FromString(file.read_bytes()) == request
    body = json.loads(text[text.index("\n{") :])
    span = body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    sent = request.resource_spans[0].scope_spans[0].spans[0]
    assert (span["traceId"], span["kind"]) == (sent.trace_id.hex(), sent.kind)
    torn = add(database_url, payload=b"\xff\xff", items=1)
    assert "cannot be decoded" in said(run("show", str(torn)))


def test_entries_are_stored_after_all_when_the_reason_is_mended(run: Run, database_url: str) -> None:
    rows = [add(database_url, logs_request(records=2)), add(database_url, metrics_request(), signal="metrics")]
    points = in_database(database_url, lambda connection: connection.fetchval("SELECT max(items) FROM ingest_rejected"))
    in_database(database_url, lambda c: c.execute("ALTER TABLE service_logs ALTER COLUMN event_name SET NOT NULL"))
    result = run("retry", "--all")
    lines = said(result, 1).splitlines()
    assert lines[0].startswith(f"{rows[0]}: refused again: ")
    assert "event_name" in lines[0]
    assert lines[1] == f"Stored 1 entry with {points} items; 1 entry with 2 items were refused again."
    in_database(database_url, lambda c: c.execute("ALTER TABLE service_logs ALTER COLUMN event_name DROP NOT NULL"))
    assert said(run("retry", str(rows[0]))) == (
        "Stored 1 entry with 1 item; 0 entries with 0 items were refused again.\n"
    )
    said(run("retry", "--all"))  # each of the two items had become an entry of its own
    assert (count(database_url, "service_logs"), count(database_url, "service_metrics")) == (2, points)
    result = run("retry", str(rows[0]), "--json")
    assert json.loads(said(result, 1)) == {"stored": {"entries": 0, "items": 0}, "refused": [], "missing": [rows[0]]}
    assert f"There is no entry {rows[0]}" in result.stderr
    said(run("retry", "--all"))


def test_many_entries_are_tried_in_one_go(run: Run, database_url: str) -> None:
    async def fill(connection: asyncpg.Connection) -> None:
        await insert_rejected(connection)
        await connection.execute(
            "INSERT INTO ingest_rejected (received_at, signal, service_name, reason, told, key, payload)"
            " SELECT received_at, signal, service_name, reason, told, decode(md5(n::text), 'hex'), payload"
            " FROM ingest_rejected, generate_series(1, 249) n"
        )

    in_database(database_url, fill)
    assert "Stored 250 entries with 250 items" in said(run("retry", "--all"))
    assert (count(database_url, "service_logs"), count(database_url, "ingest_rejected")) == (250, 0)


def test_entries_are_dropped_by_id_by_age_or_all_and_only_when_that_is_meant(run: Run, database_url: str) -> None:
    now = datetime.now(UTC)
    rows = [add(database_url, logs_request(records=2), rejected_at=now - timedelta(days=days)) for days in (0, 1, 5, 9)]
    result = run("drop", "--all")
    assert result.returncode == 1
    assert "Delete 4 entries with 8 items for good? Nobody is there to answer; add --yes" in result.stderr
    assert said(run("drop", str(rows[0]), "--yes")) == "Dropped 1 entry with 2 items.\n"
    assert said(run("drop", "--older-than", "7d", "-y")) == "Dropped 1 entry with 2 items.\n"
    assert count(database_url, "ingest_rejected") == 2
    assert f"There is no entry {rows[0]}" in run("drop", str(rows[0]), "--yes").stderr
    assert said(run("drop", "--all", "--yes")) == "Dropped 2 entries with 4 items.\n"
    assert said(run("drop", "--all", "--yes")) == "There is nothing to drop.\n"


def test_mistakes_are_one_line_that_names_the_option(run: Run, database_url: str, tmp_path: Path) -> None:
    row = add(database_url)
    for arguments, words in [
        (("ls", "--signal", "spans"), "--signal must be one of traces, logs, metrics"),
        (("ls", "--since", "yesterday"), "--since takes a duration such as 90m"),
        (("retry",), "one id or more, or --all"),
        (("retry", "1", "--all"), "one id or more, or --all"),
        (("drop", "--all", "--older-than", "1h"), "--all, or --older-than"),
        (("drop", "--older-than", "1"), "--older-than takes a duration"),
        (("show", "999999"), "There is no entry 999999"),
        (("show", str(row), "--payload", str(tmp_path)), f"{tmp_path} cannot be written: Is a directory"),
    ]:
        result = run(*arguments)
        assert result.returncode == 1, arguments
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
    assert count(database_url, "ingest_rejected") == 1


def test_a_moment_is_a_duration_ago_or_a_time() -> None:
    now = datetime.now(UTC)
    for text, ago in [("90m", timedelta(minutes=90)), ("1h30m", timedelta(minutes=90)), ("30d", timedelta(days=30))]:
        assert abs(now - ago - moment(text, "--since")) < timedelta(minutes=1)
    assert moment("2026-01-31T13:00:00+01:00", "--since") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    with pytest.raises(StartError, match="--since takes"):
        moment("2026-01-31", "--since")


def test_a_reader_that_has_seen_enough_is_no_error(database_url: str) -> None:
    add(database_url)
    line = f"{' '.join(command('rejected', 'ls'))} | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", line], env=environment({"ARES_OTEL_DATABASE_URL": database_url}), capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_retry_that_is_killed_again_and_again_stores_each_entry_once(run: Run, database_url: str) -> None:
    entries = 400

    async def fill(connection: asyncpg.Connection) -> None:
        for number in range(entries):
            request = logs_request(records=[log_record(body=any_value(f"entry {number}"))])
            await insert_rejected(connection, request)

    async def kill_after(connection: asyncpg.Connection, stored: int) -> bool:
        process = start_ares(["rejected", "retry", "--all"], env={"ARES_OTEL_DATABASE_URL": database_url})
        ended = asyncio.create_task(asyncio.to_thread(process.wait))
        while not ended.done() and await connection.fetchval("SELECT count(*) FROM service_logs") <= stored:
            pass
        if not ended.done():
            process.kill()
        return await ended == -signal.SIGKILL

    in_database(database_url, fill)
    killed = [in_database(database_url, partial(kill_after, stored=entries * share // 5)) for share in range(4)]
    assert killed[0]
    while run("retry", "--all").returncode:
        pass  # a killed process's server process may hold a request for a moment
    assert (count(database_url, "service_logs"), count(database_url, "ingest_rejected")) == (entries, 0)
    assert (
        in_database(database_url, lambda c: c.fetchval("SELECT count(DISTINCT message) FROM service_logs")) == entries
    )
    account = in_database(database_url, read_ledger)
    assert ledger_imbalances(account) == []
