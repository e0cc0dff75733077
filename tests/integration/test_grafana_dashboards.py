"""Every panel of the dashboards finds something, as the role that only reads, in the SQL that Grafana would send."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from ares_otel.storage.store import Store
from tests.support.grafana.__main__ import FOLDER
from tests.support.grafana.dashboards import DASHBOARDS
from tests.support.grafana.macros import Raw, View
from tests.support.grafana.shop import Shop
from tests.support.postgres import BINARIES

ROWS = 20_000
"""No panel's answer has more: what a page can show, and Grafana's memory bears."""


class Reader:
    """The role of `deploy/grafana/reader.sql` on a database with a shop's telemetry."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.role = f"reader_{secrets.token_hex(6)}"
        self.shop = Shop()

    async def fill(self) -> None:
        """Stores the telemetry and makes the role."""
        store = Store(self.url)
        await store.start()
        sql = await asyncpg.connect(self.url)
        await self.shop.stored(store, sql)
        await sql.execute("ANALYZE")
        await sql.close()
        await store.stop()
        for _ in range(2):  # it may be run again
            await asyncio.to_thread(self._make_role)

    def _make_role(self) -> None:
        place = urlsplit(self.url)
        subprocess.run(
            [
                BINARIES / "psql",
                *("-h", parse_qs(place.query)["host"][0], "-U", "ares", "-d", place.path.strip("/"), "-q", "-X"),
                *("-v", f"role={self.role}", "-v", "password=a'b", "-f", FOLDER.parent / "reader.sql"),
            ],
            check=True,
            capture_output=True,
        )

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.url.replace("ares@", f"{self.role}@"))

    async def drop(self) -> None:
        """Roles belong to the whole server."""
        sql = await asyncpg.connect(self.url)
        await sql.execute(f"DROP OWNED BY {self.role}; DROP ROLE {self.role}")
        await sql.close()

    def view(self, dashboard: str, **changed: str | Raw | Sequence[str]) -> View:
        """An hour of a dashboard, with its variables as they are when it is opened, or as changed."""
        variables: dict[str, str | Raw | Sequence[str]] = {}
        for one in next(board for board in DASHBOARDS if board.name == dashboard).variables:
            variables[one["name"]] = Raw(one["allValue"]) if one.get("includeAll") else ""
        if dashboard in ("service", "traces", "metrics"):
            variables["service"] = "orders"
        now = datetime.now(UTC)
        return View(now - timedelta(hours=1), now, {**variables, **changed})


@pytest.fixture(scope="module")
def reader(module_database_url: str) -> Iterator[Reader]:
    made = Reader(module_database_url)
    asyncio.run(made.fill())
    yield made
    asyncio.run(made.drop())


def panels() -> list[Any]:
    return [
        pytest.param(board.name, panel, id=f"{board.name}: {panel.title}")
        for board in DASHBOARDS
        for row in board.rows
        for panel in row
        if panel.datasource["type"] != "jaeger"
    ]


METRIC = {"Increase a second": "orders.placed", "Mean of a histogram": "http.server.request.duration"}


@pytest.mark.parametrize(("dashboard", "panel"), panels())
async def test_the_panel_finds_rows(reader: Reader, dashboard: str, panel: Any) -> None:
    chosen: dict[str, str] = {}
    if dashboard == "metrics":
        chosen["metric"] = METRIC.get(panel.title, "inventory.stock")
    if dashboard == "trace":
        chosen["trace_id"] = reader.shop.traces[0]
    if dashboard == "service" and panel.title == "Failed spans":
        chosen["service"] = "payments"
    sql = await reader.connect()
    try:
        for target in panel.targets:
            statement = await sql.prepare(reader.view(dashboard, **chosen).expanded(target["rawSql"]))
            rows = await statement.fetch()
            assert rows
            assert len(rows) < ROWS
            assert any(value is not None for value in rows[0].values())
            names = [attribute.name for attribute in statement.get_attributes()]
            assert len(set(names)) == len(names)
            if target["format"] == "time_series":
                times = [row["time"] for row in rows]
                assert times == sorted(times), "Grafana wants time series in the order of time"
    finally:
        await sql.close()
