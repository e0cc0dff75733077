"""Every benchmark runs, at a tiny size, on one Ares, and prints its ratio."""

from __future__ import annotations

import json

import pytest

from ares_otel.cli.bench.doors import WAYS, measure_doors
from ares_otel.cli.bench.fill import fill, prepare_partitions
from ares_otel.cli.bench.ingest import Load, bench_of, report_ingest, run_rounds
from ares_otel.cli.bench.latency import measure_latency
from ares_otel.cli.bench.process import Running
from ares_otel.cli.bench.process_costs import measure_idle
from ares_otel.cli.bench.query import ask_all, report_answers
from ares_otel.cli.bench.questions import QUESTIONS
from ares_otel.cli.bench.report import Report
from ares_otel.cli.bench.sdk import measure_away, measure_sdk
from ares_otel.cli.bench.storage import measure_storage
from ares_otel.model.signal import LOGS, METRICS, TRACES
from tests.support.ares_process import AresProcess, run_ares
from tests.support.postgres import copied_database


@pytest.fixture
def running(ares: AresProcess) -> Running:
    return Running(ares.doors, ares.pid)


@pytest.fixture
def report() -> Report:
    return Report("ares-otel bench", "a machine")


def ratios(report: Report) -> dict[str, float]:
    return {row.what: row.ratio for row in report.rows if row.ratio is not None}


async def test_ingest_of_every_signal_against_the_floor_and_latency(running: Running, report: Report) -> None:
    async with bench_of(running) as bench:
        for signal, protocol in ((TRACES, "grpc"), (LOGS, "http"), (METRICS, "grpc")):
            load = Load(signal, 1, 1, protocol)
            report_ingest(report, load, await run_rounds(bench, load, 1), 1, "python")
        await measure_latency(report, bench, protocol="grpc", requests=1, seconds=0.1)
    found = ratios(report)
    for signal in (TRACES, LOGS, METRICS):
        assert found[next(what for what in found if what.startswith(f"ingest of {signal.items} ÷ floor"))] > 0
    assert sum(what.startswith("processor time of senders and Ares ÷ PostgreSQL's") for what in found) <= 3
    assert sum("processor seconds per million" in row.what for row in report.rows) == 3
    assert found["p99 ÷ p50 of the answer at half load"] >= 1


async def test_every_question_is_asked_of_the_database_and_over_the_api(running: Running, report: Report) -> None:
    await prepare_partitions(running.database, 24)
    filled = await fill(running, 1024, 24, exports=1, wait=False)
    assert filled.spans == 1024
    assert filled.logs > 100
    assert filled.services >= 40
    answers = await ask_all(running, most=5)
    paths = {question.name: question.path for question in QUESTIONS}
    report_answers(report, 1024, answers, answers, 1024)
    assert all(answers[question.name].sql for question in QUESTIONS)
    assert all(times.api or times.without_api for name, times in answers.items() if paths[name])
    assert not any(answers[name].without_api for name in ("trace by id", "logs by service", "duration search"))
    found = ratios(report)
    assert sum(what.startswith("growth of") for what in found) == len(QUESTIONS)
    assert any(what.startswith("API ÷") for what in found)
    await measure_doors(report, running, 1024, 24, most=4)
    doors = {what: ratio for what, ratio in ratios(report).items() if what.startswith("door ÷ SQL")}
    assert len(doors) == len(WAYS)
    assert min(doors.values()) > 0


async def test_storage_says_where_the_bytes_are(running: Running, report: Report) -> None:
    await measure_storage(report, running, 512, exports=1)
    assert any("gin (attributes" in row.figure for row in report.rows if "a span, sealed" in row.what)
    assert all(ratio > 0 for ratio in ratios(report).values())
    assert len(ratios(report)) == 2


async def test_idle_and_the_cost_of_a_call(running: Running, report: Report) -> None:
    await measure_idle(report, running, settle=0, seconds=0.2)
    await measure_sdk(report, running, calls=20, rounds=1)
    await measure_away(report, requests=2, rounds=1)
    assert "processor seconds of an idle Ares ÷ seconds" in ratios(report)
    assert ratios(report)["time of a call with the stock OTLP exporter ÷ without exporter"] > 0
    assert ratios(report)["processor time of a request, direct ÷ stock OTLP/gRPC"] > 0
    assert sum(what.startswith("p50: Ares's exporter") for what in ratios(report)) == 2


def test_the_command_prints_its_ratio_and_writes_json(postgres_server: str) -> None:
    with copied_database(postgres_server) as url:
        done = run_ares(["bench", "start", "--rounds", "1", "--json", "-", "--database-url", url])
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
    content = json.loads(done.stdout[done.stdout.index("{") :])
    assert content["command"].startswith("ares-otel bench start --rounds 1")
    assert "--json" not in content["command"]
    assert [row["goal"] for row in content["rows"]] == ["", "≤ 5 s", ""]
    assert [bool(row["ratio"]) for row in content["rows"]] == [False, False, True]
