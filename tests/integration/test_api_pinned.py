"""Pins over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from ares_otel.query import pinned
from tests.support.api import ROOT, Api, check_problem, running_api
from tests.support.stored_rows import TRACE, insert_log, insert_span

PIN = f"{ROOT}/trace/{TRACE.hex}/pin"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as made:
        await insert_span(made.pool, 1)
        await insert_log(made.pool, trace_id=TRACE)
        yield made


async def test_a_trace_is_pinned_shown_and_unpinned(api: Api) -> None:
    check_problem(await api.client.get(PIN), 404)
    made = await api.client.post(PIN, json={"pinned_by": "alice"})
    assert made.status_code == 200
    row: dict[str, Any] = made.json()
    assert {key: row[key] for key in ("trace_id", "pinned_by", "spans", "logs", "left_out", "tenant_id")} == {
        "trace_id": TRACE.hex,
        "pinned_by": "alice",
        "spans": 1,
        "logs": 1,
        "left_out": 0,
        "tenant_id": 0,
    }
    assert row["bytes"] > 0
    assert (await api.client.post(PIN)).json() == row, "who was first stays"
    assert (await api.client.get(PIN)).json() == row
    assert (await api.get("pinned")).json() == {"pinned": [row], "next": None}
    assert len((await api.get(f"trace/{TRACE.hex}")).json()["spans"]) == 1
    assert (await api.client.delete(PIN)).json() == row
    check_problem(await api.client.delete(PIN), 404)
    assert (await api.get("pinned")).json() == {"pinned": [], "next": None}


async def test_the_list_pages_by_cursor(api: Api) -> None:
    for number in (1, 2, 3):
        await insert_span(api.pool, 1, trace_id=UUID(int=number))
        assert (await api.client.post(f"{ROOT}/trace/{number:032x}/pin")).status_code == 200
    first = (await api.get("pinned", limit=2)).json()
    assert [row["trace_id"] for row in first["pinned"]] == [f"{n:032x}" for n in (3, 2)]
    second = (await api.get("pinned", limit=2, cursor=first["next"])).json()
    assert [row["trace_id"] for row in second["pinned"]] == [f"{1:032x}"]
    assert second["next"] is None
    other = await api.get("logs", limit=1)
    check_problem(await api.get("pinned", cursor=other.json()["next"] or "x"), 422, "cursor")


async def test_what_cannot_be_pinned_is_refused_with_a_reason(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    check_problem(await api.client.post(f"{ROOT}/trace/{9:032x}/pin"), 404)
    check_problem(await api.client.post(PIN, json={"by": "alice"}), 422, "by")
    check_problem(await api.client.post(PIN, json={"pinned_by": "x" * 256}), 422, "pinned_by")
    check_problem(await api.client.post(PIN, content=b"alice"), 422, "body")
    check_problem(await api.client.post(PIN, content=b"x" * 20_000), 413)
    monkeypatch.setattr(pinned, "MAX_TRACES", 0)
    body = check_problem(await api.client.post(PIN), 409)
    assert body["type"] == "urn:ares-otel:problem:pin-refused"
    assert "raise retention.pinned.max_traces" in body["detail"]
