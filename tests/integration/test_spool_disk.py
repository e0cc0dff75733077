"""A spool on a disk that is full, broken or slow."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ares_otel.storage.spool.errors import SpoolBroken
from tests.integration.test_spool_crash import start
from tests.support import faultfs
from tests.support.eventually import eventually
from tests.support.spool import Remembering, a_record, opened, quarantined, read_all, records_in, segments


@dataclass
class Child:
    """A process with a spool that appends what it is told."""

    process: subprocess.Popen[str]
    control: Path

    def disk(self, line: str) -> None:
        """What the disk does from now on: `CALL ERRNO MILLISECONDS`."""
        new = self.control.with_suffix(".new")
        new.write_text(line)
        new.rename(self.control)

    def send(self, *numbers: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, numbers)) + "\n")
        self.process.stdin.flush()

    def answers(self) -> set[str]:
        assert self.process.stdout is not None
        return set(self.process.stdout.readline().strip().split("; "))

    def append(self, *numbers: int) -> set[str]:
        self.send(*numbers)
        return self.answers()


@contextmanager
def child(directory: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Child]:
    process = start(directory, "0", "--lines", *arguments, env=env)
    try:
        yield Child(process, directory.parent / "control")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[tuple[Path, Child]]:
    """A spool's directory, and a process that owns it, whose disk fails on demand."""
    if faultfs.COMPILER is None:
        pytest.skip("no C compiler (cc, gcc, clang) is installed")
    directory = tmp_path / "spool"
    library = faultfs.build(tmp_path)
    (tmp_path / "control").write_text("none 0 0")
    with child(directory, env=dict(faultfs.environment(library, tmp_path / "control", directory))) as process:
        yield directory, process


async def _numbers(directory: Path) -> list[int]:
    keys = {a_record(number).key: number for number in range(1_000)}
    observer = Remembering()
    with opened(directory, observer=observer) as spool:
        found = [keys[entry.record.key] for entry in await read_all(spool)]
    assert observer.counts["quarantined"] == observer.counts["torn"] == 0
    return found


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["write", "sync"])
async def test_what_the_disk_refuses_is_refused_and_never_replayed(
    faulty: tuple[Path, Child], call: str, number: int
) -> None:
    directory, process = faulty
    assert process.append(1, 2) == {"ok 1", "ok 2"}
    process.disk(f"{call} {number} 0")
    assert process.append(3, 4) == {"broken 3", "broken 4"}
    assert process.append(5) == {"broken 5"}
    process.disk("none 0 0")
    assert process.append(6, 4) == {"ok 6", "ok 4"}
    process.process.kill()
    process.process.wait()
    assert sorted(await _numbers(directory)) == [1, 2, 4, 6]


async def test_nothing_is_written_while_a_refused_request_cannot_be_taken_back(faulty: tuple[Path, Child]) -> None:
    directory, process = faulty
    assert process.append(1) == {"ok 1"}
    process.disk(f"sync {errno.EIO} 0")
    assert process.append(2) == {"broken 2"}
    process.disk(f"truncate {errno.EIO} 0")
    assert process.append(3) == {"broken 3"}
    process.disk("none 0 0")
    assert process.append(4) == {"ok 4"}
    process.process.kill()
    process.process.wait()
    assert await _numbers(directory) == [1, 4]


async def test_a_new_segment_whose_name_is_not_durable_is_refused(faulty: tuple[Path, Child]) -> None:
    directory, process = faulty
    assert process.append(1) == {"ok 1"}
    process.disk(f"sync {errno.EIO} 0")
    assert process.append(2) == {"broken 2"}  # so the next one begins a new segment
    process.disk(f"syncdir {errno.EIO} 0")
    assert process.append(3) == {"broken 3"}
    assert process.append(4) == {"broken 4"}
    assert len(segments(directory)) == 1
    process.disk("none 0 0")
    assert process.append(5) == {"ok 5"}
    process.process.kill()
    process.process.wait()
    assert await _numbers(directory) == [1, 5]


async def test_a_segment_is_never_written_again_after_a_failed_sync(faulty: tuple[Path, Child]) -> None:
    directory, process = faulty
    assert process.append(1) == {"ok 1"}
    [segment] = segments(directory)
    before = segment.read_bytes()
    process.disk(f"sync {errno.EIO} 0")
    assert process.append(2) == {"broken 2"}
    process.disk("none 0 0")
    assert process.append(3) == {"ok 3"}
    assert segment.read_bytes() == before
    assert len(segments(directory)) == 2


async def test_a_slow_sync_answers_late_and_takes_what_came_meanwhile_together(faulty: tuple[Path, Child]) -> None:
    directory, process = faulty
    assert process.append(1) == {"ok 1"}
    process.disk("sync 0 300")
    process.send(*range(2, 200))
    assert process.answers() == {f"ok {number}" for number in range(2, 200)}
    process.process.kill()
    process.process.wait()
    assert await _numbers(directory) == list(range(1, 200))


async def test_a_real_limit_of_file_size_refuses_and_keeps_what_was_there(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    acknowledged: set[int] = set()
    with child(directory, "--file-limit", "6000") as process:
        refused = 0
        for number in range(0, 900, 3):
            for answer in process.append(number, number + 1, number + 2):
                word, name = answer.split()
                if word == "ok":
                    acknowledged.add(int(name))
                else:
                    assert word == "broken"
                    refused += 1
        assert refused
        assert acknowledged
    assert set(await _numbers(directory)) == acknowledged


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path) -> Path:
    """Takes all room that is left."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


@pytest.mark.as_root
async def test_a_real_full_disk_refuses_and_goes_on_after_room_was_made(small_disk: Path) -> None:
    observer = Remembering()
    with opened(small_disk / "spool", observer=observer) as spool:
        await spool.append(a_record(1))
        ballast = _fill(small_disk)
        with pytest.raises(SpoolBroken):
            await spool.append(a_record(2, payload=os.urandom(50_000)))
        assert observer.counts["refused disk"] == 1
        ballast.unlink()
        await spool.append(a_record(3))
    assert await records_in(small_disk / "spool") == [a_record(1), a_record(3)]
    assert not quarantined(small_disk / "spool")


@pytest.mark.as_root
async def test_a_full_disk_is_freed_by_what_is_done_in_any_order(small_disk: Path) -> None:
    with opened(small_disk / "spool", segment_bytes=150_000) as spool:
        for number in range(3):
            await spool.append(a_record(number, payload=os.urandom(100_000)))
        _fill(small_disk)
        with pytest.raises(SpoolBroken):
            await spool.append(a_record(3, payload=os.urandom(100_000)))
        spool.done((await read_all(spool))[1:2])

        async def taken() -> bool:
            try:
                return await spool.append(a_record(3, payload=os.urandom(90_000)))
            except SpoolBroken:
                return False

        await eventually(taken, every=0.01)


@pytest.mark.as_root
async def test_a_damaged_segment_is_salvaged_on_a_full_disk(small_disk: Path) -> None:
    directory = small_disk / "spool"
    with opened(directory) as spool:
        for number in range(3):
            await spool.append(a_record(number, payload=os.urandom(100_000)))
    [segment] = segments(directory)
    with segment.open("r+b") as file:
        file.seek(150_000)
        file.write(b"damage")
    _fill(small_disk)
    found = await records_in(directory)
    assert [record.key for record in found] == [a_record(0).key, a_record(2).key]
