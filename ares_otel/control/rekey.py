"""Encrypts all encrypted settings anew under the current key, current values and history, while Ares runs.

Small steps that can be broken off and begun again at any time: each row is read, encrypted anew and written only if
nobody changed it meanwhile; nothing is locked in between. Versions, times and editors stay as they are, nobody is told:
the value is the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from ares_otel.control.crypto import CryptoError, Keyring

BATCH = 100
"""Rows of one transaction."""
PASSES = 10
"""Times the tables are gone through at most: a process that still encrypts with the old key adds rows meanwhile."""

# Migration 010: the triggers let this transaction change the form of an encrypted value, and nothing else.
_PERMIT = "SELECT set_config('ares.rekey', 'on', true)"
_CURRENT = """
SELECT id, service_name, config_key, version, config_value::text AS value
FROM service_config
WHERE is_encrypted AND id > $1 AND config_value ->> 'kid' IS DISTINCT FROM $2
ORDER BY id LIMIT $3
"""
_WRITE_CURRENT = "UPDATE service_config SET config_value = $3::jsonb WHERE id = $1 AND config_value = $2::jsonb"
_HISTORY = """
SELECT id, service_name, config_key, version,
       CASE WHEN old_is_encrypted AND old_value ->> 'kid' IS DISTINCT FROM $2 THEN old_value::text END AS old_value,
       CASE WHEN new_is_encrypted AND new_value ->> 'kid' IS DISTINCT FROM $2 THEN new_value::text END AS new_value
FROM service_config_history
WHERE id > $1
  AND ((old_is_encrypted AND old_value IS NOT NULL AND old_value ->> 'kid' IS DISTINCT FROM $2)
    OR (new_is_encrypted AND new_value IS NOT NULL AND new_value ->> 'kid' IS DISTINCT FROM $2))
ORDER BY id LIMIT $3
"""
_WRITE_HISTORY = """
UPDATE service_config_history
SET old_value = coalesce($2::jsonb, old_value), new_value = coalesce($3::jsonb, new_value)
WHERE id = $1
"""


@dataclass(slots=True)
class RekeyReport:
    """What was done, in numbers of values."""

    current: int = 0
    """Values of settings as they are now."""
    history: int = 0
    """Values of the history, old and new counted apart."""
    failed: list[str] = field(default_factory=list)
    """A sentence for each row that does not open; it is left as it is."""


async def rekey(
    connection: asyncpg.Connection, keyring: Keyring, *, progress: Callable[[RekeyReport], None] = lambda _: None
) -> RekeyReport:
    """Encrypts everything that is not under the keyring's current key anew.

    Args:
        connection: not in a transaction; its role may write both tables.
        progress: called after each transaction with the numbers so far.

    Raises:
        KeyMissing: there is no current key.
    """
    kid = keyring.require_current()
    report = RekeyReport()
    failed: dict[tuple[str, int], str] = {}
    for _ in range(PASSES):
        done = report.current + report.history
        for table, query in (("current", _CURRENT), ("history", _HISTORY)):
            last = -(2**63)
            while rows := await connection.fetch(query, last, kid, BATCH):
                last = rows[-1]["id"]
                async with connection.transaction():
                    await connection.execute(_PERMIT)
                    for row in rows:
                        try:
                            await (_current if table == "current" else _history)(connection, keyring, row, report)
                        except CryptoError as error:
                            failed[table, row["id"]] = f"version {row['version']} ({table}): {error.message}"
                progress(report)
        if report.current + report.history == done:
            break
    report.failed = list(failed.values())
    return report


async def _current(connection: asyncpg.Connection, keyring: Keyring, row: Any, report: RekeyReport) -> None:
    sealed = _sealed(keyring, row, row["value"])
    status = await connection.execute(_WRITE_CURRENT, row["id"], row["value"], sealed)
    report.current += status == "UPDATE 1"


async def _history(connection: asyncpg.Connection, keyring: Keyring, row: Any, report: RekeyReport) -> None:
    old = None if row["old_value"] is None else _sealed(keyring, row, row["old_value"])
    new = None if row["new_value"] is None else _sealed(keyring, row, row["new_value"])
    await connection.execute(_WRITE_HISTORY, row["id"], old, new)
    report.history += (old is not None) + (new is not None)


def _sealed(keyring: Keyring, row: Any, text: str) -> str:
    service, key = row["service_name"], row["config_key"]
    return json.dumps(keyring.encrypt_json(service, key, keyring.decrypt_json(service, key, json.loads(text))))
