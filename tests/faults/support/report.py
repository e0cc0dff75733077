"""The table of a run: what every case sent, was promised and found again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.support.oracle import Totals

PROPERTY = "fault_case"
PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
COMMAND = "make test-faults FAULTS=--write-fault-table"
_HEAD = ["case", "items sent", "acknowledged", "stored", "doubled", "lost"]
_NUMBERS = ("sent", "acknowledged", "stored", "doubled", "lost")


def case_name(test: str) -> str:
    """The sentence that a test's name is: `test_f6_a_cut[spool on]` → `F6: a cut (spool on)`."""
    name, _, variant = test.removeprefix("test_").partition("[")
    number = re.match(r"(f\d+)_", name)
    sentence = name.removeprefix(number[0] if number else "").replace("_", " ")
    sentence = re.sub(r"\b(ares|commit|postgresql|wal|sigkill|sigterm|sdk|http|grpc)\b", _proper, sentence)
    shown = f"{number[1].upper()}: {sentence}" if number else sentence[:1].upper() + sentence[1:]
    return f"{shown} ({variant.rstrip(']')})" if variant else shown


def note(item: pytest.Item, totals: Totals) -> None:
    """Notes the outcome of a case with its test; it travels to the process that prints the table."""
    item.user_properties.append((PROPERTY, json.dumps(asdict(totals))))


def table(reports: Iterable[pytest.TestReport]) -> list[str]:
    """The lines of the table, in Markdown, sorted by the number of the case."""
    rows: dict[str, Totals] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == PROPERTY:
                rows[case_name(report.nodeid.rpartition("::")[2])] = Totals(**json.loads(str(value)))
    cells = [_HEAD]
    for name, totals in sorted(rows.items(), key=_order):
        cells.append([name, *(f"{getattr(totals, number):,}" for number in _NUMBERS)])
    total = [
        sum(getattr(row, name) for row in rows.values())
        for name in ("sent", "acknowledged", "stored", "doubled", "lost")
    ]
    cells.append(["**all**", *(f"{number:,}" for number in total)])
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "| --- |" + " ---: |" * (len(_HEAD) - 1), *lines[1:]] if rows else []


def write(lines: list[str], page: Path = PAGE) -> None:
    """Puts the table between its marks in the page."""
    before, found, rest = page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    assert found, f"{page} lacks the mark {BEGIN}"
    assert ended, f"{page} lacks the mark {END}"
    page.write_text("\n".join([before + BEGIN, "", f"Printed by `{COMMAND}`.", "", *lines, "", END + after]))


def _order(row: tuple[str, Totals]) -> tuple[int, str]:
    number = re.match(r"F(\d+)", row[0])
    return int(number[1]) if number else 99, row[0]


def _proper(match: re.Match[str]) -> str:
    return {"ares": "Ares", "postgresql": "PostgreSQL", "grpc": "gRPC"}.get(match[0], match[0].upper())
