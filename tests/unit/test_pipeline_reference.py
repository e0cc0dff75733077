"""docs/pipeline.md names every component with every option, as the code has them."""

from __future__ import annotations

import re

import pytest

from ares_otel.cli.components import COMPONENTS
from ares_otel.exporters.otlp import OtlpConfig
from ares_otel.pipeline.component import Factory
from ares_otel.pipeline.config import ServiceTelemetry
from ares_otel.pipeline.load import load_bytes
from ares_otel.pipeline.problem import ConfigError
from tests.support import pipeline_reference


def test_the_component_reference_is_up_to_date() -> None:
    page = pipeline_reference.PAGE.read_text()
    assert page == pipeline_reference.written(page), "run: python -m tests.support.pipeline_reference"


@pytest.mark.parametrize("factory", COMPONENTS, ids=lambda factory: f"{factory.kind.value}-{factory.type}")
def test_every_option_has_a_type_and_a_meaning(factory: Factory) -> None:
    for name, info in pipeline_reference.options(factory.config):
        assert info.description or pipeline_reference._about(info), f"{factory.type}: {name} has no description"


def test_the_options_of_telemetry_have_a_meaning() -> None:
    assert [name for name, _ in pipeline_reference.options(ServiceTelemetry)] == [
        "logs",
        "logs.level",
        "traces",
        "traces.level",
    ]


def test_the_example_of_the_page_is_a_valid_configuration() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", pipeline_reference.PAGE.read_text(), re.DOTALL)
    config = load_bytes(example.encode(), "docs/pipeline.md", COMPONENTS, {})
    assert list(config.pipelines) == ["traces"]


def test_component_ids_are_unique() -> None:
    ids = [(factory.kind, factory.type) for factory in COMPONENTS]
    assert len(ids) == len(set(ids))


def test_a_secret_from_a_variable_keeps_its_text_and_is_never_shown() -> None:
    def text(header: str) -> bytes:
        return f"""
receivers: {{otlp: {{protocols: {{grpc: }}}}}}
exporters: {{otlp: {{endpoint: "localhost:4317", headers: {{{header}}}}}}}
service: {{pipelines: {{traces: {{receivers: [otlp], exporters: [otlp]}}}}}}
""".encode()

    config = load_bytes(text("api-key: '${env:KEY}'"), "x.yaml", COMPONENTS, {"KEY": "0123"})
    exporter = config.exporters["otlp"].config
    assert isinstance(exporter, OtlpConfig)
    assert exporter.headers["api-key"].get_secret_value() == "0123"
    assert "0123" not in repr(config)
    for header in ("api-key: 98765", "api-key: [98765]", "api key: 98765", "api-key: 'ü98765'"):
        with pytest.raises(ConfigError) as caught:
            load_bytes(text(header), "x.yaml", COMPONENTS, {})
        assert "exporters.otlp.headers" in str(caught.value)
        assert "98765" not in str(caught.value)
