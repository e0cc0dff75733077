"""The OpenAPI document, the handbook page and the API say the same."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ares_otel.api import examples, models, pinned_models, service_models
from ares_otel.api.problems import KINDS, MEDIA_TYPE
from tests.support.api import ENDPOINTS, ROOT, Api, check_problem, running_api

_PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api("postgresql://ares@127.0.0.1:1/none") as made:
        yield made


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    answer = await api.client.get("/openapi.json")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_document_is_openapi_3_1_without_dangling_references(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Ares OTel"
    assert document["info"]["version"] == "1.2.3"
    names = document["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= set(names)
    assert "HTTPValidationError" not in names
    identifiers = [item["get"]["operationId"] for item in document["paths"].values()]
    assert len(set(identifiers)) == len(identifiers)
    for path, item in document["paths"].items():
        assert set(item) == ({"get", "post", "delete"} if path.endswith("/pin") else {"get"})
        in_path = {p["name"] for p in item["get"].get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        for parameter in item["get"].get("parameters", []):
            assert parameter["in"] in ("path", "query")
            assert parameter["schema"]["type"] in ("string", "integer", "number", "array", "boolean")
            assert parameter["description"]


def test_every_endpoint_has_a_summary_an_example_a_schema_and_its_errors(document: dict[str, Any]) -> None:
    assert len(document["paths"]) == len(ENDPOINTS) + 4
    for path, item in document["paths"].items():
        operation = item["get"]
        assert operation["summary"]
        assert operation["description"]
        [content] = operation["responses"]["200"]["content"].values()
        assert content["example"]
        assert path == "/metrics" or content["schema"]["$ref"]
        expected = {"200", "500"} | ({"422", "503"} if path.startswith(ROOT) else set())
        assert expected <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status != "200":
                [(media_type, body)] = response["content"].items()
                assert media_type == MEDIA_TYPE
                for example in body["examples"].values():
                    assert models.Problem.model_validate(example["value"]).status == int(status)


def test_examples_are_answers_as_the_models_have_them() -> None:
    for model, example in (
        (models.LogPage, examples.LOGS),
        (models.SpanPage, examples.SPANS),
        (models.MetricPage, examples.METRICS),
        (models.Health, examples.HEALTH),
        (models.Performance, examples.PERFORMANCE),
        (models.Trace, examples.TRACE),
        (models.RejectedPage, examples.REJECTED),
        (service_models.ServiceList, service_models.SERVICES),
        (service_models.OperationList, service_models.OPERATIONS),
        (service_models.ServiceMap, service_models.MAP),
        (models.RejectedItem, examples.REJECTED_ITEM),
        (pinned_models.PinnedTrace, pinned_models.PINNED),
        (pinned_models.PinnedPage, pinned_models.PAGE),
        (pinned_models.PinBody, pinned_models.BODY),
    ):
        again = model.model_validate(example, extra="forbid")
        assert json.loads(again.model_dump_json()) == json.loads(json.dumps(example))


def test_the_page_names_every_path_every_parameter_and_every_kind_of_problem(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        assert f"`{path}`" in _PAGE
        for parameter in item["get"].get("parameters", []):
            [line] = [line for line in _PAGE.splitlines() if line.startswith(f"| `{parameter['name']}` |")]
            surface = path.removeprefix(f"{ROOT}/").split("/")[0]
            assert surface in line.split("|")[2]
    for kind in KINDS:
        assert re.search(rf"\| `{kind.type}` \| {kind.status} \|", _PAGE)


async def test_every_command_of_the_page_asks_for_what_exists(api: Api) -> None:
    addresses = re.findall(r"curl '(http://127\.0\.0\.1:8080/[^']+)'", _PAGE)
    assert {address.split("?")[0].split("/")[6] for address in addresses} == {path.split("/")[0] for path in ENDPOINTS}
    for address in addresses:
        check_problem(await api.client.get(address), 503)  # understood; there is no database behind it


async def test_every_link_of_the_page_to_the_server_works(api: Api) -> None:
    for address in re.findall(r"\]\((http://127\.0\.0\.1:8080/[^)]*)\)", _PAGE):
        assert (await api.client.get(address)).status_code == 200
