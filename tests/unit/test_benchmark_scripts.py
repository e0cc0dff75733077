"""Scripts of `benchmarks/` that no test runs must at least fit what they measure."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted(
    file.stem for file in (Path(__file__).parents[2] / "benchmarks").glob("*.py") if file.stem != "__init__"
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_finds_what_it_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
