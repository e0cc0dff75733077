"""The OpenAPI document, the handbook page and the configuration endpoints say the same."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ares_otel.api import config_examples as examples
from ares_otel.api import config_models as models
from ares_otel.api.models import Problem
from ares_otel.api.problems import MEDIA_TYPE
from tests.support.config_api import ROOT, ConfigApi, running_config_api

_PAGE = (Path(__file__).parents[2] / "docs" / "configuration-service.md").read_text(encoding="utf-8")


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ConfigApi]:
    async with running_config_api(database_url) as made:
        yield made


async def operations(api: ConfigApi) -> dict[str, dict[str, Any]]:
    """`METHOD path` → operation."""
    document = (await api.client.get("/openapi.json")).json()
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        if path.startswith(ROOT)
        for method, operation in item.items()
    }


async def test_every_operation_has_a_summary_examples_and_its_errors_and_is_on_the_page(api: ConfigApi) -> None:
    found = await operations(api)
    assert len(found) == 9
    for name, operation in found.items():
        assert f"| `{name}` |" in _PAGE
        assert operation["summary"]
        assert operation["description"]
        assert {"422", "500", "503"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                assert content.get("example") or content["examples"]
                if status >= "400":
                    assert media_type == MEDIA_TYPE
                    for example in content["examples"].values():
                        assert Problem.model_validate(example["value"]).status == int(status)
        for parameter in operation.get("parameters", []):
            assert parameter["description"]
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["example"]
            assert "$ref" not in json.dumps(operation["requestBody"])


def test_examples_are_as_the_models_have_them() -> None:
    for model, example in (
        (models.Settings, examples.SETTINGS),
        (models.History, examples.HISTORY),
        (models.Change, examples.DELETION),
        (models.Document, examples.DOCUMENT),
        (models.Imported, examples.IMPORTED),
        (models.PutBody, examples.PUT_BODY),
        (models.RollbackBody, examples.ROLLBACK_BODY),
        (models.DeleteBody, examples.DELETE_BODY),
        (models.ImportBody, examples.IMPORT_BODY),
    ):
        model.model_validate(example)


async def test_answers_have_the_fields_of_their_models(api: ConfigApi) -> None:
    await api.put("s/k", 1)
    assert set((await api.get("s/k")).json()) == set(models.Setting.model_fields)
    assert set((await api.get("s")).json()) == set(models.Settings.model_fields)
    assert set((await api.history("s/k"))[0]) == set(models.Change.model_fields)
    assert set((await api.get("s/k/history")).json()) == set(models.History.model_fields)
    document = (await api.get("s/export")).json()
    assert set(document) == set(models.Document.model_fields)
    imported = (await api.post("s/import", {**document, "updated_by": "a"})).json()
    assert set(imported) == set(models.Imported.model_fields)
    assert set(imported["changes"][0]) == set(models.Difference.model_fields)


async def test_the_commands_of_the_page_do_what_they_say(api: ConfigApi) -> None:
    commands = re.findall(r"^    curl .*?http://127\.0\.0\.1:8080(\S+?)'?(?: -d '(.*)')?$", _PAGE, flags=re.MULTILINE)
    assert len(commands) >= 5
    puts = [json.loads(body) for path, body in commands if body and path.endswith("retry.limit")]
    for body in puts:
        answer = await api.client.put(f"{ROOT}/orders/retry.limit", content=json.dumps(body))
        assert answer.status_code == 201
    for path, body in commands:
        if path.endswith("/rollback"):
            assert (await api.client.post(path, content=body)).status_code == 200
