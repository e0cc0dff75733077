"""docs/processors.md and docs/exporters.md explain every option, and their examples are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ares_otel.cli.components import COMPONENTS
from ares_otel.pipeline.component import Factory, Kind
from ares_otel.pipeline.load import load_bytes
from ares_otel.processors.conditions.paths import CONTEXTS
from tests.support import pipeline_reference

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {Kind.PROCESSOR: DOCS / "processors.md", Kind.EXPORTER: DOCS / "exporters.md"}
DOCUMENTED = [factory for factory in COMPONENTS if factory.kind in PAGES]


def section(factory: Factory) -> str:
    """The part of the page that is about the component."""
    page = PAGES[factory.kind].read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(factory.type)}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"{PAGES[factory.kind].name} has no section {factory.type}"
    return found[1]


@pytest.mark.parametrize("factory", DOCUMENTED, ids=lambda factory: f"{factory.kind.value}-{factory.type}")
def test_every_option_is_explained(factory: Factory) -> None:
    text = section(factory)
    options = {name.replace("[]", "").split(".")[-1] for name, _ in pipeline_reference.options(factory.config)}
    if factory.type in ("otlphttp", "zipkin"):  # the blocks are explained with otlp
        options -= {name for name in options if f"{name}" in section(_named("otlp"))} - {"headers", "timeout", "tls"}
    assert not {name for name in options if not re.search(rf"\b{re.escape(name)}\b", text)}


@pytest.mark.parametrize("factory", DOCUMENTED, ids=lambda factory: f"{factory.kind.value}-{factory.type}")
def test_the_example_is_a_valid_configuration(factory: Factory) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", section(factory), re.DOTALL)
    signals = [signal.name for signal in factory.signals]
    ids = list(yaml.safe_load(example)[factory.kind.value])
    exporters = ids if factory.kind is Kind.EXPORTER else ["debug"]
    pipelines = {
        f"{signal}/{number}": {
            "receivers": ["otlp"],
            "processors": [id] if factory.kind is Kind.PROCESSOR else [],
            "exporters": [id] if factory.kind is Kind.EXPORTER else exporters,
        }
        for signal in signals
        for number, id in enumerate(ids)
    }
    rest: dict[str, object] = {
        "receivers": {"otlp": {"protocols": {"grpc": None}}},
        "service": {"pipelines": pipelines},
    }
    if factory.kind is Kind.PROCESSOR:
        rest["exporters"] = {"debug": None}
    config = load_bytes((example + yaml.safe_dump(rest)).encode(), "example.yaml", COMPONENTS, {})
    assert len(config.pipelines) == len(pipelines)


def test_every_path_of_a_condition_is_listed() -> None:
    text = section(_named("filter"))
    for context in CONTEXTS.values():
        for path in (*context.paths, *context.attributes):
            name = path.removeprefix("instrumentation_").split(".")
            last = name[-2] if name[-1] == "string" else name[-1]
            assert re.search(rf"\b{last}\b", text), f"{context.name}: {path}"
        for function in context.functions:
            assert f"{function}(" in text


def _named(type: str) -> Factory:
    return next(factory for factory in DOCUMENTED if factory.type == type)
