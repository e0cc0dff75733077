"""What the doctor makes of what it sees."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ares_otel.cli import doctor_account
from ares_otel.cli.doctor import Finding, State, check_server, lines, ok, problem, warning
from ares_otel.cli.doctor_database import window_findings
from ares_otel.cli.doctor_disk import LEAST_BYTES, amount, check_disk, check_spool, check_spools, room
from ares_otel.cli.doctor_process import check_process, metric_findings, readiness
from ares_otel.model.signal import LOGS
from ares_otel.storage.database import ServerFacts
from ares_otel.storage.partitions import to_ns
from ares_otel.storage.rows.encoded import Window
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import Spool
from tests.support.otlp_samples import logs_request
from tests.support.spool import a_record

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
GIB = 1024**3


def windows(*hours: tuple[float, float]) -> dict[str, Window]:
    """A window for each pair of hours from now."""
    return {
        f"table_{n}": Window(to_ns(NOW + timedelta(hours=start)), to_ns(NOW + timedelta(hours=end)))
        for n, (start, end) in enumerate(hours)
    }


def states(findings: list[Finding]) -> list[str]:
    return [finding.state.value for finding in findings]


def test_a_line_says_state_name_and_sentence_and_nothing_of_it_steers_the_terminal() -> None:
    findings = [ok("a", "Well."), warning("b", "Look."), problem("c", "Do\x1b[2J\nsomething.")]
    assert lines(findings) == [
        "ok      a: Well.",
        "warning b: Look.",
        "problem c: Do\\x1b[2J\\nsomething.",
    ]


def test_settings_that_break_the_promise_are_a_problem_and_a_pooler_is_not() -> None:
    facts = ServerFacts(180006, "18.6", is_embedded=True, pooled=False, warnings=())
    assert states(check_server(facts)) == ["ok", "ok"]
    facts = ServerFacts(180006, "18.6", is_embedded=False, pooled=True, warnings=("fsync=off is bad.", "A pooler."))
    findings = check_server(facts)
    assert [(finding.state, finding.name) for finding in findings] == [
        (State.OK, "database"),
        (State.PROBLEM, "durability"),
        (State.WARNING, "pooler"),
    ]
    assert findings[1].sentence == "fsync=off is bad."


def test_partitions_have_to_be_there_for_now_and_for_a_day_ahead() -> None:
    [finding] = window_findings(windows((-48, 60), (-24, 84)), NOW)
    assert finding.state is State.OK
    assert "from 2026-01-30 12:00 UTC to 2026-02-03 00:00 UTC" in finding.sentence
    [finding] = window_findings(windows((-48, 60), (-48, 23)), NOW)
    assert finding.state is State.WARNING
    [finding] = window_findings(windows((-48, 60), (-48, 0)), NOW)
    assert finding.state is State.PROBLEM
    assert finding.sentence.startswith("table_1 has no partition for now")


def test_short_partitions_need_not_reach_a_day_ahead() -> None:
    least = {f"table_{n}": timedelta(hours=2) for n in range(2)}
    for hours, state in ((4, State.OK), (1, State.WARNING)):
        [finding] = window_findings(windows((-48, 4), (-48, hours)), NOW, least)
        assert finding.state is state


def test_a_disk_is_judged_by_part_and_by_bytes() -> None:
    place = Path("/data")
    assert room(place, 50 * GIB, 100 * GIB).state is State.OK
    assert room(place, 5 * GIB, 100 * GIB).state is State.WARNING
    assert room(place, 2 * GIB, 100 * GIB).state is State.PROBLEM
    assert room(place, LEAST_BYTES - 1, 1 * GIB).state is State.PROBLEM
    assert amount(1536) == "1.5 KiB"
    assert amount(12) == "12 bytes"
    assert amount(3 * 1024**4) == "3.0 TiB"


def test_a_disk_is_looked_at_once_also_before_its_directories_exist(tmp_path: Path) -> None:
    assert len(check_disk(tmp_path / "not" / "yet", tmp_path)) == 1


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """A spool in which one request waits."""
    spool = Spool(tmp_path / "spool", limit_bytes=64 * 1024 * 1024)
    spool.open()
    request = logs_request(records=1)
    record = SpoolRecord(
        os.urandom(16), LOGS, 0, to_ns(NOW), "otlp", "http", "otlp", 1, 0, "", request.SerializeToString()
    )
    assert asyncio.run(spool.append(record))
    yield spool
    spool.close()


def test_a_spool_is_a_problem_when_something_waits_and_nobody_owns_it(spool: Spool, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    [finding] = check_spool(directory)
    assert finding.state is State.WARNING
    assert f"process {os.getpid()}" in finding.sentence
    assert "1 segments" in finding.sentence
    spool.close()
    holder = json.loads((directory / "lock").read_text())
    (directory / "lock").write_text(json.dumps({**holder, "pid": 2**22 + 1}))  # more than there can be
    [finding] = check_spool(directory)
    assert finding.state is State.PROBLEM
    assert "no process" in finding.sentence
    assert "start the Ares that it belongs to, or run `ares-otel spool replay`" in finding.sentence


def test_an_empty_spool_and_none_are_well_and_a_quarantine_is_not(tmp_path: Path) -> None:
    assert states(check_spool(tmp_path / "none")) == ["ok"]
    empty = Spool(tmp_path / "spool", limit_bytes=64 * 1024 * 1024)
    empty.open()
    empty.close()
    assert states(check_spool(tmp_path / "spool")) == ["ok"]
    aside = tmp_path / "spool" / "quarantine"
    aside.mkdir(exist_ok=True)
    (aside / "logs-0000000000000001.seg").write_bytes(b"?")
    findings = check_spool(tmp_path / "spool")
    assert states(findings) == ["ok", "problem"]
    assert str(aside) in findings[1].sentence


@pytest.mark.as_user
def test_a_spool_of_somebody_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "spool" / "logs").mkdir(parents=True)
    (tmp_path / "spool" / "logs").chmod(0)
    [finding] = check_spool(tmp_path / "spool")
    assert finding.state is State.PROBLEM
    assert "run this as the user who runs Ares" in finding.sentence


def test_readiness_is_what_the_process_says_and_others_are_no_ares() -> None:
    url = "http://127.0.0.1:8080"
    assert readiness(url, 200, b'{"status":"ready"}').state is State.OK
    body = b'{"type":"urn:ares-otel:problem:not-ready","detail":"The database does not answer."}'
    finding = readiness(url, 503, body)
    assert finding.state is State.PROBLEM
    assert finding.sentence.endswith("is not ready: The database does not answer.")
    for status, other in [(200, b"<html>"), (200, b"[]"), (404, b"{}"), (503, b'{"type":"x"}'), (503, b"7")]:
        assert "is no Ares; name its address with --url" in readiness(url, status, other).sentence


async def test_a_process_that_does_not_answer_is_a_problem() -> None:
    for url in ("http://127.0.0.1:1", "no address"):
        [finding] = await check_process(url)
        assert finding.state is State.PROBLEM
        assert "start Ares with `ares-otel up`, or name its address with --url" in finding.sentence


def test_metrics_are_only_shown_where_they_ask_for_attention() -> None:
    assert states(metric_findings("ares_otel_bus_healthy 1.0\n")) == ["ok"]
    text = (
        "ares_otel_admission_limit_bytes 100.0\nares_otel_admission_used_bytes 95.0\nares_otel_bus_healthy 0.0\n"
        'ares_otel_partition_errors_total 2.0\nares_otel_spool_waiting_items{signal="logs"} 7.0\n'
        'ares_otel_spool_items_total{signal="logs",outcome="lost"} 3.0\n'
    )
    found = {finding.sentence.partition(" ")[0]: finding.state for finding in metric_findings(text)}
    assert found == {
        "95%": State.WARNING,
        "7": State.WARNING,
        "3": State.PROBLEM,
        "The": State.WARNING,
    }
    assert states(metric_findings("<html>{")) == ["warning"]


async def test_an_equation_that_held_once_is_balanced_and_one_that_never_did_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three readings under load: one door is open now and then, the other one always."""

    def reading(grpc: int, http: int) -> str:
        return "".join(
            f'ares_otel_account_items_total{{signal="logs",receiver="otlp",transport="{transport}",'
            f'outcome="{outcome}"}} {amount}\n'
            for transport, opened in (("grpc", grpc), ("http", http))
            for outcome, amount in (("received", 10 + opened), ("stored", 10))
        )

    readings = [reading(3, 2), reading(0, 1), reading(5, 4), reading(0, 0)]

    async def fetch(client: object, url: str) -> str:
        return readings.pop(0)

    monkeypatch.setattr(doctor_account, "fetch_metrics", fetch)
    _, wrong = await doctor_account.settled_account("url", reads=3, pause=0.0)
    assert wrong == ["logs of otlp over http: 4 received items have no outcome: under way, or lost."]
    readings.insert(0, reading(1, 1))
    _, wrong = await doctor_account.settled_account("url", reads=3, pause=0.0)
    assert wrong == []
    assert readings == []


def test_workers_are_shown_where_there_are_some() -> None:
    def text(ready: int, restarts: int = 0) -> str:
        return (
            f'ares_otel_workers{{state="wanted"}} 2.0\nares_otel_workers{{state="ready"}} {ready}.0\n'
            f"ares_otel_worker_restarts_total {restarts}.0\n"
        )

    assert states(metric_findings(text(2))) == ["ok", "ok"]
    assert metric_findings(text(2))[1].sentence == "All 2 are ready."
    assert states(metric_findings(text(2, 3))) == ["ok", "warning"]
    assert "3 times one ended" in metric_findings(text(2, 3))[1].sentence
    assert states(metric_findings(text(1, 3))) == ["ok", "problem"]


def test_spools_of_workers_are_looked_at_and_the_empty_ones_left_out(tmp_path: Path) -> None:
    for name in ("spool", "spool/worker-1", "spool/worker-3"):
        spool = Spool(tmp_path / name, limit_bytes=64 * 1024 * 1024)
        spool.open()
        if name.endswith("3"):
            asyncio.run(spool.append(a_record(1)))
        spool.close()
    findings = check_spools(tmp_path / "spool")
    assert states(findings)[0] == "ok"
    assert len(findings) == 2
    assert str(tmp_path / "spool" / "worker-3") in findings[1].sentence
