"""The accounting equation over metrics text."""

from __future__ import annotations

import pytest
from prometheus_client.exposition import generate_latest

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import LOGS
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.query.account import Door, imbalances, read_account


class Process:
    """The counters of a process, as it shows them."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.spool: dict[str, int] = {}
        self.waiting = 0

    @property
    def text(self) -> str:
        lines = [
            f'ares_otel_spool_items_total{{signal="logs",outcome="{outcome}"}} {amount}.0'
            for outcome, amount in self.spool.items()
        ]
        if self.waiting:
            lines.append(f'ares_otel_spool_waiting_items{{signal="logs"}} {self.waiting}.0')
        return generate_latest(self.telemetry.registry).decode() + "".join(f"{line}\n" for line in lines)

    @property
    def wrong(self) -> list[str]:
        return imbalances(read_account(self.text))


@pytest.fixture
def process() -> Process:
    return Process()


def test_a_process_that_received_nothing_is_balanced(process: Process) -> None:
    assert process.wrong == []
    assert read_account(process.text).doors == {}


def test_every_outcome_counts(process: Process) -> None:
    account = process.telemetry.account
    account(LOGS, "otlp", "grpc", received=21)
    answer = Accepted(1, deduplicated=2, rejected=3, dropped=4, spooled=5)
    process.telemetry.account_answer(LOGS, "otlp", "grpc", answer)
    assert process.wrong[0] == "logs of otlp over grpc: 6 received items have no outcome: under way, or lost."
    account(LOGS, "otlp", "grpc", refused=6)
    process.waiting, process.spool = 5, {"spooled": 5}
    assert process.wrong == []
    assert read_account(process.text).doors[Door("logs", "otlp", "grpc")]["refused"] == 6


def test_receivers_are_not_set_off_against_each_other(process: Process) -> None:
    account = process.telemetry.account
    account(LOGS, "otlp", "http", received=2, stored=1)
    account(LOGS, "otlp", "grpc", received=1, stored=2)
    assert process.wrong == [
        "logs of otlp over grpc: 1 more outcomes than received items: something was counted twice.",
        "logs of otlp over http: 1 received item has no outcome: under way, or lost.",
    ]


def test_what_went_into_the_spool_came_out_or_waits(process: Process) -> None:
    process.spool = {"spooled": 5, "found": 10, "stored": 5, "deduplicated": 3, "rejected": 2, "lost": 1}
    assert process.wrong == [
        "logs in the spool: 4 items have neither an outcome nor a place: lost, or under way.",
    ]
    process.waiting = 4
    assert process.wrong == []
    process.waiting = 6
    assert process.wrong == ["logs in the spool: 2 more came out or wait than went in: something was counted twice."]


def test_what_went_into_the_spool_after_its_sender_had_left_counts(process: Process) -> None:
    process.telemetry.account(LOGS, "otlp", "grpc", received=4, refused=4)
    process.spool = {"spooled": 4, "stored": 4}
    assert process.wrong == []


def test_an_outcome_that_nobody_knows_is_said() -> None:
    text = (
        'ares_otel_account_items_total{signal="logs",receiver="otlp",transport="http",outcome="received"} 1.0\n'
        'ares_otel_account_items_total{signal="logs",receiver="otlp",transport="http",outcome="eaten"} 1.0\n'
    )
    assert imbalances(read_account(text))[-1].startswith("logs of otlp over http: the outcome eaten is not known")


def test_what_is_no_metrics_text_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_account("<html>{</html>")
