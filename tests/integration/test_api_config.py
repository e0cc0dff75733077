"""Settings over HTTP: read, set, delete, history, rollback, conditions, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.control.config.values import load_json, same_json
from tests.support.api import check_problem
from tests.support.config_api import ROOT, ConfigApi, running_config_api


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ConfigApi]:
    async with running_config_api(database_url) as made:
        yield made


@pytest.fixture
async def detached() -> AsyncIterator[ConfigApi]:
    """An API without a database: what is refused is refused before the database is asked."""
    async with running_config_api("postgresql://ares@127.0.0.1:1/none", listens=False) as made:
        yield made


async def test_the_defaults_are_there_and_listed_by_key(api: ConfigApi) -> None:
    body = (await api.get("ares-api")).json()
    assert body["service_name"] == "ares-api"
    assert {entry["config_key"]: entry["config_value"] for entry in body["configs"]} == {
        "eventbus.redis_url": "localhost:6379",
        "eventbus.type": "memory",
        "logging.level": "info",
        "logging.trace_enabled": True,
        "service.health_check_timeout": 5,
        "service.heartbeat_interval": 30,
    }
    assert [entry["config_key"] for entry in body["configs"]] == sorted(e["config_key"] for e in body["configs"])
    nobody = {"service_name": "nobody", "configs": [], "truncated": False, "revision": 0}
    assert (await api.get("nobody")).json() == nobody


async def test_a_setting_is_created_changed_and_its_versions_count_up(api: ConfigApi) -> None:
    created = await api.put("orders/retry.limit", 3, reason="start", description="Tries")
    assert created.status_code == 201
    assert created.headers["etag"] == '"1"'
    entry = created.json()
    assert entry["config_value"] == 3
    assert (entry["version"], entry["updated_by"], entry["description"]) == (1, "alice", "Tries")
    changed = await api.put("orders/retry.limit", 4, by="bob", reason="slow")
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json()["description"] == "Tries"
    assert (await api.get("orders/retry.limit")).json() == changed.json()
    assert [
        (row["version"], row["action"], row["old_value"], row["new_value"], row["changed_by"], row["change_reason"])
        for row in await api.history("orders/retry.limit")
    ] == [(2, "change", 3, 4, "bob", "slow"), (1, "create", None, 3, "alice", "start")]


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), ({"a": 1, "b": [2]}, {"b": [2], "a": 1.0}), ("x", "x"), (None, None), (10**30, 1e30)]
)
async def test_the_same_value_makes_no_new_version(api: ConfigApi, one: Any, other: Any) -> None:
    await api.put("orders/x", one)
    again = await api.put("orders/x", other, by="bob", reason="again")
    assert (again.status_code, again.headers["etag"]) == (200, '"1"')
    assert again.json()["updated_by"] == "alice"
    assert len(await api.history("orders/x")) == 1


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (0, None), ([], {}), ("1", 1), ([1], [1, 1])])
async def test_values_that_only_look_alike_are_different(api: ConfigApi, one: Any, other: Any) -> None:
    await api.put("orders/x", one)
    changed = await api.put("orders/x", other)
    assert changed.json()["version"] == 2
    assert changed.json()["config_value"] == other
    assert type(changed.json()["config_value"]) is type(other)


async def test_a_new_description_alone_makes_no_new_version(api: ConfigApi) -> None:
    await api.put("orders/x", 1)
    described = await api.put("orders/x", 1, description="What it is")
    assert described.json()["version"] == 1
    assert (await api.get("orders/x")).json()["description"] == "What it is"


async def test_a_deleted_setting_keeps_its_history_and_goes_on_with_its_versions(api: ConfigApi) -> None:
    await api.put("orders/x", 1)
    deleted = await api.delete("orders/x", reason="gone")
    assert deleted.status_code == 200
    assert (deleted.json()["version"], deleted.json()["action"], deleted.json()["changed_by"]) == (2, "delete", "bob")
    check_problem(await api.get("orders/x"), 404)
    check_problem(await api.delete("orders/x"), 404)
    again = await api.put("orders/x", 1)
    assert (again.status_code, again.json()["version"]) == (201, 3)
    assert [row["action"] for row in await api.history("orders/x")] == ["create", "delete", "create"]


async def test_who_and_why_of_a_deletion_may_stand_in_the_body(api: ConfigApi) -> None:
    await api.put("orders/x", 1)
    body = json.dumps({"updated_by": "carol", "reason": "unused"})
    answer = await api.client.request("DELETE", f"{ROOT}/orders/x", content=body)
    assert (answer.json()["changed_by"], answer.json()["change_reason"]) == ("carol", "unused")


async def test_an_etag_saves_a_transfer_and_tells_who_was_faster(api: ConfigApi) -> None:
    await api.put("orders/x", 1)
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*", "1"):
        answer = await api.get("orders/x", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
    assert (await api.get("orders/x", headers={"If-None-Match": '"2"'})).status_code == 200
    assert (await api.put("orders/x", 2, headers={"If-Match": '"1"'})).json()["version"] == 2
    for tag in ('"1"', 'W/"2"', '"other"'):
        check_problem(await api.put("orders/x", 3, headers={"If-Match": tag}), 412)
        check_problem(await api.delete("orders/x", headers={"If-Match": tag}), 412)
    check_problem(await api.put("orders/new", 1, headers={"If-Match": "*"}), 412)
    check_problem(await api.put("orders/x", 3, headers={"If-None-Match": "*"}), 412)
    assert (await api.put("orders/new", 1, headers={"If-None-Match": "*"})).status_code == 201
    assert (await api.get("orders/x")).json()["config_value"] == 2
    assert (await api.delete("orders/x", headers={"If-Match": '"2"'})).status_code == 200


async def test_a_rollback_makes_the_old_value_a_new_version(api: ConfigApi) -> None:
    for value in (1, 2, 3):
        await api.put("orders/x", value)
    answer = await api.post("orders/x/rollback", {"version": 1, "updated_by": "dave", "reason": "3 was bad"})
    assert (answer.status_code, answer.json()["config_value"], answer.headers["etag"]) == (200, 1, '"4"')
    newest = (await api.history("orders/x"))[0]
    assert (newest["old_value"], newest["new_value"], newest["changed_by"]) == (3, 1, "dave")
    assert (await api.post("orders/x/rollback", {"version": 1, "updated_by": "dave"})).json()["version"] == 4
    check_problem(await api.post("orders/x/rollback", {"version": 9, "updated_by": "dave"}), 404)
    check_problem(await api.post("orders/y/rollback", {"version": 1, "updated_by": "dave"}), 404)
    await api.delete("orders/x")
    check_problem(await api.post("orders/x/rollback", {"version": 5, "updated_by": "dave"}), 409)
    back = await api.post("orders/x/rollback", {"version": 2, "updated_by": "dave"})
    assert (back.json()["config_value"], back.json()["version"]) == (2, 6)


async def test_a_rollback_to_a_value_that_a_known_setting_may_not_hold_is_refused(api: ConfigApi) -> None:
    await api.pool.execute("UPDATE service_config SET config_value = '\"loud\"' WHERE config_key = 'logging.level'")
    await api.put("ares-api/logging.level", "debug")
    check_problem(await api.post("ares-api/logging.level/rollback", {"version": 2, "updated_by": "a"}), 422, "value")


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("ares-api/eventbus.type", ["redis"], ["kafka", 1, None]),
        (
            "ares-api/eventbus.redis_url",
            ["redis-0:6380", "rediss://u:p@h:1/0", "unix:///r.sock"],
            ["", 6379, "http://h"],
        ),
        ("ares-api/service.heartbeat_interval", [1, 3600, 60.0], [0, 3601, 1.5, "30", True]),
        ("ares-api/service.health_check_timeout", [0.1, 60], [0, 60.1, "5", False]),
        ("ares-api/logging.level", ["debug", "error"], ["DEBUG", "trace", 10]),
        ("ares-api/logging.trace_enabled", [False], ["false", 0, None]),
        ("agent-coordinator/task.max_concurrent", [1], [0, -1, "many"]),
        ("agent-coordinator/task.retry_count", [0], [-1, 2.5]),
        ("agent-coordinator/polling_interval", [0.5], [0, [5]]),
    ],
)
async def test_a_known_setting_takes_what_it_may_hold_and_says_what_that_is(
    api: ConfigApi, path: str, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        assert (await api.put(path, value)).status_code == 200
    for value in bad:
        body = check_problem(await api.put(path, value), 422, "value")
        assert "must be" in body["detail"]


async def test_history_is_paged_newest_first(api: ConfigApi) -> None:
    for value in range(7):
        await api.put("orders/x", value)
    seen: list[int] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await api.get("orders/x/history", limit=3, **cursor)).json()
        seen += [row["version"] for row in page["history"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    check_problem(await api.get("orders/never/history"), 404)


KEYS = [
    "a.b",
    "a/b",
    "/a",
    "a/",
    "a//b",
    "a b",
    "ä/ö",
    "100%",
    "a?b#c",
    "..",
    "a/../b",
    "%2F",
    "history",
    "a/history",
    "a/b/rollback",
    "export",
    "import",
    "watch",
    "+",
    "🙂",
    "a/watch",
]


@pytest.mark.parametrize("key", KEYS)
async def test_every_key_is_reachable_percent_encoded(api: ConfigApi, key: str) -> None:
    path = "s/" + "".join(f"%{byte:02X}" for byte in key.encode())
    assert (await api.put(path, key)).status_code == 201
    answer = (await api.get(path)).json()
    assert (answer["config_key"], answer["config_value"]) == (key, key)
    assert [row["new_value"] for row in await api.history(path)] == [key]
    assert (await api.post(f"{path}/rollback", {"version": 1, "updated_by": "a"})).status_code == 200
    assert (await api.delete(path)).status_code == 200


async def test_slashes_of_a_key_may_stand_as_they_are(api: ConfigApi) -> None:
    await api.put("orders/a/b.c/d", 1)
    assert (await api.get("orders/a%2Fb.c%2Fd")).json()["config_key"] == "a/b.c/d"
    assert (await api.get("orders/a/b.c/d")).json()["config_key"] == "a/b.c/d"
    assert len(await api.history("orders/a/b.c/d")) == 1
    await api.put("or%2Fders/x", 1)
    assert (await api.get("or%2Fders")).json()["configs"][0]["service_name"] == "or/ders"


async def test_a_key_like_an_endpoint_must_be_encoded(detached: ConfigApi) -> None:
    for word in ("export", "import", "watch"):
        body = check_problem(await detached.put(f"orders/{word}", 1), 422, "key")
        assert "%" in body["detail"]


_PUT = {"value": 1, "updated_by": "alice"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ("body",)),
        (b"not json", ("body",)),
        (b"[]", ("body",)),
        (b"\xff", ("body",)),
        (b'{"value": NaN, "updated_by": "a"}', ("body",)),
        (b'{"value": "\\u0000", "updated_by": "a"}', ("body",)),
        (b'{"value": {"a\\u0000": 1}, "updated_by": "a"}', ("body",)),
        (b'{"value": "\\ud800", "updated_by": "a"}', ("body",)),
        (b'{"value": 1e9999, "updated_by": "a"}', ("body",)),
        (b'{"value": ' + b"9" * 5000 + b', "updated_by": "a"}', ("body",)),
        (b'{"value": ' + b"[" * 150 + b"]" * 150 + b', "updated_by": "a"}', ("body",)),
        (b'{"value": ' + b"[" * 100_000 + b', "updated_by": "a"}', ("body",)),
        (b'{"value": 1, "value": 2, "updated_by": "a"}', ("value",)),
        (b'{"value": {"x": 1, "x": 2}, "updated_by": "a"}', ("x",)),
        (b"{}", ("value", "updated_by")),
        (json.dumps({**_PUT, "updated_by": ""}).encode(), ("updated_by",)),
        (json.dumps({**_PUT, "updated_by": " "}).encode(), ("updated_by",)),
        (json.dumps({**_PUT, "updated_by": "x" * 201}).encode(), ("updated_by",)),
        (json.dumps({**_PUT, "updated_by": 7}).encode(), ("updated_by",)),
        (json.dumps({**_PUT, "reason": "x" * 2001}).encode(), ("reason",)),
        (json.dumps({**_PUT, "reason": 1, "description": []}).encode(), ("reason", "description")),
        (json.dumps({**_PUT, "is_encrypted": "yes"}).encode(), ("is_encrypted",)),
        (json.dumps({**_PUT, "vlaue": 2}).encode(), ("vlaue",)),
    ],
)
async def test_a_wrong_body_is_named(detached: ConfigApi, body: bytes, fields: tuple[str, ...]) -> None:
    answer = await detached.client.put(f"{ROOT}/orders/x", content=body)
    check_problem(answer, 422, *fields)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("x" * 256, "service_name"),
        ("a%00", "service_name"),
        ("%FF", "service_name"),
        ("s/" + "x" * 501, "key"),
        ("s/a%0Ab", "key"),
        ("s/%FF", "key"),
        ("%F0%9F%99%82" * 200 + "/" + "%F0%9F%99%82" * 450, "key"),
        ("s?reveal=yes", "reveal"),
        ("s?reveal=true", "revealed_by"),
        ("s?revealed_by=a", "revealed_by"),
        ("s/x?revealed_by=a", "revealed_by"),
        ("s/x/history?limit=0", "limit"),
        ("s/x/history?cursor=no", "cursor"),
        ("s/x?unknown=1", "unknown"),
        ("s/watch?last_event_id=x", "last_event_id"),
        ("s/watch?last_event_id=99999999999999999999", "last_event_id"),
    ],
)
async def test_a_wrong_name_or_parameter_is_named(detached: ConfigApi, path: str, field: str) -> None:
    check_problem(await detached.get(path), 422, field)


async def test_a_body_that_is_too_large_is_refused(detached: ConfigApi) -> None:
    check_problem(await detached.put("s/x", "x" * 1024 * 1024), 413)


async def test_a_path_without_a_key_is_not_found(detached: ConfigApi) -> None:
    check_problem(await detached.get("s/"), 404)
    check_problem(await detached.get(""), 404)


async def test_another_method_is_refused(detached: ConfigApi) -> None:
    check_problem(await detached.client.post(f"{ROOT}/s/x"), 405)
    check_problem(await detached.client.get(f"{ROOT}/s/x/rollback"), 405)
    check_problem(await detached.client.put(f"{ROOT}/s"), 405)


async def test_a_database_that_is_away_is_a_503(detached: ConfigApi) -> None:
    for answer in (
        await detached.get("s"),
        await detached.get("s/x"),
        await detached.put("s/x", 1),
        await detached.delete("s/x"),
        await detached.get("s/x/history"),
        await detached.get("s/export"),
        await detached.get("s/watch"),
    ):
        assert check_problem(answer, 503)["type"] == "urn:ares-otel:problem:database-unavailable"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3)
    ),
    max_leaves=8,
)


async def test_any_json_under_any_key_comes_back_as_it_was(api: ConfigApi) -> None:
    names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
    cases: list[tuple[str, Any]] = []

    @settings(max_examples=100, database=None)
    @given(names, JSON)
    def collect(key: str, value: Any) -> None:
        cases.append((key, value))

    collect()
    for key, value in cases:
        path = "p/" + "".join(f"%{byte:02x}" for byte in key.encode())
        assert (await api.put(path, value)).status_code in (200, 201)
        answer = load_json((await api.get(path)).text)
        assert answer["config_key"] == key
        assert same_json(answer["config_value"], value)


async def test_long_numbers_keep_every_digit(api: ConfigApi) -> None:
    body = b'{"value": [12345678901234567890123456789012345678901, 0.1234567890123456789012345], "updated_by": "a"}'
    await api.client.put(f"{ROOT}/s/x", content=body)
    assert b"[12345678901234567890123456789012345678901,0.1234567890123456789012345]" in (
        await api.get("s/x")
    ).content.replace(b" ", b"")
