"""The wheel alone is enough: everything that Ares needs travels in it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ares_otel.storage.rows.native_sources import SOURCES
from tests.support.ares_process import environment
from tests.support.encoders import needs_native
from tests.support.otlp_samples import trace_request
from tests.support.reference import ROOT

BUILT_FROM = (".pyx", ".pxi", ".pxd")
_BUILD_SECONDS = 500  # ten, where the machine has nothing else to do

pytestmark = pytest.mark.timeout(_BUILD_SECONDS + 60)


def build(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m build` of the tree, with the build's tools that the tests have installed."""
    command = [sys.executable, "-m", "build", "--no-isolation", *arguments, "--outdir", str(folder), str(ROOT)]
    env = {key: value for key, value in os.environ.items() if key != "ARES_OTEL_BUILD_NATIVE"}
    return subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, env={**env, **variables})


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree as it is for anybody; once in a run, whichever workers have these tests."""
    of_the_run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_the_run = of_the_run.parent
    folder = of_the_run / "wheel"
    with (of_the_run / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")):
            done = build(folder, "--wheel")
            assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_migrations_configuration_sql_and_pages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {f"ares_otel/{path.relative_to(ROOT / 'ares_otel')}" for path in _shipped(ROOT / "ares_otel")}
    migrations = {f"ares_otel/_assets/migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    assert sources | migrations | {"ares_otel/_assets/collector/ares.yaml", "ares_otel/py.typed"} <= names
    assert not [name for name in names if name.startswith("tests/") or name.endswith(BUILT_FROM)]


@needs_native
def test_with_a_compiler_the_wheel_holds_the_native_encoder_and_is_for_this_platform(wheel: Path) -> None:
    extension = "ares_otel/storage/rows/_native" + sysconfig.get_config_var("EXT_SUFFIX")
    assert zipfile.ZipFile(wheel).namelist().count(extension) == 1
    assert wheel.name.endswith(f"-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}.whl")


def test_without_a_compiler_the_wheel_is_pure_and_says_what_it_lost(tmp_path: Path) -> None:
    done = build(tmp_path, "--wheel", CC="/bin/false")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = tmp_path.glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(built).namelist() if name.endswith(".so")]
    (said,) = [line for line in (done.stdout + done.stderr).splitlines() if "native row encoder is NOT built" in line]
    assert "/bin/false ended with status 1" in said


def test_where_the_native_encoder_must_be_built_a_failing_compiler_is_an_error(tmp_path: Path) -> None:
    done = build(tmp_path, "--wheel", CC="/bin/false", ARES_OTEL_BUILD_NATIVE="1")
    assert done.returncode != 0
    assert "ARES_OTEL_BUILD_NATIVE is 1, but the native row encoder was not built" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_the_source_distribution_holds_what_the_native_encoder_is_built_from(tmp_path: Path) -> None:
    done = build(tmp_path, "--sdist")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in SOURCES.iterdir() if path.suffix in BUILT_FROM}
    assert {*sources, "hatch_build.py", "pyproject.toml"} <= names
    assert not [name for name in names if name.endswith(".so")]


def test_installed_into_a_clean_environment_it_takes_a_span_and_shows_it(wheel: Path, data_dir: Path) -> None:
    home = data_dir.parent / "venv"
    venv.create(home)
    python = home / "bin" / "python"
    # Not the checkout: nothing of it may be needed, and nothing may look as if it were installed.
    clean = {key: value for key, value in environment().items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    install = [*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=_BUILD_SECONDS, cwd=home, env=clean)
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = home.glob("lib/python3*/site-packages")
    (about,) = packages.glob("ares_otel-*.dist-info")
    for required in required_by(Distribution.at(about)):
        borrow(required, packages)
    command = [home / "bin" / "ares-otel", "up", "--data-dir", data_dir, "--http-port=0"]
    with subprocess.Popen(
        [
            *map(str, command),
            "--otlp-grpc-port=0",
            "--otlp-http-port=0",
            "--jaeger-grpc-port=0",
            "--sampling-port=0",
        ],
        cwd=home,
        env=clean,
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


def required_by(installed: Distribution) -> list[Distribution]:
    """What the wheel says that it needs, and what that needs, as the tests have it: nothing else gets into its
    environment, and nothing is downloaded."""
    found: dict[tuple[str, str], Distribution] = {}
    waiting = [(installed, "")]
    while waiting:
        owner, extra = waiting.pop()
        for requirement in map(Requirement, owner.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            needed = distribution(requirement.name)
            assert requirement.specifier.contains(needed.version, prereleases=True), requirement
            for part in ("", *requirement.extras):
                if (key := (canonicalize_name(needed.name), part)) not in found:
                    found[key] = needed
                    waiting.append((needed, part))
    return [needed for (_, extra), needed in found.items() if not extra]


def borrow(needed: Distribution, packages: Path) -> None:
    """Makes a distribution of the tests visible in another environment: its packages, and single files where several
    distributions share a folder."""
    files = set(needed.files or ())
    links = set()
    for file in files:
        above = [folder for folder in reversed(file.parents[:-1]) if folder.suffix or folder / "__init__.py" in files]
        links.add(above[0] if above else file)
    for link in links:
        if ".." not in link.parts:  # a script
            target = packages / link
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(needed.locate_file(link))).resolve())


def _shipped(folder: Path) -> list[Path]:
    return [
        Path(base, name)
        for base, _, files in os.walk(folder)
        for name in files
        if "__pycache__" not in base and not name.endswith((".pyc", *BUILT_FROM))
    ]
