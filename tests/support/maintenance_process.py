"""A process that does nothing but retention and sealing, over and over, to be killed:
`python -m tests.support.maintenance_process URL [ARCHIVE_DIRECTORY]`. It says `working` when it begins."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta

import asyncpg

from ares_otel.storage.maintenance import Maintenance
from ares_otel.storage.partitions.settings import RetentionSettings, SealSettings
from tests.support.ares_process import environment


async def work(url: str, archive_directory: str) -> None:
    """Never returns."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url)

    maintenance = Maintenance(
        connect,
        settings=lambda: RetentionSettings(archive_directory=archive_directory),
        # Samples are packed however few: what is sealed without that stays so, and nobody is killed while packing.
        seal_settings=lambda: SealSettings(grace_hours=0, pause_seconds=0, pack_mib=0),
        settle=timedelta(0),
    )
    await connect()
    print("working", flush=True)
    while True:
        await maintenance.run()
        await maintenance.seal()


def start(url: str, archive_directory: str = "") -> subprocess.Popen[bytes]:
    """The process, just beginning its work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.maintenance_process", url, archive_directory],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"working\n"
    return process


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2]))
