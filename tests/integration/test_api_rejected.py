"""What the database refused to store, over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from ares_otel.api import models
from ares_otel.model.otlp_json import encode_json
from ares_otel.query.rows import RejectedRow
from tests.support.api import Api, check_problem, running_api
from tests.support.otlp_samples import trace_request
from tests.support.rejected import insert_rejected

NOW = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as made:
        yield made


async def test_a_row_has_the_columns_of_the_table_but_the_payload(api: Api) -> None:
    row = await insert_rejected(api.pool, told=False, key=bytes(range(16)), received_at=NOW, rejected_at=NOW)
    assert await api.rows("rejected", "rejected") == [
        {
            "id": row,
            "rejected_at": "2026-01-31T12:00:00.250000Z",
            "received_at": "2026-01-31T12:00:00.250000Z",
            "signal": "logs",
            "service_name": "orders",
            "items": 1,
            "reason": "numeric field overflow",
            "sqlstate": "22003",
            "told": False,
            "key": bytes(range(16)).hex(),
            "tenant_id": 0,
        }
    ]
    columns = await api.pool.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ingest_rejected'::regclass AND attnum > 0"
    )
    assert {field.name for field in fields(RejectedRow)} | {"payload"} == {column["attname"] for column in columns}


async def test_one_row_has_its_payload_as_protobuf_and_as_otlp_json(api: Api) -> None:
    request = trace_request(spans=2)
    row = await insert_rejected(api.pool, request, signal="traces")
    body = (await api.get(f"rejected/{row}")).json()
    assert models.RejectedItem.model_validate(body, extra="forbid").model_dump() == body
    assert base64.b64decode(body["payload"]) == request.SerializeToString()
    assert body["otlp"] == json.loads(encode_json(request))
    torn = await insert_rejected(api.pool, payload=b"\xff\xff", items=1)
    body = (await api.get(f"rejected/{torn}")).json()
    assert (body["payload"], body["otlp"]) == ("//8=", None)


async def test_a_row_that_is_not_there_is_not_found(api: Api) -> None:
    body = check_problem(await api.get("rejected/7"), 404)
    assert body["type"] == "urn:ares-otel:problem:rejected-not-found"
    check_problem(await api.get("rejected/x"), 422, "id")
    check_problem(await api.get("rejected", signal="spans"), 422, "signal")


async def test_rows_are_filtered_by_everything_that_is_given(api: Api) -> None:
    await insert_rejected(api.pool, service="a")
    await insert_rejected(api.pool, service="b")
    await insert_rejected(api.pool, trace_request(), signal="traces", service="b")

    async def found(**query: str) -> list[tuple[str, str]]:
        return [(row["service_name"], row["signal"]) for row in await api.rows("rejected", "rejected", **query)]

    assert await found(service="b") == [("b", "traces"), ("b", "logs")]
    assert await found(signal="logs") == [("b", "logs"), ("a", "logs")]
    assert await found(service="b", signal="logs") == [("b", "logs")]
    assert await found(service="x" * 255) == []


async def test_pages_show_each_row_once_newest_first_also_where_times_are_equal(api: Api) -> None:
    ids = [await insert_rejected(api.pool, rejected_at=NOW - timedelta(hours=n // 3)) for n in range(7)]
    expected = sorted(ids, key=lambda id: (-(ids.index(id) // 3), id), reverse=True)
    seen: list[int] = []
    query: dict[str, str] = {}
    while True:
        body = (await api.get("rejected", limit="2", **query)).json()
        assert models.RejectedPage.model_validate(body, extra="forbid").model_dump() == body
        seen += [row["id"] for row in body["rejected"]]
        await insert_rejected(api.pool, rejected_at=NOW + timedelta(hours=1))  # what comes meanwhile moves no page
        if body["next"] is None:
            break
        query = {"cursor": body["next"]}
    assert seen == expected
    logs = (await api.get("logs", cursor=query["cursor"])).status_code
    assert logs == 422
