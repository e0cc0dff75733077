"""A process that appends to a spool: `python -m tests.support.spool_child DIRECTORY FIRST [--lines] [--file-limit N]`.

Alone it appends as fast as it can, in eight tasks, and prints `ok NUMBER` for each record that is safe; it takes
records out again, but those that `is_kept`, and prints `done NUMBER` before it says so to the spool. With `--lines` it
appends the records whose numbers each line of standard input names, and says `ok`, `full` or `broken` for each.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from pathlib import Path

from ares_otel.storage.spool.errors import SpoolBroken, SpoolFull
from ares_otel.storage.spool.spool import Spool
from tests.support.spool import LIMIT, a_record, number_of


def is_kept(number: int) -> bool:
    """Whether the record stays: one in three, so that some do on every machine, however fast the others are taken."""
    return number % 3 == 0


async def _append(spool: Spool, number: int) -> str:
    try:
        await spool.append(a_record(number, payload=b"%d " % number * (number % 97)))
    except SpoolFull:
        return f"full {number}"
    except SpoolBroken:
        return f"broken {number}"
    return f"ok {number}"


async def _flood(spool: Spool, first: int) -> None:
    numbers = iter(range(first, first + 10_000_000))

    async def sender() -> None:
        while True:
            print(await _append(spool, next(numbers)), flush=True)

    async def replayer() -> None:
        while True:
            read = await spool.read(a_record(1).signal, max_records=50, max_bytes=1 << 20)
            entries = [entry for entry in read if not is_kept(number_of(entry.record))]  # the others stay lent
            for entry in entries[::2]:
                print(f"done {number_of(entry.record)}", flush=True)
            spool.done(entries[::2])
            spool.give_back(entries[1::2])
            await asyncio.sleep(0)

    await asyncio.gather(replayer(), *(sender() for _ in range(8)))


async def _obey(spool: Spool) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        print("; ".join(await asyncio.gather(*(_append(spool, int(word)) for word in line.split()))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--file-limit", type=int)
    given = parser.parse_args()
    if given.file_limit:  # Python ignores SIGXFSZ: a write beyond it fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.file_limit, given.file_limit))
    spool = Spool(given.directory, limit_bytes=LIMIT, segment_bytes=20_000)
    spool.open()
    print("open", flush=True)
    asyncio.run(_obey(spool) if given.lines else _flood(spool, given.first))
    spool.close()


if __name__ == "__main__":
    main()
