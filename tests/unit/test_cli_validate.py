"""`ares-otel validate`: what it prints and with which status it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from ares_otel.cli.components import COMPONENTS
from ares_otel.cli.validate import validate
from ares_otel.pipeline.load import load_file
from ares_otel.receivers.otlp.config import OtlpReceiverConfig
from tests.support.ares_process import run_ares

DEFAULT = Path(__file__).parents[2] / "collector" / "ares.yaml"


def test_the_default_configuration_is_valid_and_its_pipelines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(DEFAULT, {}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "traces: otlp -> postgres",
        "logs: otlp -> postgres",
        "metrics: otlp, prometheusremotewrite -> postgres",
    ]


def test_the_recipe_with_connectors_is_valid_and_its_pipelines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(DEFAULT.with_name("spanmetrics.yaml"), {}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "traces: otlp -> postgres, spanmetrics, servicegraph",
        "logs: otlp -> postgres",
        "metrics: otlp, spanmetrics, servicegraph -> postgres",
    ]


def test_the_default_configuration_listens_where_the_options_say() -> None:
    def endpoints(**environ: str) -> list[str]:
        receiver = load_file(DEFAULT, COMPONENTS, environ).receivers["otlp"].config
        assert isinstance(receiver, OtlpReceiverConfig)
        assert receiver.protocols.grpc is not None
        assert receiver.protocols.http is not None
        return [receiver.protocols.grpc.endpoint, receiver.protocols.http.endpoint]

    assert endpoints() == ["127.0.0.1:4317", "127.0.0.1:4318"]
    options = {"ARES_OTEL_HOST": "[::1]", "ARES_OTEL_OTLP_GRPC_PORT": "0", "ARES_OTEL_OTLP_HTTP_PORT": "5"}
    assert endpoints(**options) == ["[::1]:0", "[::1]:5"]
    assert load_file(DEFAULT, COMPONENTS, {}).used_variables == options.keys()


def test_the_command_names_file_line_and_nearest_name_and_fails(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    text = DEFAULT.read_text().replace("  postgres:\n", "  postgres:\n  otlp/tee: {endpont: localhost:4317}\n")
    file.write_text(text.replace("exporters: [postgres]", "exporters: [postgress]", 1))
    done = run_ares(["validate", "--config", str(file)])
    assert done.returncode == 1
    option = text.splitlines().index("  otlp/tee: {endpont: localhost:4317}") + 1
    lines = done.stdout.splitlines()
    assert f"{file}:{option}:14: exporters.otlp/tee.endpont: unknown option; did you mean 'endpoint'?" in lines
    assert any("'postgress' is not defined under exporters; did you mean 'postgres'?" in line for line in lines)
    assert all(line.startswith(f"{file}:") for line in lines)
    assert "Traceback" not in done.stderr


def test_a_warning_is_shown_and_does_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "unused.yaml"
    file.write_text(DEFAULT.read_text().replace("  postgres:\n", "  postgres:\n  debug:\n"))
    assert validate(file, {}) == 0
    out = capsys.readouterr().out
    assert "warning: exporters.debug: no pipeline uses it, so it is not started." in out
    assert out.endswith("metrics: otlp, prometheusremotewrite -> postgres\n")
