"""The registry over REST."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ares_otel.api import examples, models
from tests.support.api import Api, check_problem, running_api
from tests.support.stored_rows import insert_service

ROOT = "/api/v1/registry"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url, with_registry=True) as made:
        yield made


@pytest.fixture
async def detached() -> AsyncIterator[Api]:
    """Without a database: what is refused is refused before the database is asked."""
    async with running_api("postgresql://ares@127.0.0.1:1/none", with_registry=True) as made:
        yield made


ORDERS: dict[str, Any] = {
    "name": "orders",
    "version": "1.4.2",
    "instance_id": "orders-1",
    "port": 8000,
    "health_url": "http://10.1.2.3:8000/health",
    "metadata": {"team": "checkout"},
}


async def test_a_service_registers_lives_and_leaves(api: Api) -> None:
    answer = await api.client.post(ROOT, json=ORDERS)
    assert answer.status_code == 201, answer.text
    row = answer.json()
    models.Registered.model_validate(row, extra="forbid")
    assert row.pop("heartbeat_interval") == 30.0
    assert {name: row[name] for name in ORDERS} == ORDERS
    assert (row["status"], row["registered"], row["signs"]["heartbeats"]) == ("online", True, False)
    place = answer.headers["location"]
    assert place == f"{ROOT}/{row['id']}"

    assert (await api.client.get(place)).json() == row | {"signs": row["signs"]}
    beat = await api.client.put(f"{place}/heartbeat")
    assert beat.status_code == 200
    assert beat.json()["signs"]["heartbeats"] is True
    assert beat.json()["heartbeat_interval"] == 30.0
    assert beat.json()["last_registration_heartbeat"].endswith("Z")
    beat = await api.client.put(f"{place}/heartbeat", json={"status": "degraded", "metadata": {"queue": 71}})
    assert beat.json()["status"] == "degraded"
    assert beat.json()["metadata"] == {"team": "checkout", "queue": 71}
    [health] = await api.rows("health", "services")
    assert (health["service_name"], health["status"], health["version"]) == ("orders", "degraded", "1.4.2")

    gone = await api.client.delete(place)
    assert (gone.status_code, gone.content) == (204, b"")
    for method, path in (("GET", place), ("DELETE", place), ("PUT", f"{place}/heartbeat")):
        body = check_problem(await api.client.request(method, path), 404)
        assert body["type"] == "urn:ares-otel:problem:service-not-found"


async def test_who_registers_again_renews_the_row(api: Api) -> None:
    first = (await api.client.post(ROOT, json=ORDERS)).json()
    answer = await api.client.post(ROOT, json=ORDERS | {"version": "1.5.0", "metadata": {"zone": "b"}, "port": None})
    assert answer.status_code == 200
    again = answer.json()
    assert again["id"] == first["id"]
    assert (again["version"], again["port"]) == ("1.5.0", None)
    assert again["metadata"] == {"team": "checkout", "zone": "b"}
    other = dict.fromkeys(("version", "instance_id", "port", "health_url", "metadata"))
    assert (await api.client.post(ROOT, json={"name": "orders"} | other)).status_code == 201, "another instance"


async def test_services_are_listed_page_by_page_and_by_status_and_name(api: Api) -> None:
    for number in range(5):
        answer = await api.client.post(ROOT, json={"name": "orders", "instance_id": str(number)})
        assert answer.status_code == 201
    await insert_service(api.pool, name="payments", status="offline")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.client.get(ROOT, params={"name": "orders", "limit": "2"} | cursor)).json()
        models.RegistryPage.model_validate(page, extra="forbid")
        seen += [row["instance_id"] for row in page["services"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ["0", "1", "2", "3", "4"]
    offline = (await api.client.get(ROOT, params={"status": "offline"})).json()
    assert [row["name"] for row in offline["services"]] == ["payments"]
    assert (await api.client.get(ROOT, params={"status": "degraded"})).json() == {"services": [], "next": None}
    assert len((await api.client.get(ROOT)).json()["services"]) == 6


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"version": "x" * 256}, "version"),
        ({"instance_id": "\0"}, "instance_id"),
        *[({"port": value}, "port") for value in (-1, 65536, "8000", 1.5, True)],
        *[
            ({"health_url": value}, "health_url")
            for value in (
                "",
                "health",
                "ftp://orders/",
                "http://127.0.0.1:8000/health",
                "http://localhost/",
                "http://169.254.169.254/latest/meta-data/",
                "http://[::ffff:127.0.0.1]/",
                "http://user:secret@orders/",
                "http://x/" + "a" * 2000,
                8000,
            )
        ],
        *[({"metadata": value}, "metadata") for value in ("text", ["a"], 1, {"a": "x" * 17_000}, {"a": "\0"})],
        ({"status": "online"}, "status"),
        ({"id": 5}, "id"),
    ],
)
async def test_a_wrong_field_of_a_registration_is_named(detached: Api, change: dict[str, Any], field: str) -> None:
    body = check_problem(await detached.client.post(ROOT, json=ORDERS | change), 422, field)
    assert "secret" not in body["detail"]


@pytest.mark.parametrize("body", [b"", b"[]", b'"orders"', b"{", b"\xff", b"[" * 60_000, b'{"name": NaN}'])
async def test_a_body_that_is_no_json_object_is_told_so(detached: Api, body: bytes) -> None:
    check_problem(await detached.client.post(ROOT, content=body), 422, "body")


async def test_a_body_without_end_is_refused_at_its_limit(detached: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    check_problem(await detached.client.post(ROOT, content=endless()), 413)


@pytest.mark.parametrize(
    ("body", "field"), [({"status": "offline"}, "status"), ({"status": 1}, "status"), ({"load": 1}, "load")]
)
async def test_a_wrong_field_of_a_heartbeat_is_named(detached: Api, body: dict[str, Any], field: str) -> None:
    check_problem(await detached.client.put(f"{ROOT}/1/heartbeat", json=body), 422, field)


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        *[(f"/{value}", {}, "id") for value in ("x", "0", "-1", "1.5", "9" * 19, "%00", "١")],
        ("", {"status": "up"}, "status"),
        ("", {"name": ""}, "name"),
        ("", {"limit": "0"}, "limit"),
        ("", {"limit": "1001"}, "limit"),
        ("", {"cursor": "garbage"}, "cursor"),
        ("", {"service": "orders"}, "service"),
        ("/1", {"name": "orders"}, "name"),
    ],
)
async def test_a_wrong_parameter_is_named(detached: Api, path: str, query: dict[str, str], field: str) -> None:
    check_problem(await detached.client.get(ROOT + path, params=query), 422, field)


async def test_without_a_database_everything_says_so(detached: Api) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/1", None),
        ("POST", "", {"name": "orders"}),
        ("PUT", "/1/heartbeat", None),
        ("DELETE", "/1", None),
    ):
        check_problem(await detached.client.request(method, ROOT + path, json=body), 503)


async def test_a_row_that_somebody_holds_is_answered_with_try_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares_otel.control.registry_database.LOCK_TIMEOUT", 0.1)
    row = (await api.client.post(ROOT, json={"name": "orders"})).json()
    async with api.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM service_registry FOR UPDATE")
        answer = await api.client.put(f"{ROOT}/{row['id']}/heartbeat")
        check_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
    assert (await api.client.put(f"{ROOT}/{row['id']}/heartbeat")).status_code == 200


async def test_the_page_explains_every_path_and_parameter(api: Api) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    document = (await api.client.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        if not path.startswith(ROOT):
            continue
        assert f"| `{path}` |" in page
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                [line] = [line for line in page.splitlines() if line.startswith(f"| `{parameter['name']}` |")]
                assert "registry" in line.split("|")[2]
    for name in (*models.RegistrationBody.model_fields, *models.HeartbeatBody.model_fields):
        assert f"`{name}`" in page or f'"{name}"' in page


def test_the_examples_are_as_the_models_have_them() -> None:
    for model, example in (
        (models.RegisteredService, examples.REGISTERED),
        (models.Registered, examples.HEARD),
        (models.RegistryPage, examples.REGISTRY),
        (models.RegistrationBody, examples.REGISTRATION),
        (models.HeartbeatBody, examples.HEARTBEAT),
    ):
        again = model.model_validate(example, extra="forbid")
        assert json.loads(again.model_dump_json(exclude_unset=True)) == example


async def test_every_operation_is_in_the_document_with_examples_and_errors(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    operations = {
        (method, path): operation
        for path, item in document["paths"].items()
        if path.startswith(ROOT)
        for method, operation in item.items()
    }
    assert set(operations) == {
        ("get", ROOT),
        ("post", ROOT),
        ("get", f"{ROOT}/{{id}}"),
        ("delete", f"{ROOT}/{{id}}"),
        ("put", f"{ROOT}/{{id}}/heartbeat"),
    }
    for (method, path), operation in operations.items():
        assert operation["summary"]
        assert operation["description"]
        assert {"422", "500", "503"} <= set(operation["responses"])
        assert ("404" in operation["responses"]) == ("{id}" in path)
        assert ("requestBody" in operation) == (method in ("post", "put"))
        for body in (operation.get("requestBody"), *operation["responses"].values()):
            for content in (body or {}).get("content", {}).values():
                assert content.get("example") or content.get("examples")
