"""The files below deploy/ say what the command understands."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from ares_otel.cli.main import app
from ares_otel.cli.options import OTHER_VARIABLES
from tests.support.grafana.model import JAEGER, POSTGRESQL
from tests.support.prometheus import PROGRAM, needs_prometheus

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def up_parameters() -> tuple[set[str], set[str]]:
    """Options and environment variables of `ares-otel up`."""
    root: Any = typer.main.get_command(app)
    options: set[str] = set()
    variables: set[str] = set()
    for parameter in root.commands["up"].params:
        options.update(parameter.opts)
        variables.update([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or [])
    return options, variables


def command_lines() -> dict[str, list[str]]:
    """What each file runs, from `up` on."""
    unit = (DEPLOY / "systemd" / "ares-otel.service").read_text()
    image = (DEPLOY / "Dockerfile").read_text()
    [start] = re.findall(r"^ExecStart=\S+/ares-otel (.*)$", unit, re.MULTILINE)
    [default] = re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)
    return {
        "systemd": start.split(),
        "Dockerfile": yaml.safe_load(default),
        "compose": compose("compose.yaml")["services"]["ares-otel"]["command"],
    }


def compose(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("where", ["systemd", "Dockerfile", "compose"])
def test_every_option_that_is_used_exists(where: str) -> None:
    command, *arguments = command_lines()[where]
    assert command == "up"
    options, _ = up_parameters()
    assert {argument for argument in arguments if argument.startswith("--")} <= options


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_that_is_named_exists(path: Path) -> None:
    _, variables = up_parameters()
    assert set(re.findall(r"ARES_OTEL_[A-Z_]*[A-Z]", path.read_text())) <= variables | OTHER_VARIABLES


def test_containers_publish_their_ports_on_this_machine_only() -> None:
    for name in sorted(path.name for path in DEPLOY.glob("compose*.yaml")):
        for service in compose(name)["services"].values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_override_changes_only_services_and_volumes_that_it_names() -> None:
    base, override = compose("compose.yaml"), compose("compose.postgres.yaml")
    added = set(override["services"]) - set(base["services"])
    assert added == {"postgres"}
    volumes = {*base["volumes"], *override["volumes"]}
    for service in (*base["services"].values(), *override["services"].values()):
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= volumes


BESIDE = ["compose.grafana.yaml", "compose.jaeger.yaml", "compose.prometheus.yaml"]


@pytest.mark.parametrize("name", BESIDE)
def test_what_runs_beside_ares_mounts_what_is_there(name: str) -> None:
    volumes = set(compose(name).get("volumes", {}))
    for service in compose(name)["services"].values():
        for place in (mount.split(":")[0] for mount in service["volumes"]):
            assert place in volumes or (DEPLOY / place).exists()


@pytest.mark.parametrize("name", BESIDE)
def test_what_runs_beside_ares_finds_it_by_its_name(name: str) -> None:
    base = compose("compose.yaml")["services"]["ares-otel"]
    ports = {port.rpartition(":")[2] for port in base["ports"]}
    assert base["environment"]["ARES_OTEL_ALLOWED_HOSTS"] == "ares-otel"
    said = (DEPLOY / name).read_text() + (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    named = re.findall(r"ares-otel:(\d+)", said)
    assert named
    assert set(named) <= ports


def test_every_variable_that_jaeger_and_grafana_are_given_is_read_by_their_files() -> None:
    sources = DEPLOY / "grafana" / "provisioning" / "datasources"
    for names, service, files in (
        (["compose.grafana.yaml", "compose.prometheus.yaml"], "grafana", sorted(sources.iterdir())),
        (["compose.jaeger.yaml"], "jaeger", [DEPLOY / "jaeger" / "jaeger.yaml"]),
    ):
        read = {name for file in files for name in re.findall(r"\$\{(?:env:)?([A-Z_]+)", file.read_text())}
        given = {name for file in names for name in compose(file)["services"][service]["environment"]}
        assert read == given


def test_grafana_has_the_data_sources_under_the_uids_that_the_dashboards_name() -> None:
    found = {}
    for file in (DEPLOY / "grafana" / "provisioning" / "datasources").iterdir():
        [source] = yaml.safe_load(file.read_text())["datasources"]
        assert source["access"] == "proxy"
        found[source["uid"]] = source["type"]
    assert found == {
        "ares-jaeger": "jaeger",
        "ares-postgresql": "grafana-postgresql-datasource",
        "ares-prometheus": "prometheus",
    }
    assert {one["uid"]: one["type"] for one in (POSTGRESQL, JAEGER)}.items() <= found.items()
    environment = compose("compose.grafana.yaml")["services"]["grafana"]["environment"]
    assert environment["ARES_JAEGER_URL"].endswith("/jaeger")
    database = compose("compose.postgres.yaml")["services"]["postgres"]["environment"]["POSTGRES_DB"]
    assert environment["ARES_POSTGRES_DATABASE"] == database


def test_grafana_finds_the_dashboards_where_they_are_mounted() -> None:
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/ares.yaml").read_text())["providers"]
    mounts = compose("compose.grafana.yaml")["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts


@needs_prometheus
def test_prometheus_understands_its_configuration() -> None:
    assert PROGRAM is not None
    promtool = Path(PROGRAM).with_name("promtool")
    command: list[Path | str] = [promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_does_not_run_as_root() -> None:
    image = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^USER (\S+)$", image, re.MULTILINE) == ["ares-otel"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    # The command is not installed where tests run, and systemd wants to see it.
    unit = (DEPLOY / "systemd" / "ares-otel.service").read_text().replace("/opt/ares-otel/bin/ares-otel", "/bin/true")
    copy = tmp_path / "ares-otel.service"
    copy.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
