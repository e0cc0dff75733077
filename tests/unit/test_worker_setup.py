"""What each worker is given of what is promised for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ares_otel.cli.options import UpOptions
from ares_otel.cli.workers.setup import (
    Setup,
    check_parts,
    connections_needed,
    options_of_supervisor,
    options_of_worker,
    warn_of_processors,
    writer_connections,
)
from ares_otel.model.errors import StartError
from ares_otel.storage.database import ServerFacts
from ares_otel.storage.spool.workers import all_spools, worker_directories
from ares_otel.storage.writer import CONNECTIONS

OPTIONS = UpOptions(Path("/data"), Path("ares.yaml"), allowed_hosts=("ares",), given=frozenset({"workers"}))


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 8])
def test_all_parts_together_are_not_more_than_was_promised(workers: int) -> None:
    options = replace(OPTIONS, workers=workers, admission_limit_mib=500, spool_limit_mib=100)
    check_parts(options)
    parts = [options_of_worker(options, number) for number in range(1, workers + 1)]
    assert sum(part.admission_limit_mib for part in parts) <= 500
    if workers > 1:
        own = options_of_supervisor(options).spool_limit_mib
        assert 0 < own < sum(part.spool_limit_mib for part in parts) <= 100 - own
    assert len({part.spool_directory for part in parts}) == workers


def test_one_process_keeps_everything() -> None:
    assert options_of_supervisor(OPTIONS) is OPTIONS
    assert writer_connections(1) == CONNECTIONS


def test_connections_of_many_workers_stay_bounded() -> None:
    assert [writer_connections(workers) for workers in (2, 4, 8, 16)] == [4, 2, 1, 1]
    assert all(connections_needed(workers) < 75 for workers in range(2, 9))


def test_a_spool_that_is_switched_off_is_so_for_all() -> None:
    options = replace(OPTIONS, workers=2, spool_limit_mib=0)
    check_parts(options)
    assert options_of_worker(options, 1).spool_limit_mib == options_of_supervisor(options).spool_limit_mib == 0


def test_parts_that_are_too_small_are_refused_with_what_to_set() -> None:
    with pytest.raises(StartError, match=r"--admission-limit-mib 256; each needs 32: raise it to 288"):
        check_parts(replace(OPTIONS, workers=9))
    with pytest.raises(StartError, match=r"--spool-limit-mib 2 is too little .* raise it to 3"):
        check_parts(replace(OPTIONS, workers=2, spool_limit_mib=2))


def test_more_workers_than_processors_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_processors(1)
    assert capsys.readouterr().err == ""
    warn_of_processors(4096)
    assert "WARNING: --workers 4096 on " in capsys.readouterr().err


def test_a_worker_reads_what_its_supervisor_wrote() -> None:
    facts = ServerFacts(180006, "18.6", True, False, ("A warning.",))
    content = bytes(range(256)).decode("latin-1")
    made = Setup(
        number=2, options=OPTIONS, url="postgresql://", facts=facts, instance_id="x", content=content, ports={"a b": 1}
    )
    assert Setup.model_validate(made.model_dump(mode="json")) == made


def test_spools_of_workers_are_found_whatever_else_lies_there(tmp_path: Path) -> None:
    assert worker_directories(tmp_path / "nowhere") == {}
    for name in ("worker-2", "worker-10", "worker-0", "worker-x", "worker-03", "traces"):
        (tmp_path / name).mkdir()
    (tmp_path / "worker-5").write_text("a file")
    assert list(worker_directories(tmp_path)) == [2, 10]
    assert all_spools(tmp_path) == [tmp_path, tmp_path / "worker-2", tmp_path / "worker-10"]
