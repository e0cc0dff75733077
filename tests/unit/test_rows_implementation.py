"""Which row encoder a process takes, and what it says when it cannot."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from ares_otel.cli import doctor_encoder
from ares_otel.cli.doctor import State
from ares_otel.cli.doctor_encoder import check_encoder, check_running_encoder
from ares_otel.model.errors import StartError
from ares_otel.storage.rows import implementation, reference
from ares_otel.storage.rows.implementation import NATIVE, PYTHON, VARIABLE, choose
from ares_otel.storage.rows.native_sources import digest_of_sources
from tests.support.ares_process import run_ares
from tests.support.encoders import needs_native

EXTENSION = "ares_otel.storage.rows._native"


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extension."""
    monkeypatch.setattr(sys, "path_hooks", [])
    monkeypatch.delitem(sys.modules, EXTENSION, raising=False)
    monkeypatch.setattr("ares_otel.storage.rows.__path__", [])


def stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extension that was built from other sources."""
    made = ModuleType(EXTENSION)
    made.SOURCES = "0" * 32  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, EXTENSION, made)


@needs_native
def test_the_native_encoder_is_taken_where_it_is_there() -> None:
    assert choose("").name == NATIVE
    assert choose("native").sentence == "Rows are encoded by the native encoder: ARES_OTEL_IMPL asks for it."


def test_python_can_be_forced() -> None:
    chosen = choose("python")
    assert (chosen.name, chosen.encode, chosen.expected) == (PYTHON, reference.encode_batch, True)


def test_without_the_extension_python_is_taken_and_what_to_do_is_said(missing: None) -> None:
    chosen = choose("")
    assert (chosen.name, chosen.encode, chosen.expected) == (PYTHON, reference.encode_batch, False)
    assert "was not built when Ares was installed" in chosen.sentence
    assert "`make native` builds it" in chosen.sentence


def test_asking_for_an_encoder_that_is_missing_or_unknown_is_an_error(missing: None) -> None:
    with pytest.raises(StartError, match="ARES_OTEL_IMPL is native, but the native encoder was not built"):
        choose("native")
    with pytest.raises(StartError, match="ARES_OTEL_IMPL is 'rust'; it must be python, native, or not set"):
        choose("rust")


def test_an_extension_of_older_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    stale(monkeypatch)
    chosen = choose("")
    assert (chosen.name, chosen.expected) == (PYTHON, False)
    assert "built from older sources" in chosen.why
    with pytest.raises(StartError, match="built from older sources"):
        choose("native")


def test_an_extension_that_cannot_be_loaded_is_not_used_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("invalid ELF header")

    monkeypatch.setattr(implementation, "import_module", broken)
    assert "cannot be loaded (invalid ELF header)" in choose("").why


def test_the_digest_tells_every_change_of_the_sources(tmp_path: Path) -> None:
    digests = set()
    for name, text in [("a.pyx", "1"), ("a.pyx", "2"), ("b.pxi", "1"), ("c.py", "nothing that is compiled")]:
        (tmp_path / name).write_text(text)
        digests.add(digest_of_sources(tmp_path))
    assert len(digests) == 3


def test_the_doctor_says_which_encoder_and_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for value in ("python", "rust"):
        monkeypatch.setenv(VARIABLE, value)
        states.append(check_encoder().state)
    monkeypatch.setenv(VARIABLE, "")
    stale(monkeypatch)
    states.append(check_encoder().state)
    assert states == [State.OK, State.PROBLEM, State.WARNING]


def test_the_doctor_tells_when_the_running_ares_has_the_other_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "python")
    metrics = 'ares_otel_encoder_info{{implementation="{}"}} 1.0\n'
    assert check_running_encoder(metrics.format("python")) == []
    (finding,) = check_running_encoder(metrics.format("native"))
    assert finding.state is State.WARNING
    assert "encodes rows with the native encoder; started anew it would be python" in finding.sentence
    assert doctor_encoder.check_running_encoder("") == []


def test_ares_does_not_start_with_an_encoder_that_it_does_not_have(tmp_path: Path) -> None:
    done = run_ares(["up", "--data-dir", str(tmp_path / "data")], env={VARIABLE: "rust"})
    assert done.returncode == 1
    assert "ARES_OTEL_IMPL is 'rust'; it must be python, native, or not set." in done.stderr
    assert not (tmp_path / "data").exists()
