"""Numbered SQL files, applied in order, each once, with checksums. Two processes starting together are safe."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg

from ares_otel.model.errors import StartError
from ares_otel.storage.assets import asset

_NAME = re.compile(r"(\d{3})_[a-z0-9_]+\.sql")
_LOCK = 0x41726573_4D696772  # "AresMigr": the advisory lock that lets one process migrate at a time

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  schema_migrations IS 'Migrations that have been applied to this database';
COMMENT ON COLUMN schema_migrations.version IS 'Number of the file';
COMMENT ON COLUMN schema_migrations.name IS 'Name of the file';
COMMENT ON COLUMN schema_migrations.checksum IS 'SHA-256 of the file; an applied file may not change';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When it was applied';
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationState:
    """A migration and when it was applied, None for one that is still to come."""

    migration: Migration
    applied_at: datetime | None


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """The migrations of a folder (default: the packaged ones), by number.

    Raises:
        StartError: a file name is not `NNN_name.sql`, or a number is missing or there twice.
    """
    folder = folder or asset("migrations")
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise StartError(f"{path.name} in the migrations folder is not named like 001_what_it_does.sql.")
        found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    numbers = [migration.version for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise StartError(f"The migrations must be numbered 001, 002, … without gaps; found {numbers}.")
    return found


async def migration_states(
    connection: asyncpg.Connection, migrations: Sequence[Migration] | None = None
) -> list[MigrationState]:
    """Which migrations have been applied to a database. Writes nothing.

    Raises:
        StartError: an applied file was changed, or the database is newer than this program.
    """
    migrations = read_migrations() if migrations is None else migrations
    exists = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    rows = await connection.fetch("SELECT * FROM schema_migrations ORDER BY version") if exists else []
    known = {migration.version: migration for migration in migrations}
    applied = {}
    for row in rows:
        migration = known.get(row["version"])
        if migration is None:
            raise StartError(
                f"The database has migration {row['name']}, which this version of ares-otel does not know; "
                "start a newer ares-otel."
            )
        if migration.checksum != row["checksum"]:
            raise StartError(
                f"Migration {migration.name} was changed after it had been applied to this database; "
                "put the file back as it was and add a new one instead."
            )
        applied[migration.version] = row["applied_at"]
    return [MigrationState(migration, applied.get(migration.version)) for migration in migrations]


async def migrate(
    connection: asyncpg.Connection,
    migrations: Sequence[Migration] | None = None,
    *,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Migration]:
    """Applies what is missing, each file in a transaction of its own, and returns what it applied.

    Each transaction takes one advisory lock first and looks again at what is missing, so that processes which start
    together take turns; the lock belongs to the transaction, which also works behind a pooler.

    Raises:
        StartError: see `migration_states`; or a statement failed, with the server's message.
    """
    migrations = read_migrations() if migrations is None else migrations
    done: list[Migration] = []
    while True:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            states = await migration_states(connection, migrations)
            pending = [state.migration for state in states if state.applied_at is None]
            if not pending:
                return done
            migration = pending[0]
            progress(f"migration {migration.name}")
            await connection.execute(_LEDGER)
            try:
                await connection.execute(migration.sql)
            except asyncpg.PostgresError as error:
                raise StartError(f"Migration {migration.name} failed: {error}.") from error
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                migration.version,
                migration.name,
                migration.checksum,
            )
        done.append(migration)
