"""`ares-otel trace` and `ares-otel traces` as somebody on call uses them, on a real Ares."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.ares_process import AresProcess, command, environment, run_ares
from tests.support.otlp_samples import any_value, log_record, pairs, resource, scope

Run = Callable[..., subprocess.CompletedProcess[str]]
MS = 1_000_000
HOUR = 3_600_000 * MS
PREFIX = secrets.token_bytes(4)
NAMED = "pay-" + uuid4().hex[:8]
"""A service of this run: nothing else is under its name."""


@dataclass(frozen=True)
class Stored:
    failed: str
    """The trace of a checkout that failed."""
    fine: str
    old: str
    short: str
    """Of 64 bits."""


@pytest.fixture
def run(ares: AresProcess) -> Run:
    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run_ares(arguments, env={"ARES_OTEL_DATABASE_URL": ares.database, "COLUMNS": "100", **env})

    return run


@pytest.fixture(scope="module")
def stored(ares: AresProcess) -> Stored:
    begin = time.time_ns() - 60_000 * MS
    ids = [PREFIX + secrets.token_bytes(12), PREFIX + secrets.token_bytes(12), secrets.token_bytes(16)]
    short = bytes(8) + secrets.token_bytes(8)
    request = ExportTraceServiceRequest()
    attributes = {
        "http.response.status_code": 500,
        "http.route": "/pay",
        "share": 0.5,
        "blob": b"\0\1",
        "nan": float("nan"),
    }
    failed = {
        "status": Status(code=Status.STATUS_CODE_ERROR, message="bank is\x1b[31m away"),
        "attributes": pairs(attributes),
    }
    for id, start, length, more in (
        (ids[0], begin, 1_500, failed),
        (ids[1], begin - 1_000 * MS, 200, {"attributes": pairs({"http.response.status_code": 200})}),
        (ids[2], begin - 5 * HOUR, 200, {}),
        (short, begin - 2_000 * MS, 20, {}),
    ):
        root = request.resource_spans.add(resource=resource(NAMED)).scope_spans.add(scope=scope())
        child = request.resource_spans.add(resource=resource(f"{NAMED}-db")).scope_spans.add()
        root.spans.append(_span(id, b"\1" * 8, "POST /pay" if id == ids[0] else "GET /pay", start, length, **more))
        child.spans.append(_span(id, b"\2" * 8, "SELECT", start + 5 * MS, length - 10, parent_span_id=b"\1" * 8))
    logs = ExportLogsServiceRequest()
    records = logs.resource_logs.add(resource=resource(NAMED)).scope_logs.add()
    records.log_records.append(
        log_record(
            trace_id=ids[0], span_id=b"\1" * 8, time_unix_nano=begin + 700 * MS, severity_number=17,
            body=any_value("card \x1b[2Jdeclined"),
        )
    )  # fmt: skip
    with httpx.Client(trust_env=False) as client:
        for path, message in (("traces", request), ("logs", logs)):
            headers = {"Content-Type": "application/x-protobuf"}
            answer = client.post(f"{ares.otlp_http}/v1/{path}", content=message.SerializeToString(), headers=headers)
            assert answer.status_code == 200, answer.text
    return Stored(ids[0].hex(), ids[1].hex(), ids[2].hex(), short.hex())


def _span(trace_id: bytes, span_id: bytes, name: str, start: int, length: int, **more: Any) -> Span:
    end = start + length * MS
    return Span(
        trace_id=trace_id, span_id=span_id, name=name, start_time_unix_nano=start, end_time_unix_nano=end, **more
    )


def said(result: subprocess.CompletedProcess[str], status: int = 0) -> str:
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


def listed(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The ids that `traces --json` found."""
    assert result.returncode == (0 if result.stdout else 1), result.stderr
    return [json.loads(line)["trace_id"] for line in result.stdout.splitlines()]


def test_a_trace_is_drawn_with_its_error_and_its_log_record(run: Run, stored: Stored) -> None:
    lines = said(run("trace", stored.failed)).splitlines()
    assert lines[0] == f"trace {stored.failed}"
    assert "2 spans · 1 error" in lines[2]
    [root] = [line for line in lines if line.startswith("!●") and "POST /pay" in line]
    assert "1.50 s" in root
    assert any("error: bank is\\x1b[31m away" in line for line in lines)
    assert any("+700 ms ERROR card \\x1b[2Jdeclined" in line for line in lines)
    assert any(" ●" in line and "SELECT" in line and "█" in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_logs_and_attributes_are_shown_as_asked(run: Run, stored: Stored) -> None:
    assert "declined" not in said(run("trace", stored.failed, "--no-logs"))
    assert "http.route = /pay" not in said(run("trace", stored.failed))
    assert "http.route = /pay" in said(run("trace", stored.failed, "--attributes"))


@pytest.mark.parametrize(
    ("arguments", "env", "coloured"),
    [
        ((), {"FORCE_COLOR": "1", "TERM": "xterm-256color"}, True),
        (("--no-color",), {"FORCE_COLOR": "1", "TERM": "xterm-256color"}, False),
        ((), {"FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ((), {}, False),
    ],
)
def test_colours_are_where_they_are_wanted(
    run: Run, stored: Stored, arguments: tuple[str, ...], env: dict[str, str], coloured: bool
) -> None:
    assert ("\x1b[" in said(run("trace", stored.failed, *arguments, **env))) is coloured
    if env:
        assert ("\x1b[" in said(run("traces", "--service", NAMED, *arguments, **env))) is coloured


def test_a_terminal_without_unicode_gets_ascii(ares: AresProcess, stored: Stored) -> None:
    env = {"ARES_OTEL_DATABASE_URL": ares.database, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    done = subprocess.run(command("trace", stored.failed), env=environment(env), capture_output=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert b"!*" in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(ares: AresProcess, stored: Stored) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = environment({"ARES_OTEL_DATABASE_URL": ares.database})
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            command("trace", stored.failed), env=env, stdout=stdout, stderr=subprocess.PIPE, timeout=60
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_beginning_of_an_id_is_enough_where_it_is_of_one_trace(run: Run, stored: Stored) -> None:
    for text in (stored.failed[:12], stored.failed[:12].upper(), f"{stored.failed[:8]}-{stored.failed[8:12]}"):
        assert stored.failed in said(run("trace", text))
    several = run("trace", PREFIX.hex())
    assert said(several, 2) == ""
    assert "More than one trace" in several.stderr
    assert stored.failed in several.stderr
    assert "first 8 or more" in run("trace", PREFIX.hex()[:7]).stderr
    none = run("trace", "00000000000000ff0")
    assert said(none, 1) == ""
    assert "No trace with spans begins" in none.stderr


def test_an_id_of_64_bits_is_found_with_and_without_its_zeros(run: Run, stored: Stored) -> None:
    for text in (stored.short, stored.short[16:], stored.short[15:]):
        assert stored.short in said(run("trace", text))


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("trace", "f" * 32), 1, "There is no trace"),
        (("trace", "f" * 32, "--json"), 1, "There are no spans of trace"),
        (("trace", "nonsense"), 2, "ID must be a trace id in hex"),
        (("trace",), 2, "Missing argument"),
        (("trace", "f" * 32, "--from", "soon"), 2, "--from takes a duration"),
        (("traces", "--service", "nobody"), 1, "No trace is like that."),
        (("traces", "--attr", "="), 2, "--attr must be KEY=VALUE"),
        (("traces", "--attr", "route=~("), 2, "regular expression"),
        (("traces", "--min-duration", "5"), 2, "--min-duration: '5' is not a duration"),
        (("traces", "--limit", "0"), 2, "--limit"),
        (("traces", "--to", "2h"), 2, "--to must be later than --from"),
        (("traces", *["--attr", "a=b"] * 11), 2, "--attr may be given 10 times"),
    ],
)
def test_the_status_says_whether_something_was_found(
    run: Run, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    done = run(*arguments)
    assert said(done, status) == ""
    assert sentence in " ".join(done.stderr.split())


def test_a_database_that_is_not_there_or_empty_is_told(run: Run, postgres_server: str) -> None:
    away = run("trace", "f" * 32, ARES_OTEL_DATABASE_URL="postgresql://ares@127.0.0.1:1/ares")
    assert said(away, 2) == ""
    empty = run("traces", ARES_OTEL_DATABASE_URL=postgres_server)
    assert said(empty, 2) == ""
    assert "run `ares-otel migrate`" in empty.stderr


def test_json_is_otlp_that_ares_takes_again(run: Run, stored: Stored, ares: AresProcess) -> None:
    """Posted under another id it comes out as it went in: attributes of every type, times, ids, resources, scopes."""
    text = said(run("trace", stored.failed, "--json"))
    document = json.loads(text)
    assert {span["traceId"] for span in _spans(document)} == {stored.failed}
    other, elsewhere = secrets.token_hex(16), "again-" + uuid4().hex
    with httpx.Client(trust_env=False) as client:
        headers = {"Content-Type": "application/json"}
        content = text.replace(stored.failed, other).replace(NAMED, elsewhere)
        answer = client.post(f"{ares.otlp_http}/v1/traces", content=content, headers=headers)
    assert answer.status_code == 200
    assert answer.json().get("partialSuccess") is None
    again = json.loads(said(run("trace", other, "--json")).replace(other, stored.failed).replace(elsewhere, NAMED))
    assert again == document


def test_json_of_a_trace_in_several_chunks_is_one_document(run: Run, ares: AresProcess) -> None:
    trace_id = secrets.token_bytes(16)
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add(resource=resource("batch")).scope_spans.add(scope=scope()).spans
    for number in range(2_500):
        spans.append(_span(trace_id, (number + 1).to_bytes(8, "big"), "item", time.time_ns() - 60_000 * MS, 1))
    with httpx.Client(trust_env=False) as client:
        headers = {"Content-Type": "application/x-protobuf"}
        client.post(f"{ares.otlp_http}/v1/traces", content=request.SerializeToString(), headers=headers)
    document = json.loads(said(run("trace", trace_id.hex(), "--json")))
    assert len({span["spanId"] for span in _spans(document)}) == 2_500
    assert "2,498 more item" in said(run("trace", trace_id.hex()))


def _spans(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        span
        for resource_spans in document["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    ]


SEARCHES: dict[str, tuple[list[str], list[str]]] = {
    "an hour back unless it is said": ([], ["failed", "fine", "short"]),
    "--since": (["--since", "6h"], ["failed", "fine", "short", "old"]),
    "--from and --to": (["--from", "6h", "--to", "1h"], ["old"]),
    "--limit": (["--limit", "1"], ["failed"]),
    "--operation": (["--operation", "POST /pay"], ["failed"]),
    "--min-duration": (["--min-duration", "1s"], ["failed"]),
    "--max-duration": (["--max-duration", "100ms"], ["short"]),
    "--error": (["--error"], ["failed"]),
    "a number": (["--attr", "http.response.status_code=500"], ["failed"]),
    "several of no one span": (["--attr", "http.response.status_code=500", "--attr", "http.route=/x"], []),
    "greater or equal": (["--attr", "http.response.status_code>=500"], ["failed"]),
    "less": (["--attr", "http.response.status_code<500"], ["fine"]),
    "not equal is there and another": (["--attr", "http.response.status_code!=500"], ["fine"]),
    "a pattern": (["--attr", "http.route=~^/p.y$"], ["failed"]),
    "a key": (["--attr", "http.route"], ["failed"]),
    "a form with all others": (
        ["--attr", "http.route", "--error", "--operation", "POST /pay", "--min-duration", "1s", "--max-duration", "2s"],
        ["failed"],
    ),
    "a form with a duration that is too long": (["--attr", "http.route", "--min-duration", "2s"], []),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_traces_are_those_that_were_asked_for(run: Run, stored: Stored, case: str) -> None:
    options, expected = SEARCHES[case]
    found = listed(run("traces", "--service", NAMED, "--json", *options))
    assert found == [getattr(stored, name) for name in expected]


def test_a_table_has_the_whole_id_and_says_what_there_is(run: Run, stored: Stored) -> None:
    done = run("traces", "--service", NAMED, COLUMNS="140")
    head, first, *_ = said(done).splitlines()
    assert head.split() == ["TIME", "(UTC)", "TRACE", "DURATION", "SPANS", "ERRORS", "ROOT"]
    assert first.split()[2:] == [stored.failed, "1.50", "s", "2", "1", NAMED, "POST", "/pay", "(with", f"{NAMED}-db)"]
    assert done.stderr == "3 traces.\n"
    narrow = said(run("traces", "--service", NAMED, COLUMNS="80")).splitlines()
    assert max(map(len, narrow)) <= 80
    assert stored.failed in narrow[1]
    assert f"{NAMED} POST /pay" in narrow[2]
    assert "--limit shows more" in run("traces", "--service", NAMED, "--limit", "3").stderr


def test_a_line_of_json_says_all_that_the_table_says(run: Run, stored: Stored) -> None:
    [line] = said(run("traces", "--service", NAMED, "--error", "--json")).splitlines()
    summary = json.loads(line)
    assert summary["trace_id"] == stored.failed
    assert (summary["root_service"], summary["root_operation"]) == (NAMED, "POST /pay")
    assert (summary["span_count"], summary["error_span_count"], summary["orphan_span_count"]) == (2, 1, 0)
    assert summary["duration_ms"] == 1500
    assert [service["name"] for service in summary["services"]] == [NAMED, f"{NAMED}-db"]
