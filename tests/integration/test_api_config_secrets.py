"""Encrypted settings over HTTP, and whole services as documents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ares_otel.control.crypto import MASK, Keyring
from tests.support.api import check_problem
from tests.support.config_api import KEY, OTHER_KEY, ROOT, ConfigApi, running_config_api

CANARY = "canary-4d1f"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ConfigApi]:
    async with running_config_api(database_url) as made:
        yield made


async def everything(api: ConfigApi) -> str:
    """All that the tables hold of settings, as text."""
    tables = ("service_config", "service_config_history", "service_config_reveals")
    parts = [await api.pool.fetch(f"SELECT t::text AS row FROM {table} t") for table in tables]
    return "\n".join(row["row"] for rows in parts for row in rows)


async def reveals(api: ConfigApi) -> list[tuple[Any, ...]]:
    rows = await api.pool.fetch(
        "SELECT config_key, version, revealed_by, surface FROM service_config_reveals ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_a_secret_is_encrypted_everywhere_and_masked_to_everybody(api: ConfigApi) -> None:
    created = await api.put("s/token", CANARY, is_encrypted=True)
    assert (created.status_code, created.json()["config_value"]) == (201, MASK)
    changed = await api.put("s/token", {"nested": CANARY})
    assert (changed.json()["is_encrypted"], changed.json()["version"]) == (True, 2)
    await api.delete("s/token")
    await api.put("s/token", [CANARY])
    answers = [await api.get(path) for path in ("s", "s/token", "s/token/history", "s/export")]
    assert CANARY not in "".join(answer.text for answer in answers)
    assert CANARY not in await everything(api)
    assert (await api.get("s/token")).json()["is_encrypted"]
    assert await reveals(api) == []


async def test_a_secret_is_shown_to_who_asks_by_name_and_that_is_recorded(api: ConfigApi) -> None:
    await api.put("s/token", CANARY, is_encrypted=True)
    await api.put("s/plain", 1)
    who: dict[str, Any] = {"reveal": "true", "revealed_by": "eve"}
    assert (await api.get("s/token", **who)).json()["config_value"] == CANARY
    assert [c["config_value"] for c in (await api.get("s", **who)).json()["configs"]] == [1, CANARY]
    assert (await api.history("s/token", **who))[0]["new_value"] == CANARY
    assert (await api.get("s/export", **who)).json()["configs"][1]["config_value"] == CANARY
    assert await reveals(api) == [("token", 1, "eve", name) for name in ("value", "list", "history", "export")]
    known = {"If-None-Match": '"1"'}
    assert (await api.get("s/token", headers=known, **who)).status_code == 200
    assert (await api.get("s/token", headers=known)).status_code == 304
    check_problem(await api.get("s/token", reveal="true"), 422, "revealed_by")


async def test_the_same_secret_makes_no_new_version(api: ConfigApi) -> None:
    await api.put("s/token", {"a": 1, "b": CANARY}, is_encrypted=True)
    assert (await api.put("s/token", {"b": CANARY, "a": 1.0})).json()["version"] == 1
    assert (await api.put("s/token", {"b": CANARY, "a": 2})).json()["version"] == 2


async def test_a_setting_that_becomes_a_secret_leaves_no_plain_text_in_its_history(api: ConfigApi) -> None:
    await api.put("s/token", CANARY)
    await api.put("s/token", f"{CANARY}-2")
    await api.delete("s/token")
    await api.put("s/token", f"{CANARY}-3")
    secret = await api.put("s/token", f"{CANARY}-3", is_encrypted=True)
    assert secret.json()["version"] == 5
    assert CANARY not in await everything(api)
    rows = await api.history("s/token", reveal="true", revealed_by="a")
    assert [row["new_value"] for row in rows] == [f"{CANARY}-3", f"{CANARY}-3", None, f"{CANARY}-2", CANARY]
    plain = await api.put("s/token", "public", is_encrypted=False)
    assert (plain.json()["config_value"], plain.json()["version"]) == ("public", 6)
    back = await api.post("s/token/rollback", {"version": 1, "updated_by": "a"})
    assert (back.json()["is_encrypted"], back.json()["version"]) == (True, 7)
    assert CANARY not in await everything(api)


async def test_the_mask_is_not_taken_for_a_secret(api: ConfigApi) -> None:
    await api.put("s/token", CANARY, is_encrypted=True)
    check_problem(await api.put("s/token", MASK), 422, "value")


@pytest.mark.parametrize(
    ("keyring", "kind"),
    [(Keyring(), "missing"), (Keyring(OTHER_KEY), "missing")],
    ids=["no key", "another key"],
)
async def test_without_the_key_only_that_setting_does_not_open(
    api: ConfigApi, database_url: str, keyring: Keyring, kind: str
) -> None:
    await api.put("s/token", CANARY, is_encrypted=True)
    await api.put("s/plain", 1)
    who: dict[str, Any] = {"reveal": "true", "revealed_by": "eve"}
    async with running_config_api(database_url, keyring=keyring) as other:
        wrong = check_problem(await other.get("s/token", **who), 409)
        assert wrong["type"] == f"urn:ares-otel:problem:encryption-key-{kind}"
        assert (await other.get("s/token")).json()["config_value"] == MASK
        assert [c["config_value"] for c in (await other.get("s", **who)).json()["configs"]] == [1, MASK]
        assert (await other.put("s/plain", 2)).status_code == 200
        check_problem(await other.put("s/token", CANARY), 409)  # it would take the secret away from the others
        meant = await other.put("s/token", CANARY, headers={"If-Match": '"1"'})
        if keyring.current_id is None:
            check_problem(meant, 409)
        else:
            assert meant.json()["version"] == 2  # what does not open may be anything
    assert len(await reveals(api)) == 0


async def test_an_envelope_that_was_moved_does_not_open(api: ConfigApi) -> None:
    await api.put("s/token", CANARY, is_encrypted=True)
    await api.pool.execute(
        "INSERT INTO service_config (service_name, config_key, config_value, is_encrypted) "
        "SELECT 's', 'other', config_value, true FROM service_config WHERE config_key = 'token'"
    )
    wrong = check_problem(await api.get("s/other", reveal="true", revealed_by="eve"), 409)
    assert wrong["type"] == "urn:ares-otel:problem:encryption-key-wrong"


async def test_what_was_exported_is_imported_unchanged_and_byte_for_byte_the_same(api: ConfigApi) -> None:
    await api.put("s/b", {"x": [1, 2.5, None]}, description="What it is")
    await api.put("s/a/b.c", "é")
    await api.put("s/token", CANARY, is_encrypted=True)
    document = (await api.get("s/export")).content
    assert (await api.get("s/export")).content == document
    assert CANARY.encode() not in document
    unchanged = await api.client.post(f"{ROOT}/s/import?updated_by=a", content=document)
    assert {line["action"] for line in unchanged.json()["changes"]} == {"unchanged"}
    for key in ("b", "a%2Fb.c", "token"):
        await api.delete(f"s/{key}")
    created = await api.client.post(f"{ROOT}/s/import?updated_by=a&reason=move", content=document)
    assert [(line["config_key"], line["action"], line["version"]) for line in created.json()["changes"]] == [
        ("a/b.c", "create", 3),
        ("b", "create", 3),
        ("token", "create", 3),
    ]
    assert (await api.get("s/token", reveal="true", revealed_by="a")).json()["config_value"] == CANARY
    assert (await api.get("s/b")).json()["description"] == "What it is"
    assert (await api.history("s/b"))[0]["change_reason"] == "move"
    assert CANARY not in await everything(api)


async def test_a_dry_run_says_what_an_import_would_do_and_does_nothing(api: ConfigApi) -> None:
    await api.put("s/same", 1)
    await api.put("s/other", 1)
    await api.put("s/extra", 1)
    configs = [{"config_key": "same", "config_value": 1}, {"config_key": "other", "config_value": 2}]
    document = {"configs": [*configs, {"config_key": "new", "config_value": 3}], "updated_by": "a"}
    before = await everything(api)
    told = await api.post("s/import", document, dry_run="true", mode="replace")
    assert told.json()["dry_run"] is True
    assert [(c["config_key"], c["action"], c["old_value"], c["new_value"]) for c in told.json()["changes"]] == [
        ("extra", "delete", 1, None),
        ("new", "create", None, 3),
        ("other", "change", 1, 2),
        ("same", "unchanged", 1, 1),
    ]
    assert await everything(api) == before
    done = await api.post("s/import", document, mode="replace")
    assert done.json()["changes"] == told.json()["changes"]
    assert {c["config_key"] for c in (await api.get("s")).json()["configs"]} == {"same", "other", "new"}
    merged = await api.post("s/import", {"configs": [], "updated_by": "a"})
    assert merged.json()["changes"] == []


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"configs": []}, "updated_by"),
        ({"configs": 1, "updated_by": "a"}, "configs"),
        ({"configs": [], "updated_by": "a", "extra": 1}, "extra"),
        ({"configs": [], "updated_by": "a", "service_name": "t"}, "service_name"),
        ({"configs": [1], "updated_by": "a"}, "configs[0].config_key"),
        ({"configs": [{"config_key": "a"}], "updated_by": "a"}, "configs[0].config_value"),
        ({"configs": [{"config_key": "", "config_value": 1}], "updated_by": "a"}, "configs[0].config_key"),
        ({"configs": [{"config_key": "a", "config_value": 1, "x": 1}], "updated_by": "a"}, "configs[0].x"),
        ({"configs": [{"config_key": "a", "encrypted_value": {}}], "updated_by": "a"}, "configs[0].encrypted_value"),
        ({"configs": [{"config_key": "a", "config_value": 1}] * 2, "updated_by": "a"}, "configs[1].config_key"),
    ],
)
async def test_a_wrong_document_is_refused_as_a_whole(api: ConfigApi, document: dict[str, Any], field: str) -> None:
    check_problem(await api.post("s/import", document), 422, field)
    assert (await api.get("s")).json()["configs"] == []


async def test_an_import_with_one_wrong_value_changes_nothing(api: ConfigApi) -> None:
    configs = [
        {"config_key": "logging.trace_enabled", "config_value": False},
        {"config_key": "logging.level", "config_value": "loud"},
    ]
    answer = await api.post("ares-api/import", {"configs": configs, "updated_by": "a"})
    check_problem(answer, 422, "configs[1].config_value")
    assert (await api.get("ares-api/logging.trace_enabled")).json()["config_value"] is True


async def test_a_thousand_settings_are_listed_exported_and_imported(api: ConfigApi) -> None:
    configs = [{"config_key": f"key.{n:04}", "config_value": {"n": n}} for n in range(1000)]
    done = await api.post("s/import", {"configs": configs, "updated_by": "a"})
    assert {line["action"] for line in done.json()["changes"]} == {"create"}
    listed = (await api.get("s")).json()
    assert [c["config_value"]["n"] for c in listed["configs"]] == list(range(1000))
    assert not listed["truncated"]
    assert len(json.loads((await api.get("s/export")).content)["configs"]) == 1000


def test_the_key_of_these_tests_is_not_shown() -> None:
    assert KEY.hex() not in repr(Keyring(KEY))
