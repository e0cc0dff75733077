"""The role of `deploy/grafana/reader.sql` on a database, and what it would be asked."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from ares_otel.storage.store import Store
from tests.support.grafana.dashboards import DASHBOARDS
from tests.support.grafana.macros import Raw, View
from tests.support.grafana.shop import Shop
from tests.support.postgres import BINARIES

SCRIPT = Path(__file__).parents[3] / "deploy" / "grafana" / "reader.sql"


@dataclass
class Reader:
    """A role of its own: roles belong to the whole server, which other tests use, too."""

    url: str
    role: str = field(default_factory=lambda: f"reader_{secrets.token_hex(6)}")
    shop: Shop = field(default_factory=Shop)

    async def fill(self) -> None:
        """Stores the shop's telemetry and makes the role."""
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
                *("-v", f"role={self.role}", "-v", "password=a'b", "-f", SCRIPT),
            ],
            check=True,
            capture_output=True,
        )

    async def connect(self) -> asyncpg.Connection:
        """A connection as the role."""
        return await asyncpg.connect(self.url.replace("ares@", f"{self.role}@"))

    async def drop(self) -> None:
        """Removes the role."""
        sql = await asyncpg.connect(self.url)
        await sql.execute(f"DROP OWNED BY {self.role}; DROP ROLE {self.role}")
        await sql.close()


def opened(dashboard: str, **changed: str | Raw | Sequence[str]) -> View:
    """An hour of a dashboard, with its variables as they are when it is opened, of the service `orders` where it shows
    one, or as changed."""
    variables: dict[str, str | Raw | Sequence[str]] = {}
    for one in next(board for board in DASHBOARDS if board.name == dashboard).variables:
        single = "orders" if one["name"] == "service" else ""
        variables[one["name"]] = Raw(one["allValue"]) if one.get("includeAll") else single
    now = datetime.now(UTC)
    return View(now - timedelta(hours=1), now, {**variables, **changed})


def statement(dashboard: str, title: str) -> str:
    """The SQL of a panel with one query."""
    [board] = [one for one in DASHBOARDS if one.name == dashboard]
    [panel] = [panel for row in board.rows for panel in row if panel.title == title]
    return str(panel.targets[0]["rawSql"])
