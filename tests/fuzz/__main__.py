"""`python -m tests.fuzz --seconds 300`: compares the two row encoders over damaged requests, for a while.

The work is done in a child process, which may die of what it finds. The request that it was at stands in a file, so
that it is known then, too. Exit status 0: no difference.
"""

from __future__ import annotations

import argparse
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from ares_otel.model.signal import SIGNALS
from tests.fuzz.cases import Differs, case, compare, keep, seeds, table
from tests.fuzz.mutations import MOST_BYTES

DIFFERENCE = 3
_HEAD = 16


class Last:
    """The request that is under way, in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_HEAD + MOST_BYTES + 8))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def write(self, signal: str, payload: bytes) -> None:
        self._map[:_HEAD] = len(payload).to_bytes(8, "big") + signal.encode().ljust(8)
        self._map[_HEAD : _HEAD + len(payload)] = payload

    def read(self) -> tuple[str, bytes]:
        size = int.from_bytes(self._map[:8], "big")
        return self._map[8:_HEAD].decode().strip(), self._map[_HEAD : _HEAD + size]


def work(seconds: float, seed: int, last: Last) -> int:
    """What the child does. Returns its exit status."""
    random, found, counts = Random(seed), seeds(), Counter[tuple[str, str]]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        signal, payload = case(random, found)
        last.write(signal.name, payload)
        try:
            counts[signal.name, compare(random, signal, payload)] += 1
        except Differs as difference:
            print(f"The encoders differ in: {difference}")
            print(table(counts))
            return DIFFERENCE
    print(table(counts))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the two row encoders over damaged requests.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same requests")
    parser.add_argument("--last", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.last is not None:
        return work(arguments.seconds, arguments.seed, Last(arguments.last))
    seed = int.from_bytes(os.urandom(4), "big") if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="ares-fuzz-") as folder:
        last = Path(folder) / "last"
        Last(last)
        command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(arguments.seconds), "--seed", str(seed)]
        status = subprocess.run([*command, "--last", str(last)], check=False).returncode
        if status:
            signal, payload = Last(last).read()
            if signal:
                print(f"status {status}; the request is now {keep(SIGNALS[signal], payload)}")
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
