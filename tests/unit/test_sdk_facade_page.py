"""What `docs/logger-and-metrics.md` shows is code that runs, and what it says about bounds is so."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from ares_otel.sdk import logger as loggers
from ares_otel.sdk import metrics as collectors
from ares_otel.sdk import values
from tests.support.otel_memory import otel_memory
from tests.support.reference import ROOT

PAGE = (ROOT / "docs" / "logger-and-metrics.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code_of_the_page_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trading.orders")
    with otel_memory() as memory:
        names: dict[str, Any] = {
            "logger": loggers.Logger("trading.orders", logger_provider=memory.loggers, tracer_provider=memory.tracers),
            "metrics": collectors.MetricsCollector("trading.orders", meter_provider=memory.meters),
        }
        for block in BLOCKS:
            if "configure(" not in block:  # that is for the whole process
                exec(compile(block, "docs/logger-and-metrics.md", "exec"), names)
        trace_id = names["execute_trade"]()
        asyncio.run(names["clear"]())
        assert [f"{record.log_record.trace_id:032x}" for record in memory.records] == [trace_id, trace_id]
        assert memory.metrics().keys() == {"trades.executed", "memory.usage_mb", "database.query", "clearing.call"}


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    for number, what in (
        (values.MAX_ATTRIBUTES, "attributes"),
        (values.MAX_VALUES, "values in their lists"),
        (values.MAX_DEPTH, "levels of nesting"),
        (values.MAX_TEXT, "characters a text"),
        (values.MAX_ALL_TEXT, "in all"),
        (values.MAX_LABELS, "at most"),
    ):
        assert re.search(rf"{number:,}\s+{what}", PAGE), what
    assert f"than {collectors.MAX_INSTRUMENTS:,} in a collector" in PAGE


def test_the_names_of_the_page_are_those_of_the_code() -> None:
    assert f"`{loggers.METADATA_CUT}`" in PAGE
    assert f"`{collectors.REFUSED}`" in PAGE
