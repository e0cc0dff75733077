"""The wheel alone is enough: everything that Ares needs travels in it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.support.ares_process import environment
from tests.support.otlp_samples import trace_request
from tests.support.reference import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_migrations_configuration_sql_and_pages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {f"ares_otel/{path.relative_to(ROOT / 'ares_otel')}" for path in _shipped(ROOT / "ares_otel")}
    migrations = {f"ares_otel/_assets/migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    assert sources | migrations | {"ares_otel/_assets/collector/ares.yaml", "ares_otel/py.typed"} <= names
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.timeout(400)
def test_installed_into_a_clean_environment_it_takes_a_span_and_shows_it(wheel: Path, data_dir: Path) -> None:
    home = data_dir.parent / "venv"
    venv.create(home, with_pip=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [home / "bin" / "ares-otel", "up", "--data-dir", data_dir, "--http-port", "0"]
    with subprocess.Popen(
        [*map(str, command), "--otlp-grpc-port", "0", "--otlp-http-port", "0"],
        cwd=home,  # not the checkout: nothing of it may be needed
        env={key: value for key, value in environment().items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")},
        stdout=subprocess.PIPE,
        text=True,
    ) as ares:
        try:
            assert ares.stdout is not None
            doors = dict(line.split(maxsplit=1) for line in iter(ares.stdout.readline, "ready\n") if line.strip())
            doors = {name: url.strip() for name, url in doors.items()}
            request = trace_request(service="from-the-wheel", spans=1)
            span = request.resource_spans[0].scope_spans[0].spans[0]
            with httpx.Client(trust_env=False) as client:
                client.post(
                    f"{doors['otlp-http']}/v1/traces",
                    content=request.SerializeToString(),
                    headers={"Content-Type": "application/x-protobuf"},
                ).raise_for_status()
                trace = client.get(f"{doors['http']}/api/v1/observability/trace/{span.trace_id.hex()}")
                assert trace.json()["services"] == ["from-the-wheel"]
                assert client.get(f"{doors['http']}/swagger/index.html").status_code == 200
        finally:
            ares.terminate()
        assert ares.wait(60) == 0


def _shipped(folder: Path) -> list[Path]:
    return [
        Path(base, name)
        for base, _, files in os.walk(folder)
        for name in files
        if "__pycache__" not in base and not name.endswith(".pyc")
    ]
