"""A spool whose process is killed, again and again, in the middle of its work."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ares_otel.model.errors import StartError
from ares_otel.storage.spool.spool import Spool
from tests.support.spool import LIMIT, Remembering, a_record, opened, read_all

ROUNDS = 40


def start(directory: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A process that owns the spool, when it is open."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.spool_child", str(directory), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    return child


async def test_what_was_acknowledged_is_found_once_after_every_kill(tmp_path: Path) -> None:
    moments = random.Random(5)
    acknowledged: set[int] = set()
    done: set[int] = set()
    first = 0
    for _ in range(ROUNDS):
        child = start(tmp_path, str(first))
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(moments.randint(1, 120))]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.communicate()
        said += [line + "\n" for line in rest.split("\n")[:-1]]  # the last line may be half
        answers = [line.split() for line in said if line.endswith("\n")]
        assert {word for word, _ in answers} <= {"ok", "done"}
        acknowledged |= {int(number) for word, number in answers if word == "ok"}
        done |= {int(number) for word, number in answers if word == "done"}
        first = max([first, *acknowledged]) + 1_000
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        found = Counter(entry.record.key for entry in await read_all(spool))
        assert max(found.values()) == 1
        missing = [number for number in acknowledged - done if a_record(number).key not in found]
        assert not missing
        assert all(spool.find(a_record(number).key) for number in acknowledged - done)
    assert len(acknowledged - done) > ROUNDS
    assert observer.counts["quarantined"] == observer.counts["lost"] == 0


def test_a_second_process_is_told_who_has_the_spool_until_that_one_is_killed(tmp_path: Path) -> None:
    child = start(tmp_path, "0", "--lines")
    with pytest.raises(StartError, match=rf"in use by process {child.pid} "):
        Spool(tmp_path, limit_bytes=LIMIT).open()
    child.kill()
    child.communicate()
    with opened(tmp_path):
        pass
