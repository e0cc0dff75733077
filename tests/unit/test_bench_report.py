"""Where the figures of a benchmark go."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ares_otel.cli.bench.implementation import Implementation, chosen, chosen_one
from ares_otel.cli.bench.report import BEGIN, END, Report, Row
from ares_otel.model.errors import StartError


def report(command: str, figure: str) -> Report:
    return Report(command, "a machine", [Row("speed", figure), Row("speed ÷ floor", "ratio 0.50", 0.5, "≥ 0.4")])


def test_write_replaces_the_rows_of_the_same_command_and_keeps_the_others(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n\n{BEGIN}\n{END}\n\nAfter.\n")
    for command, figure in (("ares-otel bench a", "1/s"), ("ares-otel bench b", "2/s"), ("ares-otel bench a", "3/s")):
        report(command, figure).finish(None, True, readme)
    text = readme.read_text()
    assert text.startswith("Before.\n\n")
    assert text.endswith("\n\nAfter.\n")
    assert "| 1/s |" not in text
    assert text.index("| `ares-otel bench b` | speed | 2/s |") < text.index("| `ares-otel bench a` | speed | 3/s |")
    assert text.count("| `ares-otel bench a` | speed ÷ floor | **0.50** | ≥ 0.4 | a machine |") == 1


def test_write_says_what_the_readme_lacks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    with pytest.raises(StartError, match="top of the repository"):
        report("x", "1").finish(None, True, readme)
    readme.write_text("nothing")
    with pytest.raises(StartError, match="has no lines"):
        report("x", "1").finish(None, True, readme)


def test_json_holds_ratios_as_numbers(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    report("ares-otel bench a", "1/s").finish(file, False)
    content = json.loads(file.read_text())
    assert content["command"] == "ares-otel bench a"
    assert [row["ratio"] for row in content["rows"]] == [None, 0.5]
    with pytest.raises(StartError, match="cannot be written"):
        report("x", "1").finish(tmp_path / "no" / "file", False)


def test_the_readme_of_the_project_has_a_place_for_the_table() -> None:
    text = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_the_python_encoder_can_always_be_measured() -> None:
    assert chosen(Implementation.PYTHON) == ["python"]
    with pytest.raises(StartError, match="bench ingest"):
        chosen_one(Implementation.BOTH)


@pytest.mark.parametrize("wanted", [Implementation.NATIVE, Implementation.BOTH])
def test_a_native_encoder_that_is_missing_is_said(wanted: Implementation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ares_otel.storage.rows._native", None)
    with pytest.raises(StartError, match=f"--implementation {wanted}: The native encoder .* `make native`"):
        chosen(wanted)
    assert chosen(Implementation.AUTO) == ["python"]
